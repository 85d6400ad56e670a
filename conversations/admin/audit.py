"""The access context of a request to the admin: which member of staff, from where and why."""

from __future__ import annotations

import ipaddress
from typing import cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from conversations.models import AccessAction, AccessContext, Caller
from conversations.services.audit import clean_reason, record_access


def access_of(request: HttpRequest, *rights: str, reason: str | None = None) -> AccessContext:
    """What a service needs to act for this member of staff, who must have all of these rights.

    `reason` None is the one in the form that was sent. Raises PermissionDenied.
    """
    user = cast(User, request.user)
    if not user.has_perms(rights):
        raise PermissionDenied
    given = request.POST.get("reason", "") if reason is None else reason
    return AccessContext(
        caller=Caller(user=user, reader=True, writer=True),
        address=address_of(request),
        reason=clean_reason(given),
    )


def record_log_export(request: HttpRequest) -> None:
    """Records who exported the audit log itself."""
    record_access(
        access_of(request),
        AccessAction.EXPORT,
        detail={"format": "csv", "records": request.GET.urlencode()[:500] or "all"},
    )


def address_of(request: HttpRequest) -> str | None:
    """The address the connection came from; None over a Unix socket.

    A forwarding header is not taken: anybody can send one, and this is evidence.
    """
    text = request.META.get("REMOTE_ADDR", "").partition("%")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
