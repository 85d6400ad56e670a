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
from conversations.admin.transcript.branches import ShownBranch, branch_of
from conversations.admin.transcript.images import image_response
from conversations.admin.transcript.message_card import blocks_of, counted_tokens
from conversations.admin.transcript.navigation import (
    BRANCH,
    BRANCHES,
    FILTERS,
    FIND,
    HIT,
    TranscriptUrl,
    page_links,
)
from conversations.admin.transcript.queries import (
    CUT_AT,
    TOTALLED,
    PageEnds,
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
from conversations.admin.transcript.versions import branches_beside, listed_branches, versions_of
from conversations.admin.username_urls import owner_url
from conversations.formats import WRITERS
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
from conversations.services.audit import Detail
from conversations.services.errors import NO_SUCH_BRANCH, NO_SUCH_MESSAGE

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
    it), or its `&image=` alone. `?branch=` is the branch that is shown, by default the owner's
    current one, and `?branches=` lists a page of all. `?find=` searches inside and marks the words,
    `?hit=` is the sequence of the match that is looked at, `?raw=1` shows texts as they were
    written. Each request leaves its AccessRecord.

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
    url = url.on(page.branch)
    findings = find_inside(url, access, conversation, page.branch)
    marks = findings.query if findings else None
    context["blocks"] = blocks_of(
        page,
        reviewer=request.user.pk,
        query=marks,
        hit=url.sequence(HIT),
        whole="message" in request.GET,
        raw=url.text("raw") == "1",
        versions=versions_of(page, url),
    )
    context |= _page_context(url, model_admin, conversation, page.branch)
    context |= {"page": page, "findings": findings, "marks": marks}
    return TemplateResponse(request, TEMPLATE, context)


def _redirect_to_sequence(
    url: TranscriptUrl, access: AccessContext, conversation_id: uuid.UUID
) -> HttpResponse:
    """To the page and anchor of the sequence `at`, or of the first message of a date."""
    conversation, wanted = listed(conversation_id), url.sequence("at")
    branch = branch_of(conversation, url.sequence(BRANCH)) or branch_of(conversation, None)
    moment = url.moment("on") or url.moment("at")
    if wanted is None and moment is not None:
        detail = {"on": moment.isoformat()}
        opened = open_conversation(access, conversation_id, detail=detail)
        wanted = first_since(opened, branch, moment)
    at = max(1, wanted or 1)
    if branch is None:
        at = max(1, min(at, conversation.last_sequence))
        after = page_start(at)
    else:
        # A message of another branch is shown on that one.
        branch = branch.through(at)
        at = branch.first_from(at)
        after = branch.page_start(at)
    hit = at if url.text(FIND) else None
    return HttpResponseRedirect(f"{url.on(branch).to(after=after, hit=hit)}#m-{at}")


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
    branch = _shown_branch(conversation, url)
    page = read_whole(conversation, branch, key, part=part)
    if page is None:
        raise Http404(NO_SUCH_MESSAGE)
    message, url = page.messages[0], url.on(branch)
    back = f"{url.to(after=page_start(message.sequence))}#m-{message.sequence}"
    return (
        conversation,
        page,
        {
            "back_url": back if branch is None else url.to(at=message.sequence),
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
    ends = PageEnds(None, None)

    def detail(found: Conversation) -> Detail:
        nonlocal ends
        branch = _shown_branch(found, url)
        ends = page_ends(found, branch, after=after or 0, before=before)
        said: dict[str, Any] = {"first": ends.first, "last": ends.last}
        if branch is not None:
            said[BRANCH] = branch.number
        if listing := listed_branches(branch, url):
            said[BRANCHES] = [each.number for each in listing]
        return said

    conversation = open_conversation(access, conversation_id, detail=detail)
    page = read_page(conversation, ends, follows=after)
    url, here = url.on(page.branch), {"before": before, "after": after or None}
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
            "switch_url": url.to(raw=None if raw else "1", **here),
            # A sequence is appended to it, for the page that holds that message.
            "elsewhere": f"?{urlencode(url.kept | {'at': ''})}",
            "branches": branches_beside(conversation, page.branch, url, here),
        },
    )


def _shown_branch(conversation: Conversation, url: TranscriptUrl) -> ShownBranch | None:
    """The branch that is asked for, or the owner's current one; None without forks."""
    number = url.sequence(BRANCH)
    branch = branch_of(conversation, number)
    if branch is None and (number or conversation.last_branch):
        raise Http404(NO_SUCH_BRANCH)
    return branch


def _message_id(url: TranscriptUrl) -> uuid.UUID:
    try:
        return uuid.UUID(url.text("message"))
    except ValueError:
        raise Http404(NO_SUCH_MESSAGE) from None


def _page_context(
    url: TranscriptUrl, model_admin: ModelAdmin, conversation: Opened, branch: ShownBranch | None
) -> dict[str, Any]:
    """What surrounds the messages: the conversation, its totals, notes and neighbours, and what
    the reader may do."""
    request = url.request
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
        "message_count": _message_count(conversation, branch),
        "filters": request.GET.get(FILTERS, ""),
        "may": may,
        "export_formats": [(name, writer.label) for name, writer in WRITERS.items()],
        "here": url.here,
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


def _message_count(conversation: Opened, branch: ShownBranch | None) -> str:
    """Where there are branches: of all, of the one that is shown, and of those that were deleted,
    which the gaps between its messages do not tell."""
    count = f"{conversation.message_count:,}"
    if branch is None or conversation.branch_count < 2:
        return count
    count += f" in {conversation.branch_count:,} branches, {branch.length:,} on this one"
    deleted = conversation.last_sequence - conversation.message_count
    return f"{count}, {deleted:,} deleted" if deleted else count


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
    of = [f"the newest {TOTALLED:,} messages"] * (conversation.message_count > TOTALLED)
    of += ["all branches"] * (conversation.branch_count > 1)
    if of:
        yield "Totals", f"of {', of '.join(of)}"
