"""Statements whose text is compiled once: the ORM says what, and is asked only the first time.

Compiling a QuerySet costs more than PostgreSQL needs to answer it. A query is therefore built
with slots where its values go, and the text is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg2.extensions
from django.db import connection, models
from django.db.models.expressions import RawSQL

from conversations.db.bulk_rows import Row, json_columns_of

_UUID_OID = 2950
# Answers hold UUIDs as text: no object is built for each.
_UUID_AS_TEXT = psycopg2.extensions.new_type((_UUID_OID,), "UUID_TEXT", psycopg2.extensions.UNICODE)


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str


def slot(name: str) -> RawSQL:
    """Stands for a value that is given each time the statement runs."""
    return RawSQL("%s", (_Slot(name),))


def _filled(parameters: Sequence[Any], values: Mapping[str, Any]) -> list[Any]:
    return [values[given.name] if isinstance(given, _Slot) else given for given in parameters]


class Prepared:
    """A SELECT of model columns, compiled once from a QuerySet that holds slots."""

    def __init__(self, queryset: models.QuerySet[Any], columns: Sequence[str]) -> None:
        self._sql, self._parameters = queryset.values_list(*columns).query.sql_with_params()
        self._columns = tuple(columns)
        model: type[models.Model] = queryset.model
        as_json = json_columns_of(model)
        self._json_places = [i for i, column in enumerate(columns) if column in as_json]

    def fetch(self, values: Mapping[str, Any]) -> list[Row]:
        """The rows, ready to be sent: JSON columns as JSON text, UUIDs as text."""
        with connection.cursor() as cursor:
            psycopg2.extensions.register_type(_UUID_AS_TEXT, cursor.cursor)
            cursor.execute(self._sql, _filled(self._parameters, values))
            found = cursor.fetchall()
        return [self._row(row) for row in found]

    def _row(self, row: tuple[Any, ...]) -> Row:
        values = list(row)
        for place in self._json_places:
            if values[place] is not None:
                values[place] = orjson.Fragment(values[place])
        return dict(zip(self._columns, values, strict=True))


class PreparedCount:
    """How many rows a QuerySet with slots finds, compiled once."""

    def __init__(self, queryset: models.QuerySet[Any]) -> None:
        counted = queryset.order_by().values_list(models.Value(1))
        inner, self._parameters = counted.query.sql_with_params()
        self._sql = f"SELECT COUNT(*) FROM ({inner}) counted"  # noqa: S608 (compiled above)

    def fetch(self, values: Mapping[str, Any]) -> int:
        with connection.cursor() as cursor:
            cursor.execute(self._sql, _filled(self._parameters, values))
            return int(cursor.fetchone()[0])
