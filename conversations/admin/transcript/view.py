"""The transcript: the messages of a conversation in order, in pages, for reading only."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from conversations.admin.access_reasons import access_to
from conversations.admin.conversation.legal_holds import placed_by
from conversations.admin.conversation.listed import listed, newer_of, older_of
from conversations.admin.conversation.opened import Opened, open_conversation
from conversations.admin.formatting import (
    amount,
    duration,
    indented_json,
    named_visibly,
    visible_text,
)
from conversations.admin.transcript.images import image_response
from conversations.admin.transcript.message_card import blocks_of, counted_tokens
from conversations.admin.transcript.navigation import (
    FILTERS,
    FIND,
    HIT,
    TranscriptUrl,
    page_links,
)
from conversations.admin.transcript.queries import (
    CUT_AT,
    TOTALLED,
    TranscriptPage,
    first_since,
    page_ends,
    page_start,
    read_image_url,
    read_page,
    read_totals,
    read_whole,
)
from conversations.admin.transcript.search import find_inside
from conversations.admin.username_urls import owner_url
from conversations.models import AccessContext, Conversation, ConversationNote
from conversations.models.rights import (
    ADD_NOTE,
    ARCHIVE,
    DELETE,
    EXPORT,
    HOLD,
    RATE,
    VIEW_CONTENT,
    VIEW_NOTES,
)
from conversations.services.errors import NO_SUCH_MESSAGE

TEMPLATE = "admin/conversations/conversation/transcript.html"
NOTES_SHOWN = 100
MODELS_SHOWN = 5
_RIGHTS = {
    "add_note": ADD_NOTE,
    "archive": ARCHIVE,
    "delete": DELETE,
    "export": EXPORT,
    "hold": HOLD,
    "rate": RATE,
    "view_notes": VIEW_NOTES,
}
# A legal hold refuses these, so they are not offered.
_CHANGES = ("archive", "delete", "rate")


def transcript(
    request: HttpRequest, model_admin: ModelAdmin, conversation_id: uuid.UUID
) -> HttpResponse:
    """One page; `?after=` and `?before=` name a sequence, `?at=` (a sequence or a date) and `?on=`
    (a date) redirect to the page that holds it, `?message=` shows one message whole (`&part=` of
    it), or its `&image=` alone. `?find=` searches inside and marks the words, `?hit=` is the
    sequence of the match that is looked at, `?raw=1` shows texts as they were written. Each
    request leaves its AccessRecord.

    Raises NotFound, and ReasonRequired before anything of the conversation is read.
    """
    url = TranscriptUrl(request)
    request.current_app = model_admin.admin_site.name
    access = access_to(request, conversation_id, VIEW_CONTENT)
    if url.text("at") or url.text("on"):
        return _redirect_to_sequence(url, access, conversation_id)
    if "image" in request.GET:
        return _image(url, access, conversation_id)
    if "message" in request.GET:
        conversation, page, context = _read_message(url, access, conversation_id)
    else:
        conversation, page, context = _read_page(url, access, conversation_id)
    findings = find_inside(url, access, conversation)
    marks = findings.query if findings else None
    context["blocks"] = blocks_of(
        page,
        reviewer=request.user.pk,
        query=marks,
        hit=url.sequence(HIT),
        whole="message" in request.GET,
        raw=url.text("raw") == "1",
    )
    context |= _page_context(request, model_admin, conversation)
    context |= {"page": page, "findings": findings, "marks": marks}
    return TemplateResponse(request, TEMPLATE, context)


def _redirect_to_sequence(
    url: TranscriptUrl, access: AccessContext, conversation_id: uuid.UUID
) -> HttpResponse:
    """To the page and anchor of the sequence `at`, or of the first message of a date."""
    conversation, wanted = listed(conversation_id), url.sequence("at")
    moment = url.moment("on") or url.moment("at")
    if wanted is None and moment is not None:
        detail = {"on": moment.isoformat()}
        wanted = first_since(open_conversation(access, conversation_id, detail=detail), moment)
    at = max(1, min(wanted or 1, conversation.last_sequence))
    hit = at if url.text(FIND) else None
    return HttpResponseRedirect(f"{url.to(after=page_start(at), hit=hit)}#m-{at}")


def _image(url: TranscriptUrl, access: AccessContext, conversation_id: uuid.UUID) -> HttpResponse:
    """An image that is stored in a message, on its own."""
    key, number = _message_id(url), url.sequence("image") or 0
    detail = {"message": str(key), "image": number}
    conversation = open_conversation(access, conversation_id, detail=detail)
    data_url = read_image_url(conversation, key, number)
    response = image_response(data_url) if data_url else None
    if response is None:
        raise Http404("No such image in this message.")
    return response


def _read_message(
    url: TranscriptUrl, access: AccessContext, conversation_id: uuid.UUID
) -> tuple[Opened, TranscriptPage, dict[str, Any]]:
    key, part = _message_id(url), url.sequence("part") or 1
    conversation = open_conversation(access, conversation_id, detail={"message": str(key)})
    page = read_whole(conversation, key, part=part)
    if page is None:
        raise Http404(NO_SUCH_MESSAGE)
    message = page.messages[0]
    back = url.to(after=page_start(message.sequence))
    return (
        conversation,
        page,
        {
            "back_url": f"{back}#m-{message.sequence}",
            "parts": [
                (number, None if number == part else url.to(message=key, part=number))
                for number in range(1, message.parts_in_all + 1)
            ],
        },
    )


def _read_page(
    url: TranscriptUrl, access: AccessContext, conversation_id: uuid.UUID
) -> tuple[Opened, TranscriptPage, dict[str, Any]]:
    before = url.sequence("before")
    after = None if before is not None else url.sequence("after") or 0
    ends: dict[str, int | None] = {}

    def detail(found: Conversation) -> dict[str, int | None]:
        ends.update(page_ends(found, after=after or 0, before=before))
        return ends

    conversation = open_conversation(access, conversation_id, detail=detail)
    page = read_page(conversation, ends["first"], ends["last"], follows=after)
    links = page_links(url, page)
    raw = url.text("raw") == "1"
    return (
        conversation,
        page,
        {
            "pages": links,
            "has_pages": any(link for _, _, link in links),
            "cut_at": f"{CUT_AT:,}",
            "raw": raw,
            "switch_url": url.to(raw=None if raw else "1", before=before, after=after or None),
            # A sequence is appended to it, for the page that holds that message.
            "elsewhere": f"?{urlencode(url.kept | {'at': ''})}",
        },
    )


def _message_id(url: TranscriptUrl) -> uuid.UUID:
    try:
        return uuid.UUID(url.text("message"))
    except ValueError:
        raise Http404(NO_SUCH_MESSAGE) from None


def _page_context(
    request: HttpRequest, model_admin: ModelAdmin, conversation: Opened
) -> dict[str, Any]:
    """What surrounds the messages: the conversation, its totals, notes and neighbours, and what
    the reader may do."""
    may = {name: request.user.has_perm(right) for name, right in _RIGHTS.items()}
    if conversation.legal_hold:
        may |= dict.fromkeys(_CHANGES, False)
    hold_page = "release" if conversation.legal_hold else "hold"
    notes = ConversationNote.objects.filter(user=conversation.user, conversation=conversation)
    return {
        **model_admin.admin_site.each_context(request),
        "title": visible_text(conversation.title),
        "opts": model_admin.opts,
        "original": named_visibly(conversation, "title"),
        "conversation": conversation,
        "message_count": f"{conversation.message_count:,}",
        "filters": request.GET.get(FILTERS, ""),
        "may": may,
        "here": request.get_full_path(),
        "act_url": reverse("admin:conversations_conversation_act", args=[conversation.pk]),
        "hold_url": reverse(
            f"admin:conversations_conversation_{hold_page}", args=[conversation.pk]
        ),
        "owner_url": owner_url(conversation.user.username),
        "media": model_admin.media,
        "metadata": indented_json(conversation.metadata) if conversation.metadata else "",
        "newer": newer_of(conversation),
        "older": older_of(conversation),
        "notes": list(notes.order_by("created_at")[:NOTES_SHOWN]) if may["view_notes"] else [],
        "summary": list(_summary(conversation)),
        "placed": placed_by(conversation) if conversation.legal_hold else None,
    }


def _summary(conversation: Opened) -> Iterator[tuple[str, str]]:
    """Label and value of each total that is known."""
    totals = read_totals(conversation)
    if totals["prompt_tokens"] or totals["completion_tokens"]:
        cached, thought = totals["cached_tokens"], totals["reasoning_tokens"]
        counts = (
            counted_tokens(totals["prompt_tokens"], "in", cached, "cached"),
            counted_tokens(totals["completion_tokens"], "out", thought, "reasoning"),
        )
        yield "Tokens", ", ".join(counts)
    if totals["total_cost"] is not None:
        yield "Cost", f"{amount(totals['total_cost'])} {settings.CHAT_COST_CURRENCY}"
    models = sorted(totals["models"])[:MODELS_SHOWN] or [conversation.model_used or "No data"]
    yield ("Model" if len(models) == 1 else "Models"), ", ".join(models)
    if totals["first"] != totals["last"]:
        yield "Duration", duration((totals["last"] - totals["first"]).total_seconds())
    if totals["good"] or totals["bad"]:
        yield "Ratings", f"{totals['good']:,} good, {totals['bad']:,} bad"
    if conversation.message_count > TOTALLED:
        yield "Totals", f"of the newest {TOTALLED:,} messages"
