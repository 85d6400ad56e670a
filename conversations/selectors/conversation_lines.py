"""Whole conversations as JSON objects, written by the database: many in one statement.

These are the bytes of `formats/writers/jsonl.py`, for conversations with one line of messages and
without a running answer. For a message Python would need ten times as long as PostgreSQL.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import OperationalError
from psycopg2.errors import ProgramLimitExceeded

from conversations.db.json_text import SPACED, Member, members_of, object_of
from conversations.db.replicas import read_connection
from conversations.formats.writers.jsonl import CHAT_FIELDS, MESSAGE_FIELDS
from conversations.models import Conversation, Message, Review

# Of all objects of a statement, which are in memory: those of usual conversations have a tenth.
MOST_BYTES = 32 * 1024 * 1024
_REVIEW_FIELDS = ("reviewer", "score", "labels", "comment", "created_at", "updated_at")


class Line(NamedTuple):
    """A conversation to write: up to which sequence, as whose, and whether with reviews."""

    owner_id: int
    id: uuid.UUID
    last_sequence: int
    owner: str
    has_reviews: bool


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
    owner, reviewer = "to_json(k.owner)::text", "to_json(r.reviewer_name)::text"
    chat = members_of(Conversation, CHAT_FIELDS, "c", SPACED, {"owner": owner})
    review = members_of(Review, _REVIEW_FIELDS, "r", SPACED, {"reviewer": reviewer})
    message = members_of(Message, MESSAGE_FIELDS, "m", SPACED)
    # No value comes from outside: names are those of fields.
    reviews = f"""CASE WHEN k.has_reviews THEN COALESCE((
        SELECT string_agg({object_of(review, SPACED)}, ', ' ORDER BY r.created_at, r.id)
        FROM conversations_review r
        WHERE r.user_id = k.owner_id AND r.conversation_id = k.id AND r.message_id = m.id
    ), '') ELSE '' END"""  # noqa: S608
    messages = f"""COALESCE((
        SELECT string_agg(one.text, ', ') FROM (
            SELECT {object_of([*message, _array("reviews", reviews)], SPACED)} AS text
            FROM conversations_message m
            WHERE m.user_id = k.owner_id AND m.conversation_id = k.id
                AND m.sequence <= k.last_sequence
            ORDER BY m.sequence
        ) AS one), '')"""  # noqa: S608
    objects = f"""
        SELECT k.id, k.place,
            {object_of([*chat, _array("messages", messages)], SPACED)} || %s AS text
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


def _array(name: str, items: str) -> Member:
    return Member(name, f"'[' || {items} || ']'")
