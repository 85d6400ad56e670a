"""Whole conversations as JSON objects, written by the database: many in one statement.

These are the bytes of `formats/writers/jsonl.py`, for conversations with one line of messages and
without a running answer. For a message Python would need ten times as long as PostgreSQL.

The text is put together by `||` of few pieces, which took 0.33 s for 200,000 messages where
`format` took 0.59 s.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db import OperationalError, models
from django.db.models import CharField, DateTimeField, DecimalField, TextField, UUIDField
from psycopg2.errors import ProgramLimitExceeded

from conversations.db.replicas import read_connection
from conversations.formats.writers.jsonl import CHAT_FIELDS, MESSAGE_FIELDS
from conversations.models import Conversation, Message, Review

# Of all objects of a statement, which are in memory: those of usual conversations have a tenth.
MOST_BYTES = 32 * 1024 * 1024
_REVIEW_COLUMNS = {
    "reviewer": "reviewer_name",
    **{name: name for name in ("score", "labels", "comment", "created_at", "updated_at")},
}
# Checked to be names, in which nothing is escaped.
_NAMES = frozenset({"role", "status"})


class Line(NamedTuple):
    """A conversation to write: up to which sequence, as whose, and whether with reviews."""

    owner_id: int
    id: uuid.UUID
    last_sequence: int
    owner: str
    has_reviews: bool


class _Column(NamedTuple):
    """What is written of a column: its name in the file, the column in SQL, its value as JSON."""

    name: str
    column: str
    value: str
    is_null: bool


def objects_of(
    conversations: Sequence[Line], *, end: str
) -> list[tuple[uuid.UUID, str | None]] | None:
    """Their ids with their JSON objects in the given order, each followed by `end`; deleted ones
    are left out. One statement.

    The objects have MOST_BYTES together: those beyond that are None, and so is all if one is longer
    than a value of PostgreSQL (1 GB).
    """
    arrays: list[list[Any]] = [list(column) for column in zip(*conversations, strict=True)]
    try:
        with read_connection().cursor() as cursor:
            cursor.execute(_statement(), [MOST_BYTES, end, *arrays])
            found: list[tuple[uuid.UUID, str | None]] = cursor.fetchall()
            return found
    except OperationalError as error:
        if isinstance(error.__cause__, ProgramLimitExceeded):
            return None
        raise


@cache
def _statement() -> str:
    """`k` are the conversations, for each of which its messages are read in the order of the index
    by sequence: what is LATERAL leaves the planner nothing but a nested loop (OFFSET 0 keeps it
    from making a join of it)."""
    chat = _members(_columns(Conversation, _same(CHAT_FIELDS), "c", owner="to_json(k.owner)::text"))
    review = _members(_columns(Review, _REVIEW_COLUMNS, "r"))
    message = _members(_columns(Message, _same(MESSAGE_FIELDS), "m"))
    # No value comes from outside: names are those of fields.
    reviews = f"""CASE WHEN k.has_reviews THEN COALESCE((
        SELECT string_agg({_object(review)}, ', ' ORDER BY r.created_at, r.id)
        FROM conversations_review r
        WHERE r.user_id = k.owner_id AND r.conversation_id = k.id AND r.message_id = m.id
    ), '') ELSE '' END"""  # noqa: S608
    messages = f"""COALESCE((
        SELECT string_agg(one.text, ', ') FROM (
            SELECT {_object([*message, *_array("reviews", reviews)])} AS text
            FROM conversations_message m
            WHERE m.user_id = k.owner_id AND m.conversation_id = k.id
                AND m.sequence <= k.last_sequence
            ORDER BY m.sequence
        ) AS one), '')"""  # noqa: S608
    objects = f"""
        SELECT k.id, k.place, {_object([*chat, *_array("messages", messages)])} || %s AS text
        FROM (
            SELECT *
            FROM unnest(%s::integer[], %s::uuid[], %s::integer[], %s::text[], %s::boolean[])
                WITH ORDINALITY AS k (owner_id, id, last_sequence, owner, has_reviews, place)
            ORDER BY place OFFSET 0) AS k
        CROSS JOIN LATERAL (
            SELECT * FROM conversations_conversation
            WHERE user_id = k.owner_id AND id = k.id OFFSET 0) AS c
        ORDER BY k.place OFFSET 0"""  # noqa: S608
    return f"""
        SELECT id, CASE WHEN sum(octet_length(text))
            OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) <= %s THEN text END
        FROM ({objects}) AS written
        ORDER BY place"""  # noqa: S608


def _same(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


def _columns(
    model: type[models.Model], columns: Mapping[str, str], table: str, **given: str
) -> list[_Column]:
    """Those of a table, with SQL for the value of each, where it is not given."""
    found = []
    for name, column in columns.items():
        field: Any = None if name in given else model._meta.get_field(column)
        value = given.get(name) or _value(field, f"{table}.{column}")
        found.append(_Column(name, f"{table}.{column}", value, field is not None and field.null))
    return found


def _members(columns: Sequence[_Column]) -> list[str]:
    """SQL of pieces of text: the members of a JSON object, separated by commas."""
    pieces: list[str] = []
    for is_null, run in groupby(columns, lambda column: column.is_null):
        if is_null:
            pieces.append(_nullable(list(run)))
        else:
            for column in run:
                pieces += [f"""', "{column.name}": '""", column.value]
    pieces[0] = pieces[0].replace("', ", "'", 1)
    return pieces


def _array(name: str, items: str) -> list[str]:
    return [f"""', "{name}": ['""", items, "']'"]


def _object(members: Sequence[str]) -> str:
    return _joined(["'{'", *members, "'}'"])


def _nullable(columns: Sequence[_Column]) -> str:
    """Of these most are null in most rows: one comparison and one piece of text for all of them."""
    nulls = " AND ".join(f"{column.column} IS NULL" for column in columns)
    text = "".join(f', "{column.name}": null' for column in columns)
    if len(columns) == 1:
        some = f"""', "{columns[0].name}": ' || {columns[0].value}"""
    else:
        half = len(columns) // 2
        some = f"{_nullable(columns[:half])} || {_nullable(columns[half:])}"
    return f"CASE WHEN {nulls} THEN '{text}' ELSE {some} END"


def _joined(pieces: Sequence[str]) -> str:
    """Their concatenation, in halves: one after the other copies the first ones most often."""
    if len(pieces) == 1:
        return f"({pieces[0]})"
    half = len(pieces) // 2
    return f"({_joined(pieces[:half])} || {_joined(pieces[half:])})"


def _value(field: Any, column: str) -> str:
    """SQL for the value of a column as JSON; null where it is null."""
    if field.name in _NAMES or isinstance(field, UUIDField):
        return f"""('"' || {column} || '"')"""
    if isinstance(field, DateTimeField):
        return _time(column)
    if isinstance(field, DecimalField):
        return f"""('"' || trim_scale({column}) || '"')"""
    if isinstance(field, ArrayField):
        items = f"SELECT string_agg(to_json(item)::text, ', ') FROM unnest({column}) AS item"  # noqa: S608
        return f"""CASE {column} WHEN '{{}}' THEN '[]' ELSE '[' || ({items}) || ']' END"""
    is_text = isinstance(field, CharField | TextField)
    return f"to_json({column})::text" if is_text else f"{column}::text"


def _time(column: str) -> str:
    """As Python has it: six digits after the second, or none. The zone of a session is UTC.

    `to_json` drops zeros at the end, and `to_char` takes five times as long.
    """
    digits = f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
    return f"""CASE WHEN {column}::timestamptz(5) <> {column} OR {column}::timestamptz(0) = {column}
        THEN to_json({column})::text ELSE '"' || {digits} || '+00:00"' END"""
