"""What staff see: conversations and their transcripts, the audit log, accounts and tokens."""

from django.contrib import admin

from conversations.admin.access_records import AccessRecordAdmin
from conversations.admin.conversation.admin import ConversationAdmin
from conversations.admin.imports import ImportRunAdmin
from conversations.admin.retention_rules import RetentionRuleAdmin
from conversations.admin.tokens import ApiTokenAdmin
from conversations.admin.users import GroupAdmin, UserAdmin

# The theme gives this page what the DASHBOARD_CALLBACK of its settings returns.
admin.site.index_template = "admin/conversations/dashboard/index.html"

__all__ = [
    "AccessRecordAdmin",
    "ApiTokenAdmin",
    "ConversationAdmin",
    "GroupAdmin",
    "ImportRunAdmin",
    "RetentionRuleAdmin",
    "UserAdmin",
]
