"""The transcript: a conversation's messages in order, in pages, for reading only."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from conversations.admin.access_reasons import access_to
from conversations.admin.conversation.listed import listed
from conversations.admin.conversation.opened import Opened, open_conversation
from conversations.admin.transcript.context import frame_of
from conversations.admin.transcript.message_card import Budget, card_of, cards_of, open_matches
from conversations.admin.transcript.navigation import FIND, HIT, Place
from conversations.admin.transcript.queries import (
    CUT_AT,
    Page,
    first_since,
    page_start,
    read_page,
    read_whole,
    reviews_of,
    span_of,
    tool_events,
)
from conversations.admin.transcript.search import find_inside
from conversations.admin.transcript.tool_links import ToolLinks, link_tools
from conversations.models import AccessContext, Role
from conversations.models.rights import VIEW_CONTENT

TEMPLATE = "admin/conversations/conversation/transcript.html"


def transcript(
    request: HttpRequest, model_admin: ModelAdmin, conversation_id: uuid.UUID
) -> HttpResponse:
    """One page; `?after=` and `?before=` name a sequence, `?at=` (a sequence or a date) and `?on=`
    (a date) find the page that holds it, `?message=` shows one message whole, `?find=` searches
    inside and marks the words, `?hit=` is the sequence of the match that is looked at, `?raw=1`
    shows texts as they were written. Each look leaves its AccessRecord.

    Raises NotFound, and ReasonRequired before anything of it is read.
    """
    place = Place(request)
    request.current_app = model_admin.admin_site.name
    access = access_to(request, conversation_id, VIEW_CONTENT)
    if place.text("at") or place.text("on"):
        return _jump(place, access, conversation_id)
    if "message" in request.GET:
        conversation, context = _whole_message(place, access, conversation_id)
    else:
        conversation, context = _page(place, access, conversation_id)
    findings = find_inside(request, access, conversation)
    marks = findings.query if findings else None
    open_matches(context["cards"], marks, hit=place.sequence(HIT))
    context |= frame_of(model_admin, place, conversation)
    context |= {"findings": findings, "marks": marks}
    return TemplateResponse(request, TEMPLATE, context)


def _jump(place: Place, access: AccessContext, conversation_id: uuid.UUID) -> HttpResponse:
    """To the page that holds the sequence `at`, or the first message of a date, at its anchor."""
    conversation, wanted = listed(conversation_id), place.sequence("at")
    moment = place.moment("on") or place.moment("at")
    if wanted is None and moment is not None:
        detail = {"on": moment.isoformat()}
        wanted = first_since(open_conversation(access, conversation_id, detail=detail), moment)
    at = max(1, min(wanted or 1, conversation.last_sequence))
    hit = at if place.text(FIND) else None
    return HttpResponseRedirect(f"{place.url(after=page_start(at), hit=hit)}#m-{at}")


def _whole_message(
    place: Place, access: AccessContext, conversation_id: uuid.UUID
) -> tuple[Opened, dict[str, Any]]:
    part = place.sequence("part") or 1
    try:
        key = uuid.UUID(place.request.GET["message"])
    except ValueError:
        raise Http404("Not the id of a message.") from None
    conversation = open_conversation(access, conversation_id, detail={"message": str(key)})
    message: Any = read_whole(conversation, key, part=part)
    if message is None or part > message.parts_in_all:
        raise Http404("No such message in this conversation.")
    start = page_start(message.sequence)
    reviews = reviews_of(conversation, [message])
    card = card_of(
        message,
        Budget(0),
        whole=True,
        reviews=reviews.get(key, ()),
        reviewer=place.request.user.pk,
    )
    return conversation, {
        "cards": [card],
        "back_url": f"{place.url(after=start)}#m-{message.sequence}",
        "parts": [
            (number, None if number == part else place.url(message=message.id, part=number))
            for number in range(1, message.parts_in_all + 1)
        ],
    }


def _page(
    place: Place, access: AccessContext, conversation_id: uuid.UUID
) -> tuple[Opened, dict[str, Any]]:
    before = place.sequence("before")
    after = None if before is not None else place.sequence("after") or 0
    span = span_of(conversation_id, after=after, before=before)
    detail = {"first": span.first, "last": span.last}
    conversation = open_conversation(access, conversation_id, detail=detail)
    page = read_page(conversation, span)
    pages = _neighbours(place, page)
    here = {"before": before} if before is not None else {"after": after or None}
    cards = cards_of(
        page.messages,
        follows=after,
        links=_links(conversation, page),
        reviews=reviews_of(conversation, page.messages),
        reviewer=place.request.user.pk,
        raw=place.raw,
    )
    return conversation, {
        "page": page,
        "pages": pages,
        "has_pages": any(url for _, _, url in pages),
        "cards": cards,
        "cut_at": f"{CUT_AT:,}",
        "raw": place.raw,
        "switch_url": place.url(raw=None if place.raw else "1", **here),
        "elsewhere": place.elsewhere,
    }


def _links(conversation: Opened, page: Page) -> ToolLinks:
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
