"""The transcript: a conversation's messages in order, in pages, for reading only."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from conversations.admin.cards import card_of, cards_of, dumped
from conversations.admin.reading import CUT_AT, Page, page_start, read_page, read_whole
from conversations.admin.trail import record_read
from conversations.models import Conversation

# The list's filters, carried along so that the way back leads to the same list.
FILTERS = "_changelist_filters"
_LARGEST_SEQUENCE = 2**31 - 1

TEMPLATE = "admin/conversations/conversation/transcript.html"


def transcript(
    request: HttpRequest, model_admin: ModelAdmin, conversation: Conversation
) -> HttpResponse:
    """One page; `?after=` and `?before=` name a sequence, `?at=` finds the page that holds one,
    `?message=` shows one message whole. Each look leaves its AccessRecord."""
    if request.GET.get("at"):
        return _jump(request, conversation)
    if "message" in request.GET:
        context = _whole_message(request, conversation)
    else:
        context = _page(request, conversation)
    context |= _frame(request, model_admin, conversation)
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, TEMPLATE, context)


def _jump(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """To the page that holds the sequence `at`, at its anchor."""
    wanted = _sequence(request, "at") or 1
    at = max(1, min(wanted, conversation.last_sequence))
    return HttpResponseRedirect(f"{_url(request, after=page_start(at))}#m-{at}")


def _whole_message(request: HttpRequest, conversation: Conversation) -> dict[str, Any]:
    try:
        message = read_whole(conversation, uuid.UUID(request.GET["message"]))
    except ValueError:
        message = None
    if message is None:
        raise Http404("No such message in this conversation.")
    record_read(request, conversation, message=str(message.id))
    start = page_start(message.sequence)
    return {
        "cards": [card_of(message, whole=True)],
        "back_url": f"{_url(request, after=start)}#m-{message.sequence}",
    }


def _page(request: HttpRequest, conversation: Conversation) -> dict[str, Any]:
    before = _sequence(request, "before")
    after = None if before is not None else _sequence(request, "after") or 0
    page = read_page(conversation, after=after, before=before)
    record_read(request, conversation, first=page.first, last=page.last)
    pages = _neighbours(request, page)
    return {
        "page": page,
        "pages": pages,
        "has_pages": any(url for _, _, url in pages),
        "cards": cards_of(page.messages, follows=after),
        "cut_at": f"{CUT_AT:,}",
    }


def _neighbours(request: HttpRequest, page: Page) -> list[tuple[str, str, str | None]]:
    """Links to other pages: label, icon, and the URL where there is such a page."""
    # Past the end there is nothing to be next to, but still a way back.
    lost = not page.messages and page.last_of_all > 0
    first = _url(request) if page.has_previous or lost else None
    previous = _url(request, before=page.first) if page.has_previous else None
    following = _url(request, after=page.last) if page.has_next else None
    end = page_start(page.last_of_all)
    last = _url(request, after=end) if page.has_next or lost else None
    return [
        ("First", "first_page", first),
        ("Previous", "chevron_left", previous),
        ("Next", "chevron_right", following),
        ("Last", "last_page", last),
    ]


def _frame(
    request: HttpRequest, model_admin: ModelAdmin, conversation: Conversation
) -> dict[str, Any]:
    """What surrounds the messages."""
    return {
        **model_admin.admin_site.each_context(request),
        "title": conversation.title,
        "opts": model_admin.opts,
        "original": conversation,
        "conversation": conversation,
        "message_count": f"{conversation.message_count:,}",
        "metadata": dumped(conversation.metadata) if conversation.metadata else "",
        "filters": request.GET.get(FILTERS, ""),
        "may_delete": model_admin.has_delete_permission(request, conversation),
        "media": model_admin.media,
    }


def _sequence(request: HttpRequest, name: str) -> int | None:
    """A sequence from the query string; anything else counts as not given."""
    text = request.GET.get(name, "").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:12]), _LARGEST_SEQUENCE)


def _url(request: HttpRequest, **parameters: Any) -> str:
    kept = {FILTERS: request.GET[FILTERS]} if request.GET.get(FILTERS) else {}
    query = urlencode(parameters | kept)
    return f"{request.path}?{query}" if query else request.path
