"""The page for a conflict that no view expected, such as what the database refuses."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from conversations.admin.zone import ADMIN
from conversations.services import Conflict, refusal_of

TEMPLATE = "409.html"


class ConflictPage:
    """Answers 409 with the refusal's text, where the server would answer 500."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
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
        return TemplateResponse(request, TEMPLATE, context, status=409)
