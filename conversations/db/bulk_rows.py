"""Bulk inserts without model instances.

The INSERT is built once for each model from its columns; values are passed to psycopg2 unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def insert_new_rows(
    model: type[models.Model], rows: Sequence[Row], *, returning: Sequence[str] = ("true",)
) -> list[tuple[Any, ...]]:
    """Insert rows with ON CONFLICT DO NOTHING.

    A row maps every column of the model to a Python value. Returns the values of the SQL
    expressions `returning` for each inserted row; rows whose unique keys exist are skipped.
    """
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
