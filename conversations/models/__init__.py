"""Models, constraints and QuerySets. Imports no other package of this app."""

from conversations.models.access_context import AccessContext, Caller
from conversations.models.access_record import AccessAction, AccessRecord
from conversations.models.api_token import ApiToken
from conversations.models.branch import Branch
from conversations.models.change import Change, ChangeFeed, ChangeKind, PendingChange
from conversations.models.conversation import DEFAULT_TITLE, Conversation
from conversations.models.conversation_count import ConversationCount
from conversations.models.ids import derived_id, new_id
from conversations.models.import_run import ImportRun, ImportStatus
from conversations.models.installation import InstallationSecret, id_from_key
from conversations.models.interrupted import as_read, reads_as
from conversations.models.legal_hold_record import LegalHoldRecord
from conversations.models.message import Message, Role, Status
from conversations.models.note import ConversationNote
from conversations.models.retention_rule import RetentionAct, RetentionRule
from conversations.models.review import Review
from conversations.models.rights import ACT_FOR_ANY_USER, VIEW_CONVERSATION
from conversations.models.saved_view import SavedView
from conversations.models.stream_ticket import StreamTicket, TicketPurpose
from conversations.models.tombstone import Tombstone
from conversations.models.unstored_turn import UnstoredTurn
from conversations.models.write_position import WritePosition

__all__ = [
    "ACT_FOR_ANY_USER",
    "DEFAULT_TITLE",
    "VIEW_CONVERSATION",
    "AccessAction",
    "AccessContext",
    "AccessRecord",
    "ApiToken",
    "Branch",
    "Caller",
    "Change",
    "ChangeFeed",
    "ChangeKind",
    "Conversation",
    "ConversationCount",
    "ConversationNote",
    "ImportRun",
    "ImportStatus",
    "InstallationSecret",
    "LegalHoldRecord",
    "Message",
    "PendingChange",
    "RetentionAct",
    "RetentionRule",
    "Review",
    "Role",
    "SavedView",
    "Status",
    "StreamTicket",
    "TicketPurpose",
    "Tombstone",
    "UnstoredTurn",
    "WritePosition",
    "as_read",
    "derived_id",
    "id_from_key",
    "new_id",
    "reads_as",
]
