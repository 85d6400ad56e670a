"""What the pages of the admin pass: the viewer's time zone, a content security policy, a page for
conflicts, and the replicas that they are read on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, available_timezones

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from rest_framework.permissions import SAFE_METHODS

from conversations.db import replicas
from conversations.services import Conflict, refusal_of

View = Callable[[HttpRequest], HttpResponse]
ADMIN = "/admin/"
ZONE_COOKIE = "zone"

# Scripts are files of this site, never part of a page, so text that got into a page as markup
# would still not run. The theme's Alpine evaluates its attributes, hence 'unsafe-eval', and it
# and simplebar set styles, hence 'unsafe-inline' for styles alone.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)


def viewer_time_zone(get_response: View) -> View:
    """Shows times, and reads dates, in the time zone that the browser names in a cookie
    (static/conversations/zone.js)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        zone = _zone(request.COOKIES.get(ZONE_COOKIE, ""))
        if zone is None or not request.path.startswith(ADMIN):
            return get_response(request)
        with timezone.override(zone):
            return get_response(request)

    return middleware


def content_security_policy(get_response: View) -> View:
    """Adds the header to every page of the admin.

    Not django-csp: it can leave addresses out but not name those that it is for, and it puts the
    policy together for every response, 0.09 ms for each of the API too. Django 6.0 brings a
    middleware of its own.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path.startswith(ADMIN):
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return middleware


def pages_from_replica(get_response: View) -> View:
    """Reads the pages of staff on a replica that has all that this member of staff wrote; only
    there where replicas are configured."""

    def middleware(request: HttpRequest) -> HttpResponse:
        page = request.path.startswith(ADMIN) and request.method in SAFE_METHODS
        if page and request.user.is_staff:
            replicas.allow_reads()
            replicas.reads_of(request.user.pk)
        return get_response(request)

    return middleware


class ConflictPage:
    """Answers 409 with a page for a conflict that no view has caught, such as one that a trigger
    of the database raises; it would be a 500 otherwise."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        refusal = refusal_of(error) if request.path.startswith(ADMIN) else None
        if not isinstance(refusal, Conflict):
            return None
        context = {
            **admin.site.each_context(request),
            "title": "This cannot be done",
            "detail": refusal.detail,
        }
        return TemplateResponse(request, "409.html", context, status=409)


@lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo | None:
    """Only a name from the zone database: anything else would be a path to a file."""
    name = unquote(name)
    return ZoneInfo(name) if name in _zone_names() else None


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())
