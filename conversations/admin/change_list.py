"""The page of a list: its declared filters, a bounded count, chips and saved views."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    QueryDict,
)
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.views import ChangeList

from conversations.admin.filters import Filter, FilterForm
from conversations.models import SavedView
from conversations.services import ServiceError
from conversations.services.saved_views import delete_saved_view, save_view

BOUND = 10_000
_SELECT = (
    '<input type="checkbox" class="action-select" name="_selected_action" value="{}"'
    ' aria-label="Select row">'
)


class BoundedPaginator(Paginator):
    """Counts and offers at most `BOUND` rows, so that the last page answers like the first.

    What lies beyond is reached by filters or by sorting the other way round.
    """

    template_name = "admin/conversations/pagination.html"
    bound = BOUND

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.bound)

    @property
    def is_bounded(self) -> bool:
        return self._counted > self.bound

    @cached_property
    def said_count(self) -> str:
        """How many rows there are, as far as that can be said cheaply."""
        if not self.is_bounded:
            return f"{self.count:,}"
        if self._rows.query.where:
            return f"more than {self.bound:,}"
        return f"about {_estimate(self._rows.model, at_least=self._counted):,}"

    @property
    def said_bound(self) -> str:
        return f"{self.bound:,}"

    @cached_property
    def _counted(self) -> int:
        """The rows, or `bound` + 1 when there are more."""
        return self._rows.order_by()[: self.bound + 1].count()

    @property
    def _rows(self) -> QuerySet[Any]:
        return cast(QuerySet[Any], self.object_list)

    def validate_number(self, number: Any) -> int:
        """Page 7 of a list that has become shorter is its last page."""
        return super().validate_number(min(int(number), self.num_pages))


class BoundedChangeList(ChangeList):
    """Takes no notice of parameters that no filter declares, and leaves the count to the
    paginator, which knows how exact it is."""

    model_admin: ListAdmin

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        given: dict[str, Any] = super().get_filters_params(params)
        declared = self.model_admin.declared_parameters()
        return {name: values for name, values in given.items() if name in declared}

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count
        self.page_num = min(self.page_num, self.paginator.num_pages)
        self.user = cast(User, request.user)
        self.query_string = self._query_string()
        self.saved_views_url = self.model_admin.url_of("save_view")

    def _query_string(self) -> str:
        """The address of this list without its page: the same for the same list."""
        query = QueryDict(mutable=True)
        for name, _, _ in self._chosen():
            query[name] = self.params[name]
        if order := self.params.get(ORDER_VAR):
            query[ORDER_VAR] = order
        return query.urlencode()

    def _chosen(self) -> Iterator[tuple[str, str, str]]:
        """Parameter, label and value of the search and of each active filter."""
        if self.query.strip():
            yield SEARCH_VAR, "search", self.query
        for spec in self.filter_specs:
            if isinstance(spec, FilterForm):
                yield from spec.chosen()

    def chips(self) -> list[tuple[str, str, str]]:
        """Label and value of what narrows the list, and the address of the list without it."""
        return [(label, value, self._without(name)) for name, label, value in self._chosen()]

    def _without(self, name: str) -> str:
        query = QueryDict(self.query_string, mutable=True)
        query.pop(name, None)
        return f"?{query.urlencode()}"

    def without_filters(self) -> str:
        """The address of all rows, in the same order."""
        order = self.params.get(ORDER_VAR)
        return f"?{urlencode({ORDER_VAR: order})}" if order else "?"

    @cached_property
    def saved_views(self) -> list[SavedView]:
        """This person's, of this list, by name."""
        theirs = SavedView.objects.filter(user=self.user, page=self.opts.label_lower)
        return list(theirs.order_by("name"))

    def current_view(self) -> SavedView | None:
        found = (view for view in self.saved_views if view.query == self.query_string)
        return next(found, None)


class ListAdmin(admin.ModelAdmin):
    """A list with declared filters alone.

    Django's own lists filter by any column that an address names, and by relations to others:
    whoever sees titles alone could guess, letter by letter, what was said.
    """

    change_list_template = "admin/conversations/change_list.html"
    list_filter_submit = True
    filters: Sequence[Filter] = ()
    paginator = BoundedPaginator
    # Neither the table nor a filter's values are ever counted.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_disable_select_all = True

    class Media:
        css = {"all": ["conversations/admin.css", "conversations/list.css"]}
        js = ["conversations/list.js", "conversations/zone.js"]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [partial(FilterForm, self.filters)] if self.filters else []

    def declared_parameters(self) -> set[str]:
        return {name for one in self.filters for name in one.fields}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.declared_parameters()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return BoundedChangeList

    def get_urls(self) -> list[URLPattern]:
        pages = [
            self.page("known-values/", "known_values", self.known_values),
            self.page("saved-views/", "save_view", self.save_view),
            self.page("saved-views/<uuid:view_id>/delete/", "delete_view", self.delete_saved_view),
        ]
        return [*pages, *super().get_urls()]

    def page(self, route: str, name: str, view: Callable[..., HttpResponseBase]) -> URLPattern:
        """A page of this list, for staff who may see the list."""

        def checked(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise PermissionDenied
            return view(request, **arguments)

        full_name = f"{self.opts.app_label}_{self.opts.model_name}_{name}"
        return path(route, self.admin_site.admin_view(checked), name=full_name)

    def url_of(self, name: str) -> str:
        """The address of one of these pages, or of `changelist`."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}")

    def known_values(self, request: HttpRequest) -> HttpResponse:
        """`{"values": […]}`: what the text field `filter` offers that begins with `q`."""
        known = {name: values for one in self.filters for name, values in one.known.items()}
        values = known.get(request.GET.get("filter", ""))
        if values is None:
            raise Http404("There is no such filter.")
        begin = request.GET.get("q", "").replace("\0", "")
        return JsonResponse({"values": values(begin)})

    @method_decorator(require_POST)
    def save_view(self, request: HttpRequest) -> HttpResponse:
        """Keep the list `query` under `name`, and go to it."""
        query = QueryDict(request.POST.get("query", ""), mutable=True)
        query.pop(PAGE_VAR, None)
        try:
            save_view(
                user=cast(User, request.user),
                page=self.opts.label_lower,
                name=request.POST.get("name", ""),
                query=query.urlencode(),
            )
        except ServiceError as refusal:
            messages.error(request, refusal.detail)
        return HttpResponseRedirect(f"{self.url_of('changelist')}?{query.urlencode()}")

    @method_decorator(require_POST)
    def delete_saved_view(self, request: HttpRequest, view_id: uuid.UUID) -> HttpResponse:
        delete_saved_view(user=cast(User, request.user), view_id=view_id)
        messages.success(request, "View deleted.")
        return HttpResponseRedirect(self.url_of("changelist"))

    # The theme's has half a kilobyte of classes in each row.
    def action_checkbox(self, row: Model) -> SafeString:
        return format_html(_SELECT, row.pk)


def _estimate(model: type[Model], *, at_least: int) -> int:
    """PostgreSQL's own idea of the table's size, from its last ANALYZE, to two digits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [connection.ops.quote_name(model._meta.db_table)],
        )
        rows = max(int(cursor.fetchone()[0]), at_least)
    return round(rows, 2 - len(str(rows)))
