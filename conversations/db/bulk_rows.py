"""Bulk inserts without model instances, by INSERT or by COPY.

The statement is built once for each model from its columns. An INSERT gets values as psycopg2 takes
them, a COPY as text.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import orjson
from django.db import connection, models
from django.db.models import JSONField
from psycopg2.extensions import AsIs

Row = dict[str, Any]

# A value for `insert_new_rows`: the time of the statement by the clock of the database.
DATABASE_TIME = AsIs("statement_timestamp()")


@cache
def columns_of(model: type[models.Model]) -> tuple[str, ...]:
    """The column names of a model, in the order of its fields."""
    return tuple(str(field.column) for field in model._meta.concrete_fields if field.column)


@cache
def json_columns_of(model: type[models.Model]) -> frozenset[str]:
    return frozenset(
        str(field.column) for field in model._meta.concrete_fields if isinstance(field, JSONField)
    )


def row_of(instance: models.Model) -> Row:
    """Every column of a model's instance, stored or not."""
    return {column: getattr(instance, column) for column in columns_of(type(instance))}


def insert_new_rows(
    model: type[models.Model], rows: Sequence[Row], *, returning: Sequence[str] = ("true",)
) -> list[tuple[Any, ...]]:
    """Insert rows with ON CONFLICT DO NOTHING.

    The rows are VALUES, which a cluster sends to their node; those of `bulk_create`, an UNNEST,
    are made on its coordinator first.

    A row maps every column of the model to a Python value. Returns the values of the SQL
    expressions `returning` for each inserted row; rows whose unique keys exist are skipped.
    """
    if not rows:
        return []
    columns, as_json = columns_of(model), json_columns_of(model)
    values = [
        _as_jsonb(row[column]) if column in as_json else row[column]
        for row in rows
        for column in columns
    ]
    head, placeholders, tail = _insert_statement(model)
    with connection.cursor() as cursor:
        given = ", ".join([placeholders] * len(rows))
        cursor.execute(head + given + tail + ", ".join(returning), values)
        return list(cursor.fetchall())


@cache
def _insert_statement(model: type[models.Model]) -> tuple[str, str, str]:
    """The SQL before the rows, the placeholders of one row, and the SQL after the rows."""
    quote = connection.ops.quote_name
    columns = columns_of(model)
    names = ", ".join(map(quote, columns))
    return (  # no value comes from outside
        f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ",  # noqa: S608
        f"({', '.join(['%s'] * len(columns))})",
        # No conflict target: the primary key differs on a sharded database.
        " ON CONFLICT DO NOTHING RETURNING ",
    )


def _as_jsonb(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def copy_rows(model: type[models.Model], rows: Iterable[Row]) -> None:
    """Insert rows by COPY: all or none, a conflict is an IntegrityError.

    A row maps every column of the model to a Python value. In a transaction.
    """
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns_of(model)))
    statement = f"COPY {quote(model._meta.db_table)} ({names}) FROM STDIN"
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.copy_expert(statement, _Text(model, rows))


class _Text:
    """A file for psycopg2: the rows in the text format of COPY, one at each read.

    psycopg2 takes more than it has asked for: a row is never in memory twice.
    """

    def __init__(self, model: type[models.Model], rows: Iterable[Row]) -> None:
        as_json = json_columns_of(model)
        self._columns = [
            (column, _json_field if column in as_json else _field) for column in columns_of(model)
        ]
        self._lines = self._lines_of(rows)

    def read(self, size: int) -> str:
        return next(self._lines, "")

    def _lines_of(self, rows: Iterable[Row]) -> Iterator[str]:
        for row in rows:
            yield "\t".join([field(row[column]) for column, field in self._columns]) + "\n"


def _field(value: Any) -> str:
    return _FIELDS.get(type(value), _text_field)(value)  # a choice is a text too


def _json_field(value: object) -> str:
    # JSON has no line breaks or tabs but within strings, where they are escaped.
    return "\\N" if value is None else orjson.dumps(value).decode().replace("\\", "\\\\")


def _text_field(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _array_field(items: list[str]) -> str:
    quoted = (item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return _text_field("{" + ",".join(f'"{item}"' for item in quoted) + "}")


_FIELDS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "\\N",
    str: _text_field,
    int: str,
    bool: lambda value: "t" if value else "f",
    uuid.UUID: str,
    datetime: datetime.isoformat,
    Decimal: str,
    list: _array_field,
}
