"""Keyset pages: each costs the same however deep, and no row is skipped or shown twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
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
class Page:
    """The rows of one page and the whole URLs of its neighbours, or None."""

    rows: list[Row]
    next: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page starts: beyond `at`, reading backward or forward; the start for None."""

    at: tuple[Any, ...] | None = None
    backward: bool = False


def page_of(request: Request, listing: Listing) -> Page:
    """The page of a listing at the request's `cursor`, of the request's `page_size`."""

    def fetch(position: Position, limit: int) -> list[Row]:
        at = {f"at_{place}": value for place, value in enumerate(position.at or ())}
        return _statement(listing, position, limit).fetch({**listing.values, **at})

    return cut_page(request, listing.scope, listing.order.columns, fetch)


def cut_page(
    request: Request,
    scope: str,
    columns: tuple[str, ...],
    fetch: Callable[[Position, int], list[Row]],
    *,
    both: bool = True,
) -> Page:
    """A page of whatever `fetch` finds at most `limit` rows of beyond a position.

    `columns` are those whose values make a row's place in the order. `both`: `fetch` can read
    backward too.
    """
    size = page_size_of(request)
    signer = signing.Signer(salt=f"page:{scope}")
    position = _position(request.query_params.get("cursor"), signer)
    rows = fetch(position, size + 1)
    more, rows = len(rows) > size, rows[:size]
    if position.backward:
        rows.reverse()

    def link(towards: str, row: Row) -> str:
        at = [_plain(row[column]) for column in columns]
        return _url(request, signer.sign_object([towards, *at]))

    after = rows and (more or position.backward)
    before = both and rows and (more if position.backward else position.at is not None)
    return Page(
        rows=rows,
        next=link(_FORWARD, rows[-1]) if after else None,
        previous=link(_BACKWARD, rows[0]) if before else None,
    )


def page_size_of(request: Request) -> int:
    text = request.query_params.get("page_size")
    if text is None:
        return DEFAULT_PAGE_SIZE
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE_SIZE):
        raise ValidationError({"page_size": [ErrorDetail(BAD_SIZE, "invalid")]})
    return int(text)


# Few: shapes x orders x directions x the page sizes that clients use (at most MAX_PAGE_SIZE).
_statements: dict[tuple[Any, ...], CompiledSelect] = {}


def _statement(listing: Listing, position: Position, limit: int) -> CompiledSelect:
    if listing.shape is None:
        return _prepare(listing, position, limit)
    key = (listing.shape, listing.order, position.at is not None, position.backward, limit)
    found = _statements.get(key)
    if found is None:
        found = _statements[key] = _prepare(listing, position, limit)
    return found


def _prepare(listing: Listing, position: Position, limit: int) -> CompiledSelect:
    queryset = listing.build()
    if position.at is not None:
        queryset = queryset.filter(listing.order.beyond(reverse=position.backward))
    ordered = queryset.order_by(*listing.order.by(reverse=position.backward))
    return CompiledSelect(ordered[:limit], listing.columns)


def _position(cursor: str | None, signer: signing.Signer) -> Position:
    if cursor is None:
        return Position()
    try:
        direction, *at = signer.unsign_object(cursor)
    except Exception:  # whatever decoding makes of a tampered text
        raise ValidationError({"cursor": [ErrorDetail(BAD_CURSOR, "invalid")]}) from None
    return Position(tuple(at), backward=direction == _BACKWARD)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def _url(request: Request, cursor: str) -> str:
    query = {name: values for name, values in request.query_params.lists() if name != "cursor"}
    path = request._request.build_absolute_uri(request.path)
    return f"{path}?{urlencode(query | {'cursor': [cursor]}, doseq=True)}"
