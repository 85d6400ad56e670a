"""Error pages for browsers, outside the API, in the theme of the admin."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme

from conversations.api.middleware import current_request_id


def error_page(request: HttpRequest, status: int, title: str, detail: str = "") -> HttpResponse:
    """The template `<status>.html` with the sidebar, for those who are signed in."""
    site = admin.site.each_context(request)
    context = {
        **site,
        "is_nav_sidebar_enabled": site["has_permission"],
        "title": title,
        "detail": detail,
        "back_url": _back_url(request),
    }
    return render(request, f"{status}.html", context, status=status)


def static_page(status: int, title: str, detail: str) -> HttpResponse:
    """A page that needs neither database nor session, which may be what failed."""
    context = {"title": title, "detail": detail, "request_id": current_request_id()}
    return HttpResponse(render_to_string("500.html", context), status=status)


def _back_url(request: HttpRequest) -> str | None:
    """The Referer, where it is another page of this site."""
    referer = request.headers.get("Referer", "")
    if referer == request.build_absolute_uri():
        return None
    ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, request.is_secure())
    return referer if ours else None
