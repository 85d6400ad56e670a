"""What staff do to one conversation from its transcript: archive, hold, rate, note, reason."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from conversations.admin.reasons import given_reason, remember_reason
from conversations.admin.trail import address_of, caller_of
from conversations.models import Conversation, Message
from conversations.models.rights import ADD_NOTE, ARCHIVE, HOLD, RATE, VIEW_CONTENT
from conversations.services import (
    InvalidValue,
    ServiceError,
    add_note,
    set_legal_hold,
    update_conversation,
    update_message,
)

BAD_RATING = "Not a rating of a message."


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that may be done, the right it takes, and what is said afterwards."""

    right: str
    do: Callable[[HttpRequest, Conversation], object]
    said: str


def act(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """Carry out what the form asks for, and go back to where it was sent from."""
    deed = DEEDS.get(request.POST.get("do", ""))
    if deed is None:
        raise Http404("Nothing of that name can be done.")
    if not request.user.has_perm(deed.right):
        raise PermissionDenied
    page = reverse("admin:conversations_conversation_change", args=[conversation.pk])
    back = way_back(request, page)
    try:
        done = deed.do(request, conversation)
    except ServiceError as refusal:
        messages.error(request, refusal.detail)
    else:
        if deed.said:
            messages.success(request, deed.said)
        if isinstance(done, Message):
            back = f"{back}#m-{done.sequence}"
    return HttpResponseRedirect(back)


def set_hold(request: HttpRequest, conversation: Conversation, on_hold: bool) -> object:
    return set_legal_hold(
        conversation_id=conversation.pk,
        on_hold=on_hold,
        by=caller_of(request),
        address=address_of(request),
        reason=given_reason(request),
    )


def set_archived(conversation: Conversation, archived: bool) -> object:
    return update_conversation(conversation_id=conversation.pk, changes={"archived": archived})


def _note(request: HttpRequest, conversation: Conversation) -> object:
    text = request.POST.get("text", "")
    return add_note(conversation_id=conversation.pk, author=caller_of(request), text=text)


def _reason(request: HttpRequest, conversation: Conversation) -> None:
    remember_reason(request, str(conversation.pk))


def _rate(request: HttpRequest, conversation: Conversation) -> object:
    """`rating` is the message's id and 1, -1 or 0, which takes a rating back."""
    key, _, stars = request.POST.get("rating", "").partition(":")
    try:
        message_id, rating = uuid.UUID(key), int(stars)
    except ValueError:
        raise InvalidValue(BAD_RATING, field="rating") from None
    changes: dict[str, Any] = {"rating": rating or None}
    return update_message(conversation_id=conversation.pk, message_id=message_id, changes=changes)


DEEDS = {
    "archive": Deed(ARCHIVE, lambda _, it: set_archived(it, True), "Archived."),
    "unarchive": Deed(ARCHIVE, lambda _, it: set_archived(it, False), "Brought back."),
    "hold": Deed(HOLD, lambda request, it: set_hold(request, it, True), "On legal hold."),
    "release": Deed(HOLD, lambda request, it: set_hold(request, it, False), "Hold released."),
    "note": Deed(ADD_NOTE, _note, "Note added."),
    "rate": Deed(RATE, _rate, "Rated."),
    "reason": Deed(VIEW_CONTENT, _reason, ""),
}


def way_back(request: HttpRequest, otherwise: str) -> str:
    """Where the form was, if that is a page of this site."""
    back = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        return back
    return otherwise
