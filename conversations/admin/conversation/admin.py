"""The list of conversations; a conversation's own page is its transcript."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from conversations.admin import username_urls  # noqa: F401 (its converter is named in a path)
from conversations.admin.access_reasons import TEMPLATE as REASON_TEMPLATE
from conversations.admin.base import uuid_in
from conversations.admin.conversation.bulk_actions import (
    archive_selected,
    export_selected,
    hold_selected,
    release_selected,
)
from conversations.admin.conversation.deletion import DeletesConversations
from conversations.admin.conversation.detail_actions import act
from conversations.admin.conversation.export import chosen_ids, export
from conversations.admin.conversation.filters import FILTERS
from conversations.admin.conversation.legal_holds import hold_page
from conversations.admin.conversation.listed import listed
from conversations.admin.conversation.owner_page import owner_page
from conversations.admin.conversation.search import ConversationChangeList, ask_reason, narrow
from conversations.admin.formatting import clipped, moment
from conversations.admin.transcript.view import transcript
from conversations.models import VIEW_CONVERSATION, Conversation
from conversations.models.rights import ARCHIVE, EXPORT, HOLD, VIEW_CONTENT
from conversations.selectors.staff_search import conversations_with_id
from conversations.services import NotFound, ReasonRequired
from conversations.services.errors import NO_SUCH_CONVERSATION


@admin.register(Conversation)
class ConversationAdmin(DeletesConversations):
    """Staff find, read and delete conversations. What was said is a record: no one edits it."""

    list_display = ["titled", "owner", "size", "answered_by", "updated", "created"]
    # `titled` leads to the transcript, for those who may open it.
    list_display_links = None
    filters = FILTERS
    actions = [
        export_selected,
        archive_selected,
        hold_selected,
        release_selected,
        "delete_selected",
    ]
    list_select_related = ["user"]
    # The order of the index conversation_updated_idx.
    ordering = ["-updated_at", "-id"]
    # What is searched is said below; the admin asks only whether there is a search box.
    search_fields = ["title"]
    search_help_text = "Message text, title, owner or id"

    def has_view_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Reading others' chats is a right of its own: a right to change does not bring it."""
        return request.user.has_perm(VIEW_CONVERSATION)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms([EXPORT, VIEW_CONTENT])

    def has_archive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(ARCHIVE)

    def has_hold_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(HOLD)

    def get_urls(self) -> list[URLPattern]:
        pages = [
            self.page("export/", "export", self.export_view),
            self.page("reason/", "reason", ask_reason),
            self.page("owner/<username:username>/", "owner", self.owner_view),
            self.page("<uuid:object_id>/act/", "act", self.act_view),
            self.page("<uuid:object_id>/hold/", "hold", self.hold_view),
            self.page("<uuid:object_id>/release/", "release", self.release_view),
        ]
        return [*pages, *super().get_urls()]

    def get_changelist(  # type: ignore[override]
        self, request: HttpRequest, **kwargs: Any
    ) -> type[ConversationChangeList]:
        return ConversationChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        if not search_term.strip():
            return queryset, False
        if wanted := uuid_in(search_term):
            return queryset.filter(pk__in=conversations_with_id(wanted)), False
        return narrow(request, queryset, search_term), False

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
        if not self.has_view_permission(request) or not request.user.has_perm(VIEW_CONTENT):
            raise PermissionDenied
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if (conversation_id := uuid_in(object_id)) is None:
            raise Http404(NO_SUCH_CONVERSATION)
        try:
            return transcript(request, self, conversation_id)
        except ReasonRequired:
            return self._ask_to_read(request, listed(conversation_id))
        except NotFound as refusal:
            raise Http404(refusal.detail) from None

    def _ask_to_read(self, request: HttpRequest, conversation: Conversation) -> HttpResponse:
        """Why somebody wants to read it: kept for the session, and then back to this page."""
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Reason for access",
            "opts": self.opts,
            "media": self.media,
            "conversation": conversation,
            "kept": [("do", "reason"), ("back", request.get_full_path())],
            "target": reverse("admin:conversations_conversation_act", args=[conversation.pk]),
        }
        return TemplateResponse(request, REASON_TEMPLATE, context)

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """None: what was done with a conversation is in the access records."""
        raise Http404

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        extra = {"export_url": self._export_url(request)} | (extra_context or {})
        return super().changelist_view(request, extra)

    def _export_url(self, request: HttpRequest) -> str | None:
        """The same list's filters, for the page that exports all of it."""
        if not self.has_export_permission(request):
            return None
        query = request.GET.copy()
        query.pop("p", None)
        return f"{self.url_of('export')}?{query.urlencode()}"

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        if (ids := chosen_ids(request)) is not None:
            return export(request, self, self.get_queryset(request).filter(pk__in=ids))
        changelist: Any = self.get_changelist_instance(request)
        return export(request, self, changelist.get_queryset(request))

    def owner_view(self, request: HttpRequest, username: str) -> HttpResponse:
        return owner_page(request, self, username)

    @method_decorator(require_POST)
    def act_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        return act(request, self, object_id)

    def hold_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        return hold_page(request, self, object_id, on_hold=True)

    def release_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        return hold_page(request, self, object_id, on_hold=False)

    @admin.display(description="title", ordering="title")
    def titled(self, conversation: Conversation) -> SafeString:
        title = format_html(
            '<span class="conversation-title">{}</span>', clipped(conversation.title)
        )
        if url := getattr(conversation, "url", None):
            title = format_html('<a href="{}">{}</a>', url, title)
        return format_html("{}{}{}", title, _flags(conversation), _snippet(conversation))

    @admin.display(description="owner", ordering="user__username")
    def owner(self, conversation: Conversation) -> SafeString:
        name = conversation.user.username
        url = reverse("admin:conversations_conversation_changelist")
        query = urlencode({"owner": name})
        return format_html('<a href="{}?{}">{}</a>', url, query, clipped(name))

    @admin.display(description="messages", ordering="message_count")
    def size(self, conversation: Conversation) -> str:
        # Not named `messages`: the admin would sort by the relation of that name.
        count = f"{conversation.message_count:,}"
        if conversation.branch_count == 1:
            return count
        return f"{count} in {conversation.branch_count:,} branches"

    @admin.display(description="model", ordering="model_used")
    def answered_by(self, conversation: Conversation) -> SafeString:
        return clipped(conversation.model_used)

    @admin.display(description="updated", ordering="updated_at")
    def updated(self, conversation: Conversation) -> SafeString | None:
        return moment(conversation.updated_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, conversation: Conversation) -> SafeString | None:
        return moment(conversation.created_at)


def _flags(conversation: Conversation) -> SafeString:
    """In words, since colour alone would not say it to everybody; then the tags."""
    words = {
        "pinned": conversation.pinned,
        "archived": conversation.archived,
        "legal hold": conversation.legal_hold,
    }
    badges = ((word,) for word, holds in words.items() if holds)
    tags = ((clipped(tag),) for tag in conversation.tags)
    return format_html_join("", '<span class="conversation-flag">{}</span>', badges) + (
        format_html_join("", '<span class="conversation-tag">{}</span>', tags)
    )


def _snippet(conversation: Any) -> SafeString | str:
    """Why a search found it, for those who may see it."""
    found = getattr(conversation, "snippet", None)
    if found is None:
        return ""
    return format_html('<span class="snippet"><a href="{}">{}</a> <bdi>{}</bdi></span>', *found)
