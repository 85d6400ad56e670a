"""Whole conversations as JSON objects, written by the database: many in one statement.

These are the bytes of `formats/writers/jsonl.py`, for conversations with one line of messages and
without a running answer. For a message Python would need ten times as long as PostgreSQL.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CharField, DateTimeField, DecimalField, TextField, UUIDField

from conversations.db.copying import copied_text
from conversations.formats.writers.jsonl import CHAT_FIELDS, MESSAGE_FIELDS
from conversations.models import Conversation, Message, Review

_REVIEW_COLUMNS = {
    "reviewer": "reviewer_name",
    **{name: name for name in ("score", "labels", "comment", "created_at", "updated_at")},
}
# Checked to be names, in which nothing is escaped.
_NAMES = frozenset({"role", "status"})
# In JSON there is no such text elsewhere: a quote in a string is escaped.
_FIRST = ('"messages": [, ', '"messages": [')
# Nor has JSON a control character.
_END = "\x1e"


class Line(NamedTuple):
    """A conversation to write: up to which sequence, as whose, and whether with reviews."""

    owner_id: int
    id: uuid.UUID
    last_sequence: int
    owner: str
    has_reviews: bool


def objects_of(conversations: Sequence[Line], *, end: str) -> str:
    """Their JSON objects in the given order, each followed by `end`; deleted ones are left out.

    One statement; all of their messages are in memory.
    """
    arrays: list[list[Any]] = [list(column) for column in zip(*conversations, strict=True)]
    text = copied_text(_statement(), [*arrays, f"]}}{_END}"])
    return text.replace(*_FIRST).replace(_END, end)


@cache
def _statement() -> str:
    """`k` are the conversations; for each a row that begins it, one for each message, and its end.

    Rows come in this order, without a sort of all texts: what is LATERAL leaves the planner nothing
    but a nested loop (OFFSET 0 keeps it from making a join of it), and UNION ALL keeps the order.
    """
    chat = _columns(Conversation, _same(CHAT_FIELDS), "c", owner="to_json(k.owner)::text")
    review = _written("{", _columns(Review, _REVIEW_COLUMNS, "r"), "}")
    # No value comes from outside: names are those of fields.
    reviews = f"""CASE WHEN k.has_reviews THEN COALESCE((
        SELECT string_agg({review}, ', ' ORDER BY r.created_at, r.id) FROM conversations_review r
        WHERE r.user_id = k.owner_id AND r.conversation_id = k.id AND r.message_id = m.id
    ), '') ELSE '' END"""  # noqa: S608
    message = _columns(Message, _same(MESSAGE_FIELDS), "m")
    return f"""
        SELECT piece.text
        FROM unnest(%s::integer[], %s::uuid[], %s::integer[], %s::text[], %s::boolean[])
            AS k (owner_id, id, last_sequence, owner, has_reviews)
        CROSS JOIN LATERAL (
            SELECT * FROM conversations_conversation
            WHERE user_id = k.owner_id AND id = k.id OFFSET 0) AS c
        CROSS JOIN LATERAL (
            SELECT {_written("{", chat, ', "messages": [')} AS text
            UNION ALL
            (SELECT {_written(", {", message, ', "reviews": [%%s]}', reviews)}
            FROM conversations_message m
            WHERE m.user_id = k.owner_id AND m.conversation_id = k.id
                AND m.sequence <= k.last_sequence
            ORDER BY m.sequence)
            UNION ALL
            SELECT %s
        ) AS piece"""  # noqa: S608


def _same(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


def _columns(
    model: type[models.Model], columns: Mapping[str, str], table: str, **given: str
) -> dict[str, str]:
    """SQL for the value of each as JSON, where it is not given."""
    return {
        name: given.get(name) or _value(model._meta.get_field(column), f"{table}.{column}")
        for name, column in columns.items()
    }


def _written(before: str, values: Mapping[str, str], after: str, *more: str) -> str:
    """A call of `format`, which of texts takes half as long as `row_to_json`."""
    # A % is one for psycopg2 where it is doubled.
    pairs = ", ".join(f'"{name}": %%s' for name in values)
    return f"format('{before}{pairs}{after}', {', '.join([*values.values(), *more])})"


def _value(field: Any, column: str) -> str:
    """SQL for the value of a column as JSON."""
    text = _text(field, column)
    return f"COALESCE({text}, 'null')" if field.null else text


def _text(field: Any, column: str) -> str:
    if field.name in _NAMES or isinstance(field, UUIDField):
        return f"""'"' || {column} || '"'"""
    if isinstance(field, DateTimeField):
        moment = f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
        # As Python has it: microseconds only where there are any.
        return f"""'"' || replace({moment}, '.000000', '') || '+00:00"'"""
    if isinstance(field, DecimalField):
        return f"""'"' || trim_scale({column}) || '"'"""
    if isinstance(field, ArrayField):
        items = f"SELECT string_agg(to_json(item)::text, ', ') FROM unnest({column}) AS item"  # noqa: S608
        return f"""CASE {column} WHEN '{{}}' THEN '[]' ELSE '[' || ({items}) || ']' END"""
    is_text = isinstance(field, CharField | TextField)
    return f"to_json({column})::text" if is_text else f"{column}::text"
