"""QuerySets compiled to SQL once and run many times, with slots for the values that change.

Django needs more time to compile such a QuerySet than PostgreSQL needs to run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg2.extensions
from django.db import models
from django.db.models.expressions import RawSQL

from conversations.db.bulk_rows import Row, json_columns_of
from conversations.db.replicas import read_connection

_UUID_OID = 2950
# Read as str, since the rows are serialised to JSON: saves a UUID object for each value.
_UUID_AS_TEXT = psycopg2.extensions.new_type((_UUID_OID,), "UUID_TEXT", psycopg2.extensions.UNICODE)


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str


def slot(name: str) -> RawSQL:
    """A placeholder in a QuerySet for a value given to `fetch`."""
    return RawSQL("%s", (_Slot(name),))


def _filled(parameters: Sequence[Any], values: Mapping[str, Any]) -> list[Any]:
    return [values[given.name] if isinstance(given, _Slot) else given for given in parameters]


class CompiledSelect:
    """A SELECT of these columns, compiled from a QuerySet with slots."""

    def __init__(self, queryset: models.QuerySet[Any], columns: Sequence[str]) -> None:
        self._sql, self._parameters = queryset.values_list(*columns).query.sql_with_params()
        self._columns = tuple(columns)
        model: type[models.Model] = queryset.model
        as_json = json_columns_of(model)
        self._json_positions = [i for i, column in enumerate(columns) if column in as_json]

    def fetch(self, values: Mapping[str, Any]) -> list[Row]:
        """Run with `values` for the slots. Each row maps columns to values ready for orjson: JSON
        columns as `orjson.Fragment`, UUIDs as str."""
        with read_connection().cursor() as cursor:
            psycopg2.extensions.register_type(_UUID_AS_TEXT, cursor.cursor)
            cursor.execute(self._sql, _filled(self._parameters, values))
            rows = cursor.fetchall()
        return [self._row(row) for row in rows]

    def _row(self, row: tuple[Any, ...]) -> Row:
        values = list(row)
        for position in self._json_positions:
            if values[position] is not None:
                values[position] = orjson.Fragment(values[position])
        return dict(zip(self._columns, values, strict=True))
