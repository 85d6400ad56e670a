"""All writes, one function for each operation, and the reads that scripts need."""

from conversations.formats import MessageDraft
from conversations.services.appending import append_drafts
from conversations.services.audit import SCRIPT, owner_of
from conversations.services.bulk import (
    NewConversation,
    create_conversations,
    create_with_messages,
    delete_conversations,
)
from conversations.services.conversations import (
    create_conversation,
    delete_conversation,
    get_or_create_conversation,
    get_or_create_latest,
    get_user_conversations,
    update_conversation,
)
from conversations.services.erasure import count_user_data, erase_user
from conversations.services.errors import (
    Conflict,
    Deleted,
    Gone,
    InvalidValue,
    KeyReused,
    NotAllowed,
    NotFound,
    OnLegalHold,
    ReasonRequired,
    ServiceError,
    StaleSequence,
    TurnRunning,
    refusal_of,
)
from conversations.services.export import export_conversations
from conversations.services.imports import import_conversations
from conversations.services.legal_holds import set_legal_hold
from conversations.services.messages import (
    add_message,
    add_messages,
    clear_conversation,
    delete_message,
    get_chat_history,
    update_message,
)
from conversations.services.notes import add_note
from conversations.services.reviews import review_message, withdraw_review
from conversations.services.tokens import create_token
from conversations.services.users import (
    find_or_create_user,
    find_user,
    owner_to_read,
    owner_to_write_for,
)

__all__ = [
    "SCRIPT",
    "Conflict",
    "Deleted",
    "Gone",
    "InvalidValue",
    "KeyReused",
    "MessageDraft",
    "NewConversation",
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
    "clear_conversation",
    "count_user_data",
    "create_conversation",
    "create_conversations",
    "create_token",
    "create_with_messages",
    "delete_conversation",
    "delete_conversations",
    "delete_message",
    "erase_user",
    "export_conversations",
    "find_or_create_user",
    "find_user",
    "get_chat_history",
    "get_or_create_conversation",
    "get_or_create_latest",
    "get_user_conversations",
    "import_conversations",
    "owner_of",
    "owner_to_read",
    "owner_to_write_for",
    "refusal_of",
    "review_message",
    "set_legal_hold",
    "update_conversation",
    "update_message",
    "withdraw_review",
]
