"""What the address of a list may say: its declared filters, and nothing else of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest
from unfold.views import ChangeList

from conversations.admin.filters import FormFilter


class DeclaredLookups(admin.ModelAdmin):
    """Filters by `list_filter` alone, all of them of this project.

    Django's own lists filter by any column that an address names, and by relations to others:
    whoever sees titles alone could guess, letter by letter, what was said.
    """

    def declared_parameters(self) -> set[str]:
        kinds = cast(Sequence[type[FormFilter]], self.list_filter)
        return {name for kind in kinds for name in kind.fields()}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.declared_parameters()


class DeclaredChangeList(ChangeList):
    """Takes no notice of parameters that no filter declares."""

    model_admin: DeclaredLookups

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        given: dict[str, Any] = super().get_filters_params(params)
        declared = self.model_admin.declared_parameters()
        return {name: values for name, values in given.items() if name in declared}
