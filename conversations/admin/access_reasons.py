"""The reason of staff for access to a conversation: asked for where one is required, and kept in
the session."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.template.response import TemplateResponse

from conversations.admin.audit import access_of
from conversations.models import AccessContext
from conversations.services import ReasonRequired
from conversations.services.audit import clean_reason, wants_reason

TEMPLATE = "admin/conversations/conversation/reason.html"
SEARCHING = "search"
_KEY = "read_reasons"
_REMEMBERED = 200
# A form that is sent again with a reason keeps all of its fields but these.
_NOT_KEPT = {"csrfmiddlewaretoken", "reason"}


def access_to(request: HttpRequest, conversation_id: uuid.UUID, *rights: str) -> AccessContext:
    """The access context of an act on this conversation. Its reason is the one sent along or,
    without one, what was given for this conversation in this session."""
    reason = given_reason(request) or _given_for(request, str(conversation_id))
    return access_of(request, *rights, reason=reason)


def access_to_search(request: HttpRequest) -> AccessContext:
    """The same for a search in everybody's messages."""
    return access_of(request, reason=_given_for(request, SEARCHING))


def must_ask_for_searching(request: HttpRequest) -> bool:
    access = access_to_search(request)
    return wants_reason(access, None) and not access.reason


def is_reason_wanted(request: HttpRequest) -> bool:
    """Whether a form about others' conversations must be sent with a reason."""
    return wants_reason(access_of(request), None)


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
    """The reason in the submitted form, as it is stored."""
    return clean_reason(request.POST.get("reason", ""))


def ask_again(request: HttpRequest, model_admin: ModelAdmin) -> TemplateResponse:
    """A page that asks for the missing reason, and then sends the refused form again with it."""
    kept = [
        (name, value)
        for name, values in request.POST.lists()
        if name not in _NOT_KEPT
        for value in values
    ]
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": "Reason for access",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "kept": kept,
        "target": request.get_full_path(),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _given_for(request: HttpRequest, what: str) -> str:
    return str(request.session.get(_KEY, {}).get(what, ""))
