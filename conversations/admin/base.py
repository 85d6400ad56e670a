"""The base of every list of records that staff find and read and nobody edits."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import ModelAdmin

from conversations.admin.access_reasons import ask_again
from conversations.admin.change_list import ListAdmin
from conversations.services import ReasonRequired, ServiceError


class ReadOnlyAdmin(ListAdmin, ModelAdmin):  # type: ignore[misc]
    """A long list, newest first, with typed filters; no row is added or changed by anyone.

    A search term that is a UUID means the row with that id, whatever its texts say. Deleting a
    row, or acting on the selected ones, may be refused by a service: nothing is done then, and the
    page says why or, where only a reason is missing, asks for it and then carries on.
    """

    list_fullwidth = True
    list_per_page = 50
    id_lookup: str | None = None
    # What the pages count; by default the rows' plural.
    rows_name = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        wanted = uuid_in(search_term)
        if self.id_lookup and wanted:
            return queryset.filter(**{self.id_lookup: wanted}), False
        return super().get_search_results(request, queryset, search_term)

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


def uuid_in(text: str) -> uuid.UUID | None:
    """The id that a search term is, or None."""
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None
