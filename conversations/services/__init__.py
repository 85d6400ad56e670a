"""Every write, one verb a function; the reads that scripts use."""

from conversations.services.access import record_access, record_exports, record_read
from conversations.services.appending import Appended, append_drafts
from conversations.services.conversations import (
    Found,
    create_conversation,
    delete_conversation,
    find_or_start,
    get_or_create_conversation,
    get_user_conversations,
    update_conversation,
)
from conversations.services.drafts import MessageDraft
from conversations.services.erasure import Holdings, erase_user, holdings_of
from conversations.services.errors import (
    Conflict,
    InvalidValue,
    KeyReused,
    NotAllowed,
    NotFound,
    OnLegalHold,
    ReasonRequired,
    ServiceError,
    StaleSequence,
    TurnRunning,
)
from conversations.services.export import export_conversations
from conversations.services.holds import set_legal_hold
from conversations.services.messages import (
    add_message,
    add_messages,
    delete_message,
    get_chat_history,
    update_message,
)
from conversations.services.notes import add_note
from conversations.services.owners import (
    find_or_create_owner,
    find_owner,
    owner_id_for,
    readable_owner_id,
)
from conversations.services.tokens import create_token
from conversations.services.transfer import import_conversations

__all__ = [
    "Appended",
    "Conflict",
    "Found",
    "Holdings",
    "InvalidValue",
    "KeyReused",
    "MessageDraft",
    "NotAllowed",
    "NotFound",
    "OnLegalHold",
    "ReasonRequired",
    "ServiceError",
    "StaleSequence",
    "TurnRunning",
    "add_message",
    "add_messages",
    "add_note",
    "append_drafts",
    "create_conversation",
    "create_token",
    "delete_conversation",
    "delete_message",
    "erase_user",
    "export_conversations",
    "find_or_create_owner",
    "find_or_start",
    "find_owner",
    "get_chat_history",
    "get_or_create_conversation",
    "get_user_conversations",
    "holdings_of",
    "import_conversations",
    "owner_id_for",
    "readable_owner_id",
    "record_access",
    "record_exports",
    "record_read",
    "set_legal_hold",
    "update_conversation",
    "update_message",
]
