"""What staff see: conversations and their transcripts, the audit trail, accounts and tokens."""

from django.contrib import admin

from conversations.admin.access_records import AccessRecordAdmin
from conversations.admin.accounts import GroupAdmin, UserAdmin
from conversations.admin.conversations import ConversationAdmin
from conversations.admin.tokens import ApiTokenAdmin

# The theme gives this page what the DASHBOARD_CALLBACK of its settings returns.
admin.site.index_template = "admin/conversations/dashboard/index.html"

__all__ = [
    "AccessRecordAdmin",
    "ApiTokenAdmin",
    "ConversationAdmin",
    "GroupAdmin",
    "UserAdmin",
]
