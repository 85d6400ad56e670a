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
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from conversations.admin import username_urls  # noqa: F401 (its converter is named in a path)
from conversations.admin.access_reasons import TEMPLATE as REASON_TEMPLATE
from conversations.admin.base import uuid_in
from conversations.admin.conversation.bulk_actions import ActsOnConversations
from conversations.admin.conversation.detail_actions import act
from conversations.admin.conversation.export import chosen_ids, export
from conversations.admin.conversation.filters import (
    ArchivedFilter,
    CreatedFilter,
    LegalHoldFilter,
    ModelFilter,
    OwnerFilter,
    PinnedFilter,
    SourceFilter,
    UpdatedFilter,
)
from conversations.admin.conversation.legal_holds import hold_page
from conversations.admin.conversation.listed import listed
from conversations.admin.conversation.message_filters import (
    AnswerFilter,
    ReviewedFilter,
    RoleFilter,
    ToolFilter,
)
from conversations.admin.conversation.owner_page import owner_page
from conversations.admin.conversation.search import ConversationChangeList, ask_reason, narrow
from conversations.admin.formatting import isolated, moment
from conversations.admin.transcript.view import transcript
from conversations.models import VIEW_CONVERSATION, Conversation
from conversations.models.rights import VIEW_CONTENT
from conversations.selectors.staff_search import conversations_with_id
from conversations.services import NotFound, ReasonRequired
from conversations.services.errors import NO_SUCH_CONVERSATION


@admin.register(Conversation)
class ConversationAdmin(ActsOnConversations):
    """Staff find, read and delete conversations. What was said is a record: no one edits it."""

    list_display = ["titled", "owner", "size", "answered_by", "updated", "created"]
    # `titled` leads to the transcript, for those who may open it.
    list_display_links = None
    list_filter = [
        OwnerFilter,
        ModelFilter,
        SourceFilter,
        PinnedFilter,
        ArchivedFilter,
        LegalHoldFilter,
        RoleFilter,
        ToolFilter,
        AnswerFilter,
        ReviewedFilter,
        UpdatedFilter,
        CreatedFilter,
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

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path("export/", self.export_view, name="conversations_conversation_export"),
            path("reason/", self.reason_view, name="conversations_conversation_reason"),
            path(
                "owner/<username:username>/",
                self.owner_view,
                name="conversations_conversation_owner",
            ),
            path("<uuid:object_id>/act/", self.act_view, name="conversations_conversation_act"),
            path("<uuid:object_id>/hold/", self.hold_view, name="conversations_conversation_hold"),
            path(
                "<uuid:object_id>/release/",
                self.release_view,
                name="conversations_conversation_release",
            ),
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
        return f"{reverse('admin:conversations_conversation_export')}?{query.urlencode()}"

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        return self.admin_site.admin_view(self._export)(request)

    def _export(self, request: HttpRequest) -> HttpResponseBase:
        self._check(request)
        if (ids := chosen_ids(request)) is not None:
            return export(request, self, self.get_queryset(request).filter(pk__in=ids))
        changelist: Any = self.get_changelist_instance(request)
        return export(request, self, changelist.get_queryset(request))

    def reason_view(self, request: HttpRequest) -> HttpResponseBase:
        return self.admin_site.admin_view(self._reason)(request)

    def _reason(self, request: HttpRequest) -> HttpResponseBase:
        self._check(request)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return ask_reason(request)

    def owner_view(self, request: HttpRequest, username: str) -> HttpResponseBase:
        return self.admin_site.admin_view(self._owner)(request, username)

    def _owner(self, request: HttpRequest, username: str) -> HttpResponseBase:
        self._check(request)
        return owner_page(request, self, username)

    def act_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponseBase:
        return self.admin_site.admin_view(self._act)(request, object_id)

    def _act(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponseBase:
        self._check(request)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return act(request, self, object_id)

    def hold_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponseBase:
        return self.admin_site.admin_view(self._hold_page)(request, object_id, on_hold=True)

    def release_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponseBase:
        return self.admin_site.admin_view(self._hold_page)(request, object_id, on_hold=False)

    def _hold_page(
        self, request: HttpRequest, object_id: uuid.UUID, *, on_hold: bool
    ) -> HttpResponseBase:
        self._check(request)
        return hold_page(request, self, object_id, on_hold=on_hold)

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    @admin.display(description="title", ordering="title")
    def titled(self, conversation: Conversation) -> SafeString:
        title = format_html(
            '<span class="conversation-title">{}</span>', isolated(conversation.title)
        )
        if url := getattr(conversation, "url", None):
            title = format_html('<a href="{}">{}</a>', url, title)
        return format_html("{}{}{}", title, _flags(conversation), _snippet(conversation))

    @admin.display(description="owner", ordering="user__username")
    def owner(self, conversation: Conversation) -> SafeString:
        name = conversation.user.username
        url = reverse("admin:conversations_conversation_changelist")
        query = urlencode({"owner": name})
        return format_html('<a href="{}?{}">{}</a>', url, query, isolated(name))

    @admin.display(description="messages", ordering="message_count")
    def size(self, conversation: Conversation) -> str:
        # Not named `messages`: the admin would sort by the relation of that name.
        return f"{conversation.message_count:,}"

    @admin.display(description="model", ordering="model_used")
    def answered_by(self, conversation: Conversation) -> SafeString:
        return isolated(conversation.model_used)

    @admin.display(description="updated", ordering="updated_at")
    def updated(self, conversation: Conversation) -> SafeString | None:
        return moment(conversation.updated_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, conversation: Conversation) -> SafeString | None:
        return moment(conversation.created_at)


def _flags(conversation: Conversation) -> SafeString:
    """In words, since colour alone would not say it to everybody."""
    words = {
        "pinned": conversation.pinned,
        "archived": conversation.archived,
        "legal hold": conversation.legal_hold,
    }
    badges = ((word,) for word, holds in words.items() if holds)
    return format_html_join("", '<span class="conversation-flag">{}</span>', badges)


def _snippet(conversation: Any) -> SafeString | str:
    """Why a search found it, for those who may see it."""
    found = getattr(conversation, "snippet", None)
    if found is None:
        return ""
    return format_html('<span class="snippet"><a href="{}">{}</a> <bdi>{}</bdi></span>', *found)
