"""What staff do to one conversation from its transcript: archive, hold, rate, note, reason."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from conversations.admin.reasons import reason_for, remember_reason
from conversations.admin.trail import access_of
from conversations.models import Conversation, Message
from conversations.models.rights import ADD_NOTE, ARCHIVE, HOLD, RATE, VIEW_CONTENT
from conversations.services import (
    InvalidValue,
    ServiceError,
    add_note,
    review_message,
    set_legal_hold,
    update_conversation,
    withdraw_review,
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
    access = access_of(request, HOLD)
    return set_legal_hold(conversation_id=conversation.pk, on_hold=on_hold, access=access)


def set_archived(request: HttpRequest, conversation: Conversation, archived: bool) -> object:
    access = access_of(request, ARCHIVE, reason=_reason_of(request, conversation))
    changes = {"archived": archived}
    return update_conversation(conversation_id=conversation.pk, changes=changes, access=access)


def _reason_of(request: HttpRequest, conversation: Conversation) -> str:
    """The reason sent along or, without one, what was given for this conversation before."""
    return request.POST.get("reason", "") or reason_for(request, conversation)


def _note(request: HttpRequest, conversation: Conversation) -> object:
    access = access_of(request, ADD_NOTE, reason=_reason_of(request, conversation))
    text = request.POST.get("text", "")
    return add_note(conversation_id=conversation.pk, text=text, access=access)


def _reason(request: HttpRequest, conversation: Conversation) -> None:
    remember_reason(request, str(conversation.pk))


def _rate(request: HttpRequest, conversation: Conversation) -> object:
    """`rating` is the message's id and 1, -1 or 0, which withdraws one's own review."""
    key, _, score = request.POST.get("rating", "").partition(":")
    try:
        message_id, rating = uuid.UUID(key), int(score)
    except ValueError:
        raise InvalidValue(BAD_RATING, field="rating") from None
    access = access_of(request, RATE, reason=_reason_of(request, conversation))
    if rating == 0:
        withdraw_review(conversation_id=conversation.pk, message_id=message_id, access=access)
    else:
        review_message(
            conversation_id=conversation.pk, message_id=message_id, score=rating, access=access
        )
    return Message.objects.filter(conversation_id=conversation.pk, id=message_id).first()


def _archive(request: HttpRequest, conversation: Conversation) -> object:
    return set_archived(request, conversation, True)


def _unarchive(request: HttpRequest, conversation: Conversation) -> object:
    return set_archived(request, conversation, False)


def _hold(request: HttpRequest, conversation: Conversation) -> object:
    return set_hold(request, conversation, True)


def _release(request: HttpRequest, conversation: Conversation) -> object:
    return set_hold(request, conversation, False)


DEEDS = {
    "archive": Deed(ARCHIVE, _archive, "Archived."),
    "unarchive": Deed(ARCHIVE, _unarchive, "Brought back."),
    "hold": Deed(HOLD, _hold, "On legal hold."),
    "release": Deed(HOLD, _release, "Hold released."),
    "note": Deed(ADD_NOTE, _note, "Note added."),
    "rate": Deed(RATE, _rate, "Reviewed."),
    "reason": Deed(VIEW_CONTENT, _reason, ""),
}


def way_back(request: HttpRequest, otherwise: str) -> str:
    """Where the form was, if that is a page of this site."""
    back = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        return back
    return otherwise
