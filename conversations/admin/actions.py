"""What staff do to the conversations that they have chosen in the list."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from conversations.admin.deletion import DeletesConversations
from conversations.admin.doing import set_archived, set_hold
from conversations.admin.export import IDS
from conversations.admin.texts import counted
from conversations.models import Conversation
from conversations.models.rights import ARCHIVE, EXPORT, HOLD, VIEW_CONTENT


class ActsOnConversations(DeletesConversations):
    """The list's actions; the page size bounds how many are chosen at once."""

    actions = [
        "export_selected",
        "archive_selected",
        "hold_selected",
        "release_selected",
        "delete_selected",
    ]

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms([EXPORT, VIEW_CONTENT])

    def has_archive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(ARCHIVE)

    def has_hold_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(HOLD)

    @admin.action(permissions=["export"], description="Export selected conversations")
    def export_selected(
        self, request: HttpRequest, queryset: QuerySet[Conversation]
    ) -> HttpResponse:
        ids = ",".join(str(key) for key in queryset.values_list("pk", flat=True))
        page = reverse("admin:conversations_conversation_export")
        return redirect(f"{page}?{urlencode({IDS: ids})}")

    @admin.action(permissions=["archive"], description="Archive selected conversations")
    def archive_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        for conversation in queryset.filter(archived_at=None):
            set_archived(request, conversation, True)
        self._say(request, queryset, "archived")

    @admin.action(permissions=["hold"], description="Place a legal hold on selected conversations")
    def hold_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        for conversation in queryset:
            set_hold(request, conversation, True)
        self._say(request, queryset, "on legal hold")

    @admin.action(permissions=["hold"], description="Release the legal hold of selected ones")
    def release_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        for conversation in queryset:
            set_hold(request, conversation, False)
        self._say(request, queryset, "not on hold any more")

    def _say(self, request: HttpRequest, queryset: QuerySet[Conversation], what: str) -> None:
        done = counted(queryset.count(), "conversation")
        self.message_user(request, f"{done} {what}.", messages.SUCCESS)
