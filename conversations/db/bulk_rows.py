"""Rows inserted without building a model object for each.

The statement is the same text every time: it is built once from the model's own columns, and
the values go straight to the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson
from django.db import connection, models
from django.db.models import JSONField

Row = dict[str, Any]


@cache
def columns_of(model: type[models.Model]) -> tuple[str, ...]:
    """The column names of a model, in its order."""
    return tuple(str(field.column) for field in model._meta.concrete_fields if field.column)


@cache
def json_columns_of(model: type[models.Model]) -> frozenset[str]:
    return frozenset(
        str(field.column) for field in model._meta.concrete_fields if isinstance(field, JSONField)
    )


def insert_new_rows(
    model: type[models.Model], rows: Sequence[Row], *, returning: str = "true"
) -> list[Any]:
    """Insert the rows whose primary key is not there yet; the SQL `returning` of each of those.

    A row maps every column to a Python value.
    """
    columns, as_json = columns_of(model), json_columns_of(model)
    values = [
        _as_jsonb(row[column]) if column in as_json else row[column]
        for row in rows
        for column in columns
    ]
    head, place, tail = _insert_statement(model)
    with connection.cursor() as cursor:
        cursor.execute(head + ", ".join([place] * len(rows)) + tail + returning, values)
        return [value for (value,) in cursor.fetchall()]


@cache
def _insert_statement(model: type[models.Model]) -> tuple[str, str, str]:
    """The text before the rows, of one row, and after them."""
    quote = connection.ops.quote_name
    columns = columns_of(model)
    key = ", ".join(quote(str(field.column)) for field in model._meta.pk_fields)
    names = ", ".join(map(quote, columns))
    return (  # no value comes from outside
        f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ",  # noqa: S608
        f"({', '.join(['%s'] * len(columns))})",
        f" ON CONFLICT ({key}) DO NOTHING RETURNING ",
    )


def _as_jsonb(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
