"""The list of conversations; a conversation's own page is its transcript."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from conversations.admin.deletion import DeletesConversations
from conversations.admin.filters import DateRangeFilter, TextFilter, YesNoFilter
from conversations.admin.read_only import uuid_in
from conversations.admin.texts import isolated, moment
from conversations.admin.transcript import transcript
from conversations.models import VIEW_CONVERSATION, Conversation

NO_SUCH_CONVERSATION = "No such conversation."


class OwnerFilter(TextFilter):
    title, parameter, lookup = "owner", "owner", "user__username"


class ModelFilter(TextFilter):
    title, parameter, lookup = "model", "model", "model_used__icontains"


class SourceFilter(TextFilter):
    title, parameter, lookup = "source", "source", "source"


class PinnedFilter(YesNoFilter):
    title, parameter, holds = "pinned", "pinned", Q(pinned=True)


class ArchivedFilter(YesNoFilter):
    title, parameter, holds = "archived", "archived", Q(archived_at__isnull=False)


class LegalHoldFilter(YesNoFilter):
    title, parameter, holds = "on legal hold", "legal_hold", Q(legal_hold=True)


class UpdatedFilter(DateRangeFilter):
    title, parameter, column = "updated", "updated", "updated_at"


class CreatedFilter(DateRangeFilter):
    title, parameter, column = "created", "created", "created_at"


@admin.register(Conversation)
class ConversationAdmin(DeletesConversations):
    """Staff find, read and delete conversations. What was said is a record: no one edits it."""

    list_display = ["titled", "owner", "messages", "answered_by", "updated", "created"]
    list_display_links = ["titled"]
    list_filter = [
        OwnerFilter,
        ModelFilter,
        SourceFilter,
        PinnedFilter,
        ArchivedFilter,
        LegalHoldFilter,
        UpdatedFilter,
        CreatedFilter,
    ]
    list_select_related = ["user"]
    # The order of the index conversation_updated_idx.
    ordering = ["-updated_at", "-id"]
    search_fields = ["title", "user__username"]
    search_help_text = "Title, owner or id"
    id_lookup = "pk"
    actions = ["delete_selected"]

    def has_view_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Reading others' chats is a right of its own: a right to change does not bring it."""
        return request.user.has_perm(VIEW_CONVERSATION)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return super().get_queryset(request).defer("metadata")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The transcript. Nothing can be sent to it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return transcript(request, self, _found(object_id))

    @admin.display(description="title", ordering="title")
    def titled(self, conversation: Conversation) -> SafeString:
        title = isolated(conversation.title)
        return format_html(
            '<span class="conversation-title">{}</span>{}', title, _flags(conversation)
        )

    @admin.display(description="owner", ordering="user__username")
    def owner(self, conversation: Conversation) -> SafeString:
        name = conversation.user.username
        url = reverse("admin:conversations_conversation_changelist")
        query = urlencode({"owner": name})
        return format_html('<a href="{}?{}">{}</a>', url, query, isolated(name))

    @admin.display(description="messages", ordering="message_count")
    def messages(self, conversation: Conversation) -> str:
        return f"{conversation.message_count:,}"

    @admin.display(description="model", ordering="model_used")
    def answered_by(self, conversation: Conversation) -> str:
        return conversation.model_used

    @admin.display(description="updated", ordering="updated_at")
    def updated(self, conversation: Conversation) -> SafeString | None:
        return moment(conversation.updated_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, conversation: Conversation) -> SafeString | None:
        return moment(conversation.created_at)


def _found(object_id: str) -> Conversation:
    wanted = uuid_in(object_id)
    if wanted is None:
        raise Http404(NO_SUCH_CONVERSATION)
    return get_object_or_404(Conversation.objects.select_related("user"), pk=wanted)


def _flags(conversation: Conversation) -> SafeString:
    """In words, since colour alone would not say it to everybody."""
    words = {
        "pinned": conversation.pinned,
        "archived": conversation.archived,
        "legal hold": conversation.legal_hold,
    }
    badges = ((word,) for word, holds in words.items() if holds)
    return format_html_join("", '<span class="conversation-flag">{}</span>', badges)
