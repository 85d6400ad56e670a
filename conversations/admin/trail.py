"""The trace that looking at, moving and deleting conversations leaves."""

from __future__ import annotations

import ipaddress
from typing import Any, cast

from django.contrib.auth.models import User
from django.http import HttpRequest

from conversations import services
from conversations.models import AccessAction, Caller, Conversation
from conversations.services import record_access


def record_read(
    request: HttpRequest, conversation: Conversation, *, reason: str = "", **detail: Any
) -> None:
    """Leave an AccessRecord, unless staff read a conversation of their own."""
    services.record_read(
        caller=caller_of(request),
        owner_id=conversation.user_id,
        owner_name=conversation.user.username,
        conversation_id=conversation.pk,
        address=address_of(request),
        reason=reason,
        detail=detail,
    )


def record_deletion(request: HttpRequest, conversation: Conversation) -> None:
    record_access(
        caller=caller_of(request),
        action=AccessAction.DELETE,
        owner_id=conversation.user_id,
        owner_name=conversation.user.username,
        conversation_id=conversation.pk,
        address=address_of(request),
        detail={"messages": conversation.message_count},
    )


def record_trail_export(request: HttpRequest) -> None:
    """Who took a copy of the trail itself."""
    record_access(
        caller=caller_of(request),
        action=AccessAction.EXPORT,
        address=address_of(request),
        detail={"format": "csv", "records": request.GET.urlencode()[:500] or "all"},
    )


def caller_of(request: HttpRequest) -> Caller:
    """The member of staff. Their rights are asked where they matter, by the admin's own checks."""
    return Caller(user=cast(User, request.user))


def address_of(request: HttpRequest) -> str | None:
    """The address the connection came from; None over a Unix socket.

    A forwarding header is not taken: anybody can send one, and this is evidence.
    """
    text = request.META.get("REMOTE_ADDR", "").partition("%")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
