"""The reason for a look at somebody's conversation, asked once where the settings want one."""

from __future__ import annotations

from django.http import HttpRequest

from conversations.admin.trail import access_of
from conversations.models import Conversation
from conversations.services import ReasonRequired
from conversations.services.access import clean_reason, wants_reason

SEARCHING = "search"
_KEY = "read_reasons"
_REMEMBERED = 200


def reason_for(request: HttpRequest, conversation: Conversation) -> str:
    """What was given in this session for this conversation, or ""."""
    return _given_for(request, str(conversation.pk))


def reason_for_searching(request: HttpRequest) -> str:
    """What was given in this session for searches in everybody's words, or ""."""
    return _given_for(request, SEARCHING)


def must_ask(request: HttpRequest, conversation: Conversation) -> bool:
    """Whether no word of it may be shown before a reason is given."""
    wanted = wants_reason(access_of(request), conversation.user_id)
    return wanted and not reason_for(request, conversation)


def must_ask_for_searching(request: HttpRequest) -> bool:
    return wants_reason(access_of(request), None) and not reason_for_searching(request)


def remember_reason(request: HttpRequest, what: str) -> None:
    """The reason of a form that was sent, for a conversation's key or for SEARCHING: until the
    session ends, or until _REMEMBERED others were given since. Raises ReasonRequired."""
    reason = given_reason(request)
    if not reason:
        raise ReasonRequired
    given = request.session.get(_KEY, {})
    given.pop(what, None)
    given[what] = reason
    request.session[_KEY] = dict(list(given.items())[-_REMEMBERED:])


def given_reason(request: HttpRequest) -> str:
    """The reason in a form that was sent, fit to be stored."""
    return clean_reason(request.POST.get("reason", ""))


def _given_for(request: HttpRequest, what: str) -> str:
    return str(request.session.get(_KEY, {}).get(what, ""))
