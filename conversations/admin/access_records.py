"""The audit trail: who of the staff did what with whose conversation. Nobody edits it."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from conversations.admin.filters import ChoiceFilter, DateRangeFilter, TextFilter
from conversations.admin.read_only import ReadOnlyAdmin
from conversations.admin.texts import isolated, moment
from conversations.models import AccessAction, AccessRecord


class ActionFilter(ChoiceFilter):
    title, parameter, choices_offered = "action", "action", dict(AccessAction.choices)


class StaffFilter(TextFilter):
    title, parameter, lookup = "staff", "staff", "staff_name"


class OwnerFilter(TextFilter):
    title, parameter, lookup = "owner", "owner", "owner_name"


class DayFilter(DateRangeFilter):
    title, parameter, column = "day", "day", "created_at"


@admin.register(AccessRecord)
class AccessRecordAdmin(ReadOnlyAdmin):
    """Nobody adds, changes or removes a record here, superusers included."""

    list_display = ["at", "staff", "did", "owner", "conversation", "address", "reason"]
    list_display_links = ["at"]
    list_filter = [ActionFilter, StaffFilter, OwnerFilter, DayFilter]
    # The order of the index accessrecord_created_idx.
    ordering = ["-created_at", "-id"]
    search_fields = ["staff_name", "owner_name"]
    search_help_text = "Staff, owner or conversation id"
    id_lookup = "conversation_id"
    actions = None
    fields = ["at", "staff", "action", "owner", "conversation", "detail", "reason", "address"]
    readonly_fields = ["at", "staff", "owner", "conversation"]

    def has_delete_permission(self, request: HttpRequest, obj: AccessRecord | None = None) -> bool:
        return False

    @admin.display(description="at", ordering="created_at")
    def at(self, record: AccessRecord) -> SafeString | None:
        return moment(record.created_at)

    @admin.display(description="staff", ordering="staff_name")
    def staff(self, record: AccessRecord) -> SafeString:
        return isolated(record.staff_name)

    @admin.display(description="action", ordering="action")
    def did(self, record: AccessRecord) -> str:
        return AccessAction(record.action).label

    @admin.display(description="owner", ordering="owner_name")
    def owner(self, record: AccessRecord) -> SafeString:
        return isolated(record.owner_name)

    @admin.display(description="conversation")
    def conversation(self, record: AccessRecord) -> SafeString | None:
        """The id, linked; the conversation itself may be gone."""
        if record.conversation_id is None:
            return None
        url = reverse("admin:conversations_conversation_change", args=[record.conversation_id])
        return format_html('<a href="{}"><code>{}</code></a>', url, record.conversation_id)
