"""Tables, constraints and QuerySets. Imports nothing from the rooms above it."""

from conversations.models.access import AccessAction, AccessRecord
from conversations.models.caller import Caller
from conversations.models.conversation import DEFAULT_TITLE, Conversation
from conversations.models.ids import id_from_key, new_id
from conversations.models.interrupted import as_read, reads_as
from conversations.models.message import Message, Role, Status
from conversations.models.note import ConversationNote
from conversations.models.rights import ACT_FOR_ANY_USER, VIEW_CONVERSATION

__all__ = [
    "ACT_FOR_ANY_USER",
    "DEFAULT_TITLE",
    "VIEW_CONVERSATION",
    "AccessAction",
    "AccessRecord",
    "Caller",
    "Conversation",
    "ConversationNote",
    "Message",
    "Role",
    "Status",
    "as_read",
    "id_from_key",
    "new_id",
    "reads_as",
]
