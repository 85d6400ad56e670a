"""What staff see: conversations and their transcripts, the audit trail, accounts and tokens."""

from conversations.admin.access_records import AccessRecordAdmin
from conversations.admin.accounts import GroupAdmin, UserAdmin
from conversations.admin.conversations import ConversationAdmin
from conversations.admin.tokens import AuthTokenAdmin

__all__ = [
    "AccessRecordAdmin",
    "AuthTokenAdmin",
    "ConversationAdmin",
    "GroupAdmin",
    "UserAdmin",
]
