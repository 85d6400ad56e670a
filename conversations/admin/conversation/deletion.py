"""Deleting conversations in the admin: through the services, after a page that lists them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import actions
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html

from conversations.admin.access_reasons import access_to, is_reason_wanted
from conversations.admin.base import ReadOnlyAdmin
from conversations.admin.formatting import counted, isolated, named_visibly
from conversations.admin.transcript.navigation import FILTERS
from conversations.models import Conversation
from conversations.models.rights import DELETE
from conversations.services import ServiceError, delete_conversation

AT_MOST = 1_000
SHOWN = 50
TOO_MANY = f"Delete at most {AT_MOST:,} conversations at once."


class DeletesConversations(ReadOnlyAdmin):
    """The deletion half of ConversationAdmin: all of the chosen conversations go, or none."""

    delete_confirmation_template = "admin/conversations/conversation/delete.html"
    delete_selected_confirmation_template = "admin/conversations/conversation/delete_selected.html"

    @admin.action(permissions=["delete"], description="Delete selected conversations")
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Conversation]
    ) -> HttpResponse | None:
        if queryset.order_by()[: AT_MOST + 1].count() > AT_MOST:
            raise ServiceError(TOO_MANY)
        with transaction.atomic():
            page = actions.delete_selected(self, request, queryset)
        if isinstance(page, TemplateResponse) and page.context_data is not None:
            page.context_data["reason_wanted"] = is_reason_wanted(request)
            page.context_data["list_url"] = request.get_full_path()
        return page

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {"reason_wanted": is_reason_wanted(request), "list_url": self._list_url(request)}
        return super().delete_view(request, object_id, extra | (extra_context or {}))

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        """To the list as it was; Django takes only those there who may also change rows."""
        messages.success(request, "Conversation deleted.")
        return HttpResponseRedirect(self._list_url(request))

    def _list_url(self, request: HttpRequest) -> str:
        """The list with the filters, order and page that the conversation was opened from."""
        return f"{self.url_of('changelist')}?{request.GET.get(FILTERS, '')}"

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        shown = named_visibly(context["object"], "title")
        return super().render_delete_form(request, context | {"object": shown})

    def get_deleted_objects(
        self, objs: Iterable[Conversation], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What is deleted, how much of it, no further permission, and what is on legal hold."""
        chosen = list(objs)
        goes = [_described(conversation) for conversation in chosen[:SHOWN]]
        if len(chosen) > SHOWN:
            goes.append(f"… and {len(chosen) - SHOWN:,} more")
        totals = {
            "conversations": len(chosen),
            "messages": sum(conversation.message_count for conversation in chosen),
        }
        held = [_described(conversation) for conversation in chosen if conversation.legal_hold]
        return goes, totals, set(), held

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        delete_conversation(conversation_id=obj.pk, access=access_to(request, obj.pk, DELETE))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        for conversation in queryset:
            self.delete_model(request, conversation)

    def log_deletions(
        self, request: HttpRequest, queryset: Iterable[Conversation]
    ) -> list[LogEntry]:
        """The AccessRecord is the log: Django's would keep the title of what was erased."""
        return []


def _described(conversation: Conversation) -> str:
    return format_html(
        "“{}” of {}: {}",
        isolated(conversation.title),
        isolated(conversation.user.username),
        counted(conversation.message_count, "message"),
    )
