"""The reason for a look at somebody's conversation, asked once where the settings want one."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from conversations.admin.trail import caller_of
from conversations.models import Conversation

MAX_REASON_CHARS = 500
NO_REASON = "Give a reason: it is kept with the record of this access."
_KEY = "read_reasons"
_REMEMBERED = 200


def reason_for(request: HttpRequest, conversation: Conversation) -> str:
    """What was given in this session for this conversation, or ""."""
    return str(request.session.get(_KEY, {}).get(str(conversation.pk), ""))


def must_ask(request: HttpRequest, conversation: Conversation) -> bool:
    """Whether no word of it may be shown before a reason is given."""
    wanted = settings.CHAT_REQUIRE_READ_REASON
    others = caller_of(request).leaves_record(conversation.user_id)
    return wanted and others and not reason_for(request, conversation)


def remember_reason(request: HttpRequest, conversation: Conversation, reason: str) -> None:
    """Until the session ends, or until _REMEMBERED others have been looked at since."""
    given = request.session.get(_KEY, {})
    given.pop(str(conversation.pk), None)
    given[str(conversation.pk)] = reason
    request.session[_KEY] = dict(list(given.items())[-_REMEMBERED:])


def given_reason(request: HttpRequest) -> str:
    """The reason in a form that was sent, fit to be stored."""
    text = request.POST.get("reason", "").replace("\0", "")
    return " ".join(text.split())[:MAX_REASON_CHARS]
