"""What staff do to one conversation from its transcript: archive, review, note, give a reason."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from conversations.admin.access_reasons import access_to, ask_again, remember_reason
from conversations.admin.conversation.listed import listed
from conversations.admin.transcript.navigation import back_url
from conversations.models.rights import ADD_NOTE, ARCHIVE, RATE, VIEW_CONTENT
from conversations.services import (
    InvalidValue,
    ReasonRequired,
    ServiceError,
    add_note,
    review_message,
    update_conversation,
    withdraw_review,
)
from conversations.services.errors import NO_SUCH_MESSAGE

BAD_REVIEW = "Choose a score: good or bad."


@dataclass(frozen=True, slots=True)
class Act:
    """Something that may be done, the right it takes, and what is said afterwards.

    `do` returns where on the page that is, as a fragment of its URL, or "".
    """

    right: str
    do: Callable[[HttpRequest, uuid.UUID], str]
    said: str


def act(request: HttpRequest, model_admin: ModelAdmin, conversation_id: uuid.UUID) -> HttpResponse:
    """Carry out what the form asks for, and go back to where it was sent from."""
    chosen = ACTS.get(request.POST.get("do", ""))
    if chosen is None:
        raise Http404("There is no such action.")
    if not request.user.has_perm(chosen.right):
        raise PermissionDenied
    conversation = listed(conversation_id)
    page = reverse("admin:conversations_conversation_change", args=[conversation.pk])
    back = back_url(request, page)
    try:
        back += chosen.do(request, conversation_id)
    except ReasonRequired as refusal:
        if chosen.do is not _reason:
            return ask_again(request, model_admin)
        messages.error(request, refusal.detail)
    except ServiceError as refusal:
        messages.error(request, refusal.detail)
    else:
        if chosen.said:
            messages.success(request, chosen.said)
    return HttpResponseRedirect(back)


def set_archived(request: HttpRequest, conversation_id: uuid.UUID, archived: bool) -> str:
    access = access_to(request, conversation_id, ARCHIVE)
    changes = {"archived": archived}
    update_conversation(conversation_id=conversation_id, changes=changes, access=access)
    return ""


def _archive(request: HttpRequest, conversation_id: uuid.UUID) -> str:
    return set_archived(request, conversation_id, True)


def _unarchive(request: HttpRequest, conversation_id: uuid.UUID) -> str:
    return set_archived(request, conversation_id, False)


def _note(request: HttpRequest, conversation_id: uuid.UUID) -> str:
    access = access_to(request, conversation_id, ADD_NOTE)
    add_note(conversation_id=conversation_id, text=request.POST.get("text", ""), access=access)
    return ""


def _review(request: HttpRequest, conversation_id: uuid.UUID) -> str:
    if (score := request.POST.get("score", "")) not in {"1", "-1"}:
        raise InvalidValue(BAD_REVIEW, field="score")
    review_message(
        conversation_id=conversation_id,
        message_id=_message_id(request),
        score=int(score),
        labels=_labels(request.POST.get("labels", "")),
        comment=request.POST.get("comment", ""),
        access=access_to(request, conversation_id, RATE),
    )
    return _fragment(request)


def _withdraw(request: HttpRequest, conversation_id: uuid.UUID) -> str:
    access = access_to(request, conversation_id, RATE)
    message_id = _message_id(request)
    withdraw_review(conversation_id=conversation_id, message_id=message_id, access=access)
    return _fragment(request)


def _reason(request: HttpRequest, conversation_id: uuid.UUID) -> str:
    remember_reason(request, str(conversation_id))
    return ""


def _message_id(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.POST.get("message", ""))
    except ValueError:
        raise InvalidValue(NO_SUCH_MESSAGE, field="message") from None


def _labels(text: str) -> list[str]:
    """Labels between commas, each once, in the order that they were written in."""
    return list(dict.fromkeys(label for part in text.split(",") if (label := part.strip())))


def _fragment(request: HttpRequest) -> str:
    """To the message again: the form carries its sequence."""
    sequence = request.POST.get("sequence", "")
    return f"#m-{sequence}" if sequence.isascii() and sequence.isdigit() else ""


ACTS = {
    "archive": Act(ARCHIVE, _archive, "Archived."),
    "unarchive": Act(ARCHIVE, _unarchive, "Unarchived."),
    "note": Act(ADD_NOTE, _note, "Note added."),
    "review": Act(RATE, _review, "Review saved."),
    "withdraw": Act(RATE, _withdraw, "Review withdrawn."),
    "reason": Act(VIEW_CONTENT, _reason, ""),
}
