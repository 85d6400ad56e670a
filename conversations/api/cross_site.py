"""Refuses what another site makes a logged-in browser ask by GET, where no CSRF token can be."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

CROSS_SITE = "Another site may not ask on behalf of a logged-in user. Send a token instead."


def refuse_cross_site(request: Request) -> None:
    """PermissionDenied unless the browser says that this site's own page asks.

    Browsers send Sec-Fetch-Site over HTTPS and to localhost; elsewhere Origin or Referer tell.
    A request that says nothing is refused: it may come from a page that hides itself.
    """
    if not (_trusted_origin(request) or _same_site(request)):
        raise PermissionDenied(CROSS_SITE)


def _same_site(request: Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    source = request.headers.get("Origin") or request.headers.get("Referer") or ""
    return bool(source) and urlsplit(source).netloc == request.get_host()


def _trusted_origin(request: Request) -> bool:
    origin = request.headers.get("Origin")
    return origin is not None and origin in settings.CSRF_TRUSTED_ORIGINS
