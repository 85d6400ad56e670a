"""Refuses what another site makes a logged-in browser ask by GET, where no CSRF token can be."""

from __future__ import annotations

from django.conf import settings
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

CROSS_SITE = "Only this site's own pages may ask for a logged-in user. Send a token instead."


def refuse_cross_site(request: Request) -> None:
    """PermissionDenied unless the browser itself says that a page of this site asks.

    Sec-Fetch-Site and Origin are set by the browser; no page can change them. `none` is an
    address that was typed or a link in a mail, a Referer can be left out by whoever links, and
    a request without any of them may come from a page that hides itself: they need a token.
    """
    if not _is_of_this_site(request):
        raise PermissionDenied(CROSS_SITE)


def _is_of_this_site(request: Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" and _is_a_script(request)
    # Browsers send no Sec-Fetch-Site over plain HTTP.
    return origin is not None and _origin_of(request) == origin


def _is_a_script(request: Request) -> bool:
    """Not a link or an image in a page of this site, which may show what strangers wrote."""
    return request.headers.get("Sec-Fetch-Dest", "empty") == "empty"


def _origin_of(request: Request) -> str:
    return f"{request.scheme}://{request.get_host()}"
