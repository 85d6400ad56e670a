"""What django-axes asks and shows when logins with a password are limited."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views import defaults

TOO_MANY = "Too many failed logins. Wait {minutes} minutes, then try again."


def counted_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name that failures are counted for.

    The cache holds names and addresses side by side: whoever gives somebody's address as a name
    must not lock that address.
    """
    name = str((credentials or {}).get("username") or request.POST.get("username", ""))
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    return f"user {name}"


def locked_out(
    request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None
) -> HttpResponse:
    """The same page whether or not the account exists, or the password was right."""
    wait = settings.AXES_COOLOFF_TIME
    text = TOO_MANY.format(minutes=round(wait.total_seconds() / 60))
    page = {"title": "Too Many Requests (429)", "details": text}
    return HttpResponse(
        defaults.ERROR_PAGE_TEMPLATE % page,
        status=429,
        headers={"Retry-After": str(round(wait.total_seconds()))},
    )
