"""Conversations as the API shows them: a page of an owner's list with its total, or a single one.

The database writes each as JSON, and it is sent on as it is. A page is one range of the index of
its order, and the total the sum of the owner's few rows of `ConversationCount`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from conversations.db.bulk_rows import Row
from conversations.db.functions import DatabaseFunction, json_columns
from conversations.models import Conversation

# What responses have of a conversation, in this order.
SHOWN_FIELDS = (
    *("id", "user_id", "title", "model_used", "metadata", "external_id", "tags", "message_count"),
    *("path_length", "branch_count", "active_branch", "forked_from", "emptied_through", "pinned"),
    *("archived", "created_at", "updated_at"),
)
# The most rows that a page may have.
MAX_ROWS = 201

# Where a page without a cursor begins, ascending and descending.
_BEFORE_ALL = ("-infinity", "00000000-0000-0000-0000-000000000000")
_AFTER_ALL = ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")


class ShownConversation(NamedTuple):
    """A conversation as JSON text, with its place in the order: the time and the id."""

    at: str
    id: str
    json: str


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """`total` counts all conversations of the owner."""

    rows: list[ShownConversation]
    total: int


# The branch is looked up only where there are several.
_PATH_LENGTH = """
    CASE WHEN c.last_branch = 0 THEN c.message_count ELSE (
        SELECT b.length FROM conversations_branch b
        WHERE b.user_id = owner AND b.conversation_id = c.id AND b.number = c.active_branch)
    END"""
_COMPUTED = {"path_length": _PATH_LENGTH, "archived": "c.archived_at IS NOT NULL"}


def _columns(names: Sequence[str]) -> str:
    """A SELECT list of these fields of the conversation `c`."""
    return ",\n".join(
        f"{_COMPUTED[name]} AS {name}"
        if name in _COMPUTED
        else json_columns(Conversation, [name], "c")
        for name in names
    )


def _page(column: str, direction: str) -> str:
    """A page in one order. The constant limit tells the planner, which does not know `most`, that
    few rows are read: so it takes the index of the order and does not sort."""
    beyond, order = "<" if direction == "DESC" else ">", f"{column} {direction}, id {direction}"
    return f"""
        RETURN QUERY SELECT counted, c.{column}::text, c.id::text,
            '{{"id":"' || c.id || '","user_id":' || name_of_owner || ','
            || substr(row_to_json((SELECT shown FROM (SELECT
                {_columns(SHOWN_FIELDS[2:])}
            ) AS shown))::text, 2)
        FROM (
            SELECT c.* FROM conversations_conversation c
            WHERE c.user_id = owner AND (c.{column}, c.id) {beyond} (at, beyond)
            ORDER BY c.{order} LIMIT {MAX_ROWS}
        ) AS c ORDER BY c.{order} LIMIT most;"""  # noqa: S608


CONVERSATIONS = DatabaseFunction(
    "conversations",
    arguments=[
        *("owner integer", "name_of_owner text", "by_creation boolean", "descending boolean"),
        *("at timestamptz", "beyond uuid", "most integer"),
    ],
    returns="TABLE (total bigint, place_at text, place_id text, body text)",
    body=f"""
DECLARE
    counted bigint := (
        SELECT COALESCE(sum(n.number), 0) FROM conversations_conversationcount n
        WHERE n.user_id = owner);
BEGIN
    IF by_creation AND descending THEN {_page("created_at", "DESC")}
    ELSIF by_creation THEN {_page("created_at", "ASC")}
    ELSIF descending THEN {_page("updated_at", "DESC")}
    ELSE {_page("updated_at", "ASC")}
    END IF;
    IF NOT FOUND THEN
        total := counted;
        RETURN NEXT;
    END IF;
END
""",  # noqa: S608
)

# JSON columns apart, which Python does not parse.
_APART = "metadata"
CONVERSATION = DatabaseFunction(
    "conversation",
    arguments=["owner integer", "chat uuid"],
    returns="TABLE (body text, metadata_body text)",
    body=f"""
BEGIN
    RETURN QUERY SELECT row_to_json((SELECT shown FROM (SELECT
            {_columns([name for name in SHOWN_FIELDS if name not in ("user_id", _APART)])}
        ) AS shown))::text, c.{_APART}::text
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
    beyond: Sequence[Any] | None = None,
    limit: int,
) -> ConversationPage:
    """At most `limit` conversations of an owner, whom the caller calls `user_id`; MAX_ROWS at most.

    In the order of creation or of the newest activity, after the place `beyond` (the time and the
    id of a ShownConversation) where one is given. One statement.
    """
    name = orjson.dumps(user_id).decode()
    place = beyond or (_AFTER_ALL if descending else _BEFORE_ALL)
    found = CONVERSATIONS.rows(owner_id, name, by_creation, descending, *place, limit)
    rows = [ShownConversation._make(row[1:]) for row in found if row[-1] is not None]
    return ConversationPage(rows, found[0][0])


def find_conversation(
    owner_id: int, conversation_id: uuid.UUID, *, user_id: int | str = ""
) -> Row | None:
    """An owner's conversation as responses have it, ready for orjson; None where there is none."""
    for shown, metadata in CONVERSATION.rows(owner_id, conversation_id):
        row = orjson.loads(shown)
        row |= {"user_id": user_id, _APART: orjson.Fragment(metadata)}
        return {name: row[name] for name in SHOWN_FIELDS}
    return None
