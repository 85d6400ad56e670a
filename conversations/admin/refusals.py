"""What a service refuses, said on a page instead of failing it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from conversations.admin.access_reasons import ask_again
from conversations.services import ReasonRequired, ServiceError


class SaysRefusals(admin.ModelAdmin):
    """Deleting one row, or acting on the chosen ones, may be refused: nothing is done then.

    Where only a reason is missing, the page asks for it and then carries on.
    """

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except ReasonRequired:
            return ask_again(request, self)
        except ServiceError as refusal:
            self.message_user(request, refusal.detail, messages.ERROR)
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    # The stubs are of a later Django, which asks for one more argument.
    def response_action(  # type: ignore[override]
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        try:
            return super().response_action(request, queryset)
        except ReasonRequired:
            return ask_again(request, self)
        except ServiceError as refusal:
            self.message_user(request, refusal.detail, messages.ERROR)
            return None
