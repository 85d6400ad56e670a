"""Keyset pagination: each page costs the same however deep, no row is skipped or repeated."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.core import signing
from django.db.models import Q, QuerySet
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from conversations.db.bulk_rows import Row
from conversations.db.compiled import CompiledSelect, slot

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
BAD_CURSOR = "Not a cursor of this list: take `next` or `previous` as they are."
BAD_SIZE = f"A whole number from 1 to {MAX_PAGE_SIZE}."

# Of a page: `next`, `previous` (URLs) and `next_cursor`, `previous_cursor`, each None at an end.
Links = dict[str, str | None]
NO_LINKS: Links = dict.fromkeys(("next", "previous", "next_cursor", "previous_cursor"))
_FORWARD, _BACKWARD = "f", "b"


@dataclass(frozen=True, slots=True)
class Order:
    """A total order: columns that end in a unique one, all descending or all ascending."""

    columns: tuple[str, ...]
    descending: bool

    def by(self, *, reverse: bool) -> list[str]:
        sign = "-" if self.descending != reverse else ""
        return [sign + column for column in self.columns]

    def beyond(self, *, reverse: bool) -> Q:
        """Rows after a position whose values fill the slots at_0, at_1, …

        The first column alone bounds the index scan; the others sort out its ties.
        """
        step = "lt" if self.descending != reverse else "gt"
        condition = Q()
        for place, column in reversed(list(enumerate(self.columns))):
            at = slot(f"at_{place}")
            tied = Q(**{column: at}) & condition if condition else Q()
            condition = Q(**{f"{column}__{step}": at}) | tied
        return Q(**{f"{self.columns[0]}__{step}e": slot("at_0")}) & condition


@dataclass(frozen=True, slots=True)
class Listing:
    """What is paged: rows of `columns` from what `build` returns, in `order`.

    `scope` says which list this is (whose, filtered how): a cursor made for another one is
    refused. `values` fill the slots that `build` left. `shape`, where given, names the text
    of the statement: two listings of one shape differ in `values` alone, and share it.
    """

    build: Callable[[], QuerySet[Any]]
    columns: tuple[str, ...]
    order: Order
    scope: str
    values: Mapping[str, Any] = field(default_factory=dict)
    shape: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts: beyond `at`, reading backward or forward; the start for None."""

    at: tuple[Any, ...] | None = None
    backward: bool = False


class Cut(NamedTuple):
    """What is shown of a list; the places of its first and its last row in the order of the list,
    none where it is empty; and whether there are more rows beyond, as it was read."""

    shown: Any
    ends: tuple[Sequence[Any], Sequence[Any]] | None
    more: bool


def page_of(request: Request, listing: Listing) -> tuple[list[Row], Links]:
    """The rows of a listing at the request's `cursor`, of the request's `page_size`, and its
    neighbours: their absolute URLs, and their cursors alone."""

    def fetch(cursor: Cursor, limit: int) -> list[Row]:
        at = {f"at_{place}": value for place, value in enumerate(cursor.at or ())}
        return _statement(listing, cursor, limit).fetch({**listing.values, **at})

    return cut_page(request, listing.scope, listing.order.columns, fetch)


def cut_page(
    request: Request,
    scope: str,
    columns: tuple[str, ...],
    fetch: Callable[[Cursor, int], list[Row]],
    *,
    both: bool = True,
) -> tuple[list[Row], Links]:
    """The same for what `fetch` finds: at most `limit` rows beyond a cursor.

    `columns` are those whose values make a row's place in the order. `both`: `fetch` can read
    backward too.
    """

    def cut(cursor: Cursor, size: int) -> Cut:
        rows = fetch(cursor, size + 1)
        more, rows = len(rows) > size, rows[:size]
        if cursor.backward:
            rows.reverse()
        return Cut(rows, (place_of(rows[0]), place_of(rows[-1])) if rows else None, more)

    def place_of(row: Row) -> list[Any]:
        return [row[column] for column in columns]

    return page_at(request, scope, cut, both=both)


def page_at(
    request: Request, scope: str, read: Callable[[Cursor, int], Cut], *, both: bool = True
) -> tuple[Any, Links]:
    """The same for what `read` cuts out of a list: so many rows beyond a cursor."""
    size, signer = page_size_of(request), signing.Signer(salt=f"page:{scope}")
    cursor = _cursor_of(request.query_params.get("cursor"), signer)
    shown, ends, more = read(cursor, size)
    after = more or cursor.backward
    before = both and (more if cursor.backward else cursor.at is not None)
    cursors = {
        "next": _signed(signer, _FORWARD, ends[1]) if ends and after else None,
        "previous": _signed(signer, _BACKWARD, ends[0]) if ends and before else None,
    }
    urls = {
        name: url_with(request, "cursor", found) if found else None
        for name, found in cursors.items()
    }
    return shown, urls | {f"{name}_cursor": found for name, found in cursors.items()}


def _signed(signer: signing.Signer, towards: str, place: Sequence[Any]) -> str:
    return signer.sign_object([towards, *map(_plain, place)])


def page_size_of(request: Request) -> int:
    text = request.query_params.get("page_size")
    if text is None:
        return DEFAULT_PAGE_SIZE
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE_SIZE):
        raise ValidationError({"page_size": [ErrorDetail(BAD_SIZE, "invalid")]})
    return int(text)


# Few: shapes x orders x directions x the page sizes that clients use (at most MAX_PAGE_SIZE).
_statements: dict[tuple[Any, ...], CompiledSelect] = {}


def _statement(listing: Listing, cursor: Cursor, limit: int) -> CompiledSelect:
    if listing.shape is None:
        return _prepare(listing, cursor, limit)
    key = (listing.shape, listing.order, cursor.at is not None, cursor.backward, limit)
    found = _statements.get(key)
    if found is None:
        found = _statements[key] = _prepare(listing, cursor, limit)
    return found


def _prepare(listing: Listing, cursor: Cursor, limit: int) -> CompiledSelect:
    queryset = listing.build()
    if cursor.at is not None:
        queryset = queryset.filter(listing.order.beyond(reverse=cursor.backward))
    ordered = queryset.order_by(*listing.order.by(reverse=cursor.backward))
    return CompiledSelect(ordered[:limit], listing.columns)


def _cursor_of(text: str | None, signer: signing.Signer) -> Cursor:
    if text is None:
        return Cursor()
    try:
        direction, *at = signer.unsign_object(text)
    except Exception:  # whatever decoding makes of a tampered text
        raise ValidationError({"cursor": [ErrorDetail(BAD_CURSOR, "invalid")]}) from None
    return Cursor(tuple(at), backward=direction == _BACKWARD)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def url_with(request: Request, name: str, value: str) -> str:
    """The absolute URL of this request with another value of this query parameter."""
    query = {key: values for key, values in request.query_params.lists() if key != name}
    path = request._request.build_absolute_uri(request.path)
    return f"{path}?{urlencode(query | {name: [value]}, doseq=True)}"
