"""The client's address where proxies stand in front of the server."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase


class ClientAddressMiddleware:
    """Puts into REMOTE_ADDR what the outermost of TRUSTED_PROXIES has seen.

    Each proxy appends to X-Forwarded-For who asked it; what stands further left was written by
    the client and proves nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if address := _forwarded_address(request):
            request.META["REMOTE_ADDR"] = address
        return self.get_response(request)


def _forwarded_address(request: HttpRequest) -> str | None:
    count: int = settings.TRUSTED_PROXIES
    seen = request.headers.get("X-Forwarded-For", "").split(",")
    if not 0 < count <= len(seen):
        return None
    try:
        return str(ipaddress.ip_address(seen[-count].strip()))
    except ValueError:
        return None
