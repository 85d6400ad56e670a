"""The base of every list of records that staff find and read and nobody edits."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from conversations.admin.change_list import ListAdmin
from conversations.admin.refusals import SaysRefusals


class ReadOnlyAdmin(SaysRefusals, ListAdmin, ModelAdmin):  # type: ignore[misc]
    """A long list, newest first, with typed filters; no row is added or changed by anyone.

    A search term that is a UUID means the row with that id, whatever its texts say.
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


def uuid_in(text: str) -> uuid.UUID | None:
    """The id that a text is, if it is one."""
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None
