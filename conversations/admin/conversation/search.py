"""The list of conversations as a search leaves it: bounded, with snippets for those who may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from conversations.admin.access_reasons import (
    SEARCHING,
    access_to_search,
    must_ask_for_searching,
    remember_reason,
)
from conversations.admin.change_list import BoundedChangeList
from conversations.admin.formatting import counted, visible_html
from conversations.admin.transcript.navigation import back_url
from conversations.admin.username_urls import owner_url
from conversations.models import AccessAction, Conversation
from conversations.models.rights import VIEW_CONTENT
from conversations.selectors.search_sql import MAX_PHRASE_RECHECKS
from conversations.selectors.staff_search import (
    MAX_MATCHES,
    StaffSearch,
    as_array,
    owners_by_name,
    search_for_staff,
)
from conversations.services import ServiceError
from conversations.services.audit import record_act
from conversations.services.validators import MAX_QUERY_CHARS, check_query

BOUNDED = (
    f"Only the latest {MAX_MATCHES:,} matches were searched, and for a phrase the latest "
    f"{MAX_PHRASE_RECHECKS:,} messages with its words. "
    "Add words or filter by owner to find older ones."
)
_ON_REQUEST = "_staff_search"


class ConversationChangeList(BoundedChangeList):
    """Shows beside each row why it was found."""

    note = ""
    asks_reason = False
    # Of a search for a name: the page, the name and how many conversations there are.
    owners_found: Sequence[tuple[str, str, str]] = ()

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Equals by key, in the direction of the first column: so the indexes have them."""
        ordering: list[Any] = [*super().get_ordering(request, queryset.order_by())]
        if ordering[-1] == "-pk" and not ordering[0].startswith("-"):
            ordering[-1] = "pk"
        return ordering

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if request.user.has_perm(VIEW_CONTENT):
            self._add_links()
        search: StaffSearch | None = getattr(request, _ON_REQUEST, None)
        if search is None:
            return
        self.asks_reason = not search.in_content and request.user.has_perm(VIEW_CONTENT)
        self.note = BOUNDED if is_bounded_search(request) else ""
        if search.in_content:
            _add_snippets(search, self.result_list)
        self.owners_found = [
            (owner_url(name), name, counted(count, "conversation"))
            for name, count in owners_by_name(search.text)
        ]

    def _add_links(self) -> None:
        """To each transcript. Who may not open one gets none."""
        kept: dict[str, Any] = {"preserved_filters": self.preserved_filters, "opts": self.opts}
        for row in self.result_list:
            page = reverse("admin:conversations_conversation_change", args=[row.pk])
            row.url = add_preserved_filters(kept, page)


def narrow(
    request: HttpRequest, conversations: QuerySet[Conversation], text: str
) -> QuerySet[Conversation]:
    """The conversations that the search box means. A look at what was said leaves its record here,
    whatever the rows are then shown as: a list, an export's form, the answer of a field."""
    try:
        check_query(text)
        search = search_for_staff(
            text=text,
            owner_id=getattr(_owner_filtered_by(request), "pk", None),
            content=request.user.has_perm(VIEW_CONTENT) and not must_ask_for_searching(request),
        )
    except ServiceError as refusal:
        messages.error(request, refusal.detail)
        return conversations.none()
    if search.in_content:
        _record(request, search)
    setattr(request, _ON_REQUEST, search)
    found = RawSQL("SELECT unnest(%s::uuid[])", [as_array(search.newest_match)])
    return conversations.filter(Q(pk__in=found))


def _owner_filtered_by(request: HttpRequest) -> User | None:
    """So that a search among one owner's chats looks at theirs alone, however many others match."""
    name = request.GET.get("owner", "").strip().replace("\0", "")
    if not name:
        return None
    return User.objects.filter(username=name).first()


def _record(request: HttpRequest, search: StaffSearch) -> None:
    record_act(
        access_to_search(request),
        AccessAction.SEARCH,
        owner=_owner_filtered_by(request),
        detail={"query": search.text[:MAX_QUERY_CHARS]},
    )


def is_bounded_search(request: HttpRequest) -> bool:
    """Whether the search that narrowed this request's list left older matches out."""
    search: StaffSearch | None = getattr(request, _ON_REQUEST, None)
    return search is not None and search.bounded


@require_POST
def ask_reason(request: HttpRequest) -> HttpResponse:
    """Take why somebody searches in everybody's words, and go back to the list."""
    try:
        remember_reason(request, SEARCHING)
    except ServiceError as refusal:
        messages.error(request, refusal.detail)
    page = reverse("admin:conversations_conversation_changelist")
    return HttpResponseRedirect(back_url(request, page))


def _add_snippets(search: StaffSearch, rows: Any) -> None:
    """Beside each row why it was found, and its links lead there: (URL, place, safe HTML)."""
    snippets = search.snippets(row.pk for row in rows)
    for row in rows:
        _lead_to(row, find=search.text)
        in_title = search.title_snippet(row.title)
        if row.pk in snippets:
            sequence, html = snippets[row.pk]
            _lead_to(row, at=sequence)
            row.snippet = (row.url, f"#{sequence}", visible_html(html))
        elif in_title:
            row.snippet = (row.url, "Title", visible_html(in_title))


def _lead_to(row: Any, **parameters: Any) -> None:
    row.url += f"{'&' if '?' in row.url else '?'}{urlencode(parameters)}"
