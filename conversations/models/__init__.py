"""Tables, constraints and QuerySets. Imports nothing from the rooms above it."""

from conversations.models.access import AccessAction, AccessRecord
from conversations.models.caller import ACT_FOR_ANY_USER, VIEW_CONVERSATION, Caller
from conversations.models.conversation import DEFAULT_TITLE, Conversation
from conversations.models.ids import id_from_key, new_id
from conversations.models.message import Message, Role, Status

__all__ = [
    "ACT_FOR_ANY_USER",
    "DEFAULT_TITLE",
    "VIEW_CONVERSATION",
    "AccessAction",
    "AccessRecord",
    "Caller",
    "Conversation",
    "Message",
    "Role",
    "Status",
    "id_from_key",
    "new_id",
]
