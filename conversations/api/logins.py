"""Callbacks of django-axes, which limits logins with a password."""

from __future__ import annotations

import ipaddress
from typing import Any

from axes.utils import reset
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.views import defaults

TOO_MANY = "Too many failed logins. Wait {minutes} minutes, then try again."


def counted_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name that failures are counted for.

    The cache holds names and addresses side by side: whoever gives somebody's address as a name
    must not lock that address.
    """
    return _as_counted(str((credentials or {}).get("username") or request.POST.get("username", "")))


def _as_counted(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    return f"user {name}"


def forget_failures(sender: type[User], user: User, **kwargs: Any) -> None:
    """After a login that succeeded: the failures of its account, and no others.

    Those of its address stay: whoever has an account of their own could otherwise log in to it
    between any number of guesses at somebody else's password.
    """
    reset(username=_as_counted(user.get_username()))


def locked_out(
    request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None
) -> HttpResponse:
    """429: the same page whether or not the account exists, or the password was right."""
    wait = settings.AXES_COOLOFF_TIME
    text = TOO_MANY.format(minutes=round(wait.total_seconds() / 60))
    page = {"title": "Too Many Requests (429)", "details": text}
    return HttpResponse(
        defaults.ERROR_PAGE_TEMPLATE % page,
        status=429,
        headers={"Retry-After": str(round(wait.total_seconds()))},
    )
