"""Conversations as the API shows them: a page of an owner's list with its total, or a single one.

The database writes a page as JSON, and it is sent on as it is. A page is one range of the index of
its order, and the total the sum of the owner's few rows of `ConversationCount`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from conversations.db.bulk_rows import Row
from conversations.db.functions import DatabaseFunction
from conversations.db.json_text import COMPACT, members_of, object_of
from conversations.models import Conversation

# What responses have of a conversation, in this order.
SHOWN_FIELDS = (
    *("id", "user_id", "title", "model_used", "metadata", "external_id", "tags", "message_count"),
    *("path_length", "branch_count", "active_branch", "forked_from", "emptied_through", "pinned"),
    *("archived", "created_at", "updated_at"),
)
# The most rows that are read for a page: one more than it has.
MAX_ROWS = 201

# Where a page without a cursor begins, ascending and descending.
_BEFORE_ALL = ("-infinity", "00000000-0000-0000-0000-000000000000")
_AFTER_ALL = ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")


class Place(NamedTuple):
    """Where a conversation is in an order: a time and an id."""

    at: str
    id: str


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """Conversations as JSON objects in UTF-8, separated by commas, and the places of the first and
    the last one, as they were read; None where there are none.

    `more`: there are others beyond. `total` counts all conversations of the owner.
    """

    total: int
    ends: tuple[Place, Place] | None
    more: bool
    json: bytes


# The branch is looked up only where there are several.
_PATH_LENGTH = """
    CASE WHEN c.last_branch = 0 THEN c.message_count ELSE (
        SELECT b.length FROM conversations_branch b
        WHERE b.user_id = owner AND b.conversation_id = c.id AND b.number = c.active_branch)
    END"""
_COMPUTED = {
    "path_length": f"({_PATH_LENGTH})::text",
    "archived": "(c.archived_at IS NOT NULL)::text",
    "user_id": "name_of_owner",
}


def _object(names: Iterable[str]) -> str:
    """The conversation `c` with these fields, as JSON text."""
    return object_of(members_of(Conversation, names, "c", COMPACT, _COMPUTED), COMPACT)


def _page(column: str, direction: str) -> str:
    """A page in one order. The constant limit tells the planner, which does not know `most`, that
    few rows are read: so it takes the index of the order and does not sort."""
    beyond, order = "<" if direction == "DESC" else ">", f"{column} {direction}, id {direction}"
    return f"""
        SELECT array_agg(c.{column}), array_agg(c.id),
            string_agg({_object(SHOWN_FIELDS)}, ','
                ORDER BY CASE WHEN backward THEN -c.place ELSE c.place END)
                FILTER (WHERE c.place <= most)
        INTO times, ids, body
        FROM (
            SELECT c.*, row_number() OVER () AS place
            FROM (
                SELECT c.* FROM conversations_conversation c
                WHERE c.user_id = owner AND (c.{column}, c.id) {beyond} (at, beyond)
                ORDER BY c.{order} LIMIT {MAX_ROWS}
            ) AS c LIMIT most + 1
        ) AS c;"""  # noqa: S608


CONVERSATIONS = DatabaseFunction(
    "conversations",
    arguments=[
        *("owner integer", "name_of_owner text", "by_creation boolean", "descending boolean"),
        *("backward boolean", "at timestamptz", "beyond uuid", "most integer"),
    ],
    returns="""TABLE (
        total bigint, first_at text, first_id text, last_at text, last_id text, more boolean,
        body text)""",
    body=f"""
DECLARE
    times timestamptz[];
    ids uuid[];
    place integer;
BEGIN
    total := (
        SELECT COALESCE(sum(n.number), 0) FROM conversations_conversationcount n
        WHERE n.user_id = owner);
    IF by_creation AND descending THEN {_page("created_at", "DESC")}
    ELSIF by_creation THEN {_page("created_at", "ASC")}
    ELSIF descending THEN {_page("updated_at", "DESC")}
    ELSE {_page("updated_at", "ASC")}
    END IF;
    place := LEAST(most, cardinality(ids));
    first_at := times[1];
    first_id := ids[1];
    last_at := times[place];
    last_id := ids[place];
    more := cardinality(ids) > most;
    RETURN NEXT;
END
""",  # noqa: S608
    texts_as_bytes=True,
)

# JSON columns apart, which Python does not parse.
_APART = "metadata"
CONVERSATION = DatabaseFunction(
    "conversation",
    arguments=["owner integer", "chat uuid"],
    returns="TABLE (body text, metadata_body text)",
    body=f"""
BEGIN
    RETURN QUERY SELECT {_object(n for n in SHOWN_FIELDS if n not in ("user_id", _APART))},
        c.{_APART}::text
    FROM conversations_conversation c WHERE c.user_id = owner AND c.id = chat;
END
""",  # noqa: S608
)


def page_of_conversations(
    owner_id: int,
    *,
    user_id: int | str,
    by_creation: bool = False,
    descending: bool = True,
    backward: bool = False,
    beyond: Sequence[Any] | None = None,
    limit: int,
) -> ConversationPage:
    """At most `limit` conversations of an owner, whom the caller calls `user_id`; MAX_ROWS at most.

    They are read in the order of creation or of the newest activity, after the place `beyond` where
    one is given, and are in that order, or with `backward` in the other one. One statement.
    """
    name = orjson.dumps(user_id).decode()
    place = beyond or (_AFTER_ALL if descending else _BEFORE_ALL)
    ((total, *ends, more, shown),) = CONVERSATIONS.rows(
        *(owner_id, name, by_creation, descending, backward), *place, limit
    )
    found = None
    if shown:
        first_at, first_id, last_at, last_id = (end.decode() for end in ends)
        found = Place(first_at, first_id), Place(last_at, last_id)
    return ConversationPage(total, found, bool(more), shown or b"")


def find_conversation(
    owner_id: int, conversation_id: uuid.UUID, *, user_id: int | str = ""
) -> Row | None:
    """An owner's conversation as responses have it, ready for orjson; None where there is none."""
    for shown, metadata in CONVERSATION.rows(owner_id, conversation_id):
        row = orjson.loads(shown)
        row |= {"user_id": user_id, _APART: orjson.Fragment(metadata)}
        return {name: row[name] for name in SHOWN_FIELDS}
    return None
