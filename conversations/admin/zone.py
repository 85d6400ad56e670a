"""The viewer's time zone: their browser names it in a cookie (static/conversations/zone.js)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "zone"
ADMIN = "/admin/"


class ViewersZone:
    """Writes the admin's times, and reads its dates, in the zone of whoever looks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        zone = _zone(request.COOKIES.get(COOKIE, ""))
        if zone is None or not request.path.startswith(ADMIN):
            return self.get_response(request)
        with timezone.override(zone):
            return self.get_response(request)


@lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo | None:
    """Only a name from the zone database: anything else would be a path to a file."""
    name = unquote(name)
    return ZoneInfo(name) if name in _names() else None


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones())
