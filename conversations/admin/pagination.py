"""Pages of lists too long to be counted."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from conversations.admin.lookups import DeclaredChangeList

BOUND = 10_000


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
        """Applying a filter on page 7 keeps the 7: then the last page there is."""
        return super().validate_number(min(int(number), self.num_pages))


class BoundedChangeList(DeclaredChangeList):
    """A list whose header leaves the count to the paginator, which knows how exact it is."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count
        self.page_num = min(self.page_num, self.paginator.num_pages)


def _estimate(model: type[Model], *, at_least: int) -> int:
    """PostgreSQL's own idea of the table's size, from its last ANALYZE, to two digits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [connection.ops.quote_name(model._meta.db_table)],
        )
        rows = max(int(cursor.fetchone()[0]), at_least)
    return round(rows, 2 - len(str(rows)))
