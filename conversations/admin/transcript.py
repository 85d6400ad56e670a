"""The transcript: a conversation's messages in order, in pages, for reading only."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from conversations.admin.cards import Budget, card_of, cards_of
from conversations.admin.finding import find_inside
from conversations.admin.frame import frame_of
from conversations.admin.place import Place
from conversations.admin.reading import (
    CUT_AT,
    Page,
    first_since,
    page_start,
    read_page,
    read_whole,
    tool_events,
)
from conversations.admin.reasons import must_ask, reason_for
from conversations.admin.tool_links import ToolLinks, link_tools
from conversations.admin.trail import access_of, record_read
from conversations.models import AccessContext, Conversation, Role
from conversations.models.rights import VIEW_CONTENT

TEMPLATE = "admin/conversations/conversation/transcript.html"
REASON_TEMPLATE = "admin/conversations/conversation/reason.html"


def transcript(
    request: HttpRequest, model_admin: ModelAdmin, conversation: Conversation
) -> HttpResponse:
    """One page; `?after=` and `?before=` name a sequence, `?at=` and `?on=` find the page that
    holds a sequence or a date, `?message=` shows one message whole, `?find=` searches inside,
    `?raw=1` shows texts as they were written. Each look leaves its AccessRecord."""
    place = Place(request)
    request.current_app = model_admin.admin_site.name
    if must_ask(request, conversation):
        return TemplateResponse(
            request, REASON_TEMPLATE, frame_of(model_admin, place, conversation)
        )
    if place.text("at") or place.text("on"):
        return _jump(place, conversation)
    if "message" in request.GET:
        context = _whole_message(place, conversation)
    else:
        context = _page(place, conversation)
    context |= frame_of(model_admin, place, conversation, whole=True)
    context["findings"] = find_inside(request, conversation)
    return TemplateResponse(request, TEMPLATE, context)


def _jump(place: Place, conversation: Conversation) -> HttpResponse:
    """To the page that holds the sequence `at` or the first message of `on`, at its anchor."""
    wanted = place.sequence("at")
    if wanted is None and (moment := place.moment("on")) is not None:
        wanted = first_since(conversation, moment)
    at = max(1, min(wanted or 1, conversation.last_sequence))
    return HttpResponseRedirect(f"{place.url(after=page_start(at))}#m-{at}")


def _whole_message(place: Place, conversation: Conversation) -> dict[str, Any]:
    part = place.sequence("part") or 1
    try:
        key = uuid.UUID(place.request.GET["message"])
    except ValueError:
        raise Http404("Not the id of a message.") from None
    message: Any = read_whole(conversation, key, part=part)
    if message is None or part > message.parts_in_all:
        raise Http404("No such message in this conversation.")
    record_read(_access(place, conversation), conversation, message=str(message.id))
    start = page_start(message.sequence)
    return {
        "cards": [card_of(message, Budget(0), whole=True)],
        "back_url": f"{place.url(after=start)}#m-{message.sequence}",
        "parts": [
            (number, None if number == part else place.url(message=message.id, part=number))
            for number in range(1, message.parts_in_all + 1)
        ],
    }


def _access(place: Place, conversation: Conversation) -> AccessContext:
    reason = reason_for(place.request, conversation)
    return access_of(place.request, VIEW_CONTENT, reason=reason)


def _page(place: Place, conversation: Conversation) -> dict[str, Any]:
    before = place.sequence("before")
    after = None if before is not None else place.sequence("after") or 0
    page = read_page(conversation, after=after, before=before)
    record_read(_access(place, conversation), conversation, first=page.first, last=page.last)
    pages = _neighbours(place, page)
    here = {"before": before} if before is not None else {"after": after or None}
    return {
        "page": page,
        "pages": pages,
        "has_pages": any(url for _, _, url in pages),
        "cards": cards_of(
            page.messages, follows=after, links=_links(conversation, page), raw=place.raw
        ),
        "cut_at": f"{CUT_AT:,}",
        "raw": place.raw,
        "switch_url": place.url(raw=None if place.raw else "1", **here),
        "elsewhere": place.elsewhere,
    }


def _links(conversation: Conversation, page: Page) -> ToolLinks:
    """Asked for only where there are tools."""
    has_tools = any(
        message.role == Role.TOOL or getattr(message, "tool_calls_text", None)
        for message in page.messages
    )
    return link_tools(tool_events(conversation, page)) if has_tools else ToolLinks()


def _neighbours(place: Place, page: Page) -> list[tuple[str, str, str | None]]:
    """Links to other pages: label, icon, and the URL where there is such a page."""
    # Past the end there is nothing to be next to, but still a way back.
    lost = not page.messages and page.last_of_all > 0
    first = place.url() if page.has_previous or lost else None
    previous = place.url(before=page.first) if page.has_previous else None
    following = place.url(after=page.last) if page.has_next else None
    end = page_start(page.last_of_all)
    last = place.url(after=end) if page.has_next or lost else None
    return [
        ("First", "first_page", first),
        ("Previous", "chevron_left", previous),
        ("Next", "chevron_right", following),
        ("Last", "last_page", last),
    ]
