"""Append at the end of a branch, as one statement: a function of the database.

It locks the conversation, looks whether anything speaks against it, and only then writes: an append
that is refused has written nothing, and its caller's transaction goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from conversations.db.bulk_rows import Row, columns_of
from conversations.db.functions import DatabaseFunction
from conversations.models import DEFAULT_TITLE, Message, Status
from conversations.selectors.message_pages import PARENT

Outcome = Literal["appended", "not_found", "no_branch", "stale", "deleted", "exists", "running"]


@dataclass(frozen=True, slots=True)
class AppendedAtEnd:
    """What became of an append.

    `outcome`: `appended`, or why nothing was written: there is no such conversation or branch, its
    last sequence is not the expected one (`stale`), an id was that of a deleted message or is that
    of another one (`exists`), or another answer runs. `last_before` is the last sequence of the
    branch before; of what was appended, `first` is the first sequence, `branch` the column,
    `parent_id` the first message's parent, and `has_siblings` whether others follow that too. `at`
    is the database's time.
    """

    outcome: Outcome
    last_before: int | None = None
    first: int | None = None
    branch: int | None = None
    parent_id: uuid.UUID | None = None
    has_siblings: bool | None = None
    at: datetime | None = None


_M, _B, _T = (f"{name}.user_id = owner AND {name}.conversation_id = chat" for name in "mbt")
# The columns that the sender does not set.
_SET = {
    "user_id": "owner",
    "conversation_id": "chat",
    "sequence": "first_sequence + given.ordinality::integer - 1",
    "branch": "written_to",
    # Of a running answer it is the first heartbeat.
    "updated_at": (
        f"CASE given.status WHEN '{Status.STREAMING}' THEN moment ELSE given.created_at END"
    ),
}
_COLUMNS = columns_of(Message)
_VALUES = ",\n            ".join(_SET.get(column, f"given.{column}") for column in _COLUMNS)

_BODY = f"""
DECLARE
    locked record;
    target integer;
    written_to smallint := 0;
    branch_end integer;
    many integer := json_array_length(messages);
    first_sequence integer;
    moment timestamptz;
    parent record;
    forked boolean := false;
BEGIN
    SELECT c.last_sequence, c.last_branch, c.active_branch INTO locked
    FROM conversations_conversation c WHERE c.user_id = owner AND c.id = chat
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'not_found';
        RETURN NEXT;
        RETURN;
    END IF;
    target := COALESCE(wanted, locked.active_branch);
    IF locked.last_branch > 0 THEN
        SELECT b.last_sequence, b.segments -> -1 ->> 0 INTO branch_end, written_to
        FROM conversations_branch b WHERE {_B} AND b.number = target;
    ELSIF target = 0 THEN
        branch_end := locked.last_sequence;
    END IF;
    last_before := branch_end;
    outcome := CASE
        WHEN branch_end IS NULL THEN 'no_branch'
        WHEN branch_end <> expected THEN 'stale'
        WHEN repeatable AND EXISTS (
            SELECT FROM conversations_tombstone t
            WHERE {_T} AND t.id IN (
                SELECT (message ->> 'id')::uuid FROM json_array_elements(messages) AS message)
        ) THEN 'deleted'
        WHEN repeatable AND EXISTS (
            SELECT FROM conversations_message m
            WHERE {_M} AND m.id IN (
                SELECT (message ->> 'id')::uuid FROM json_array_elements(messages) AS message)
        ) THEN 'exists'
        WHEN opens AND EXISTS (
            SELECT FROM conversations_message m WHERE {_M} AND m.status = '{Status.STREAMING}'
        ) THEN 'running'
        ELSE 'appended'
    END;
    IF outcome <> 'appended' THEN
        RETURN NEXT;
        RETURN;
    END IF;
    first_sequence := locked.last_sequence + 1;
    moment := clock_timestamp();
    UPDATE conversations_conversation c SET
        last_sequence = c.last_sequence + many,
        message_count = c.message_count + many,
        updated_at = GREATEST(c.updated_at, moved_at),
        active_branch = CASE WHEN activate THEN target ELSE c.active_branch END,
        title = CASE WHEN c.title = '{DEFAULT_TITLE}' AND NOT c.legal_hold
                     THEN COALESCE(new_title, c.title) ELSE c.title END
    WHERE c.user_id = owner AND c.id = chat;
    INSERT INTO conversations_message ({", ".join(_COLUMNS)})
    SELECT
            {_VALUES}
    FROM ROWS FROM (json_populate_recordset(NULL::conversations_message, messages))
        WITH ORDINALITY AS given;
    IF locked.last_branch > 0 THEN
        UPDATE conversations_branch b SET
            last_sequence = first_sequence + many - 1,
            length = b.length + many,
            updated_at = GREATEST(b.updated_at, moved_at)
        WHERE {_B} AND b.number = target;
        SELECT p.id, COALESCE(p.sequence, 0) AS sequence INTO parent FROM conversations_message m
        LEFT JOIN LATERAL {PARENT} AS p ON true
        WHERE {_M} AND m.sequence = first_sequence;
        forked := EXISTS (
            SELECT FROM conversations_branch b
            WHERE {_B} AND b.number > 0 AND b.fork_sequence = parent.sequence);
    ELSE
        SELECT m.id INTO parent FROM conversations_message m
        WHERE {_M} AND m.sequence < first_sequence ORDER BY m.sequence DESC LIMIT 1;
    END IF;
    first := first_sequence;
    branch := written_to;
    parent_id := parent.id;
    has_siblings := forked;
    at := moment;
    RETURN NEXT;
END
"""  # noqa: S608

APPEND = DatabaseFunction(
    "append",
    arguments=[
        *("owner integer", "chat uuid", "wanted integer", "activate boolean"),
        *("expected integer", "repeatable boolean", "opens boolean"),
        *("moved_at timestamptz", "new_title text", "messages json"),
    ],
    returns="""TABLE (
        outcome text, last_before integer, first integer, branch integer, parent_id uuid,
        has_siblings boolean, at timestamptz)""",
    body=_BODY,
    writes=True,
)


def append_at_end(
    owner_id: int,
    conversation_id: uuid.UUID,
    rows: Sequence[Row],
    *,
    branch: int | None,
    activate: bool,
    expected: int | None,
    repeatable: bool,
    moved_at: datetime,
    title: str | None,
) -> AppendedAtEnd:
    """Append these rows of new messages, all or none, to a branch, None for the active one.

    They lack what is known only now: the place and `updated_at`. `expected` is the last sequence
    that the branch must have, `repeatable` whether the ids may be those of messages that are stored
    or were deleted. `moved_at` and `title` are the conversation's, which keeps a later time, and a
    title that somebody has set.
    """
    opens = any(row["status"] == Status.STREAMING for row in rows)
    (found,) = APPEND.rows(
        *(owner_id, conversation_id, branch, activate, expected, repeatable, opens),
        *(moved_at, title, _as_json(rows)),
    )
    return AppendedAtEnd(*found)


def _as_json(rows: Sequence[Row]) -> str:
    """Without what is null. Decimals as text, of which PostgreSQL makes the same number."""
    given = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return orjson.dumps(given, default=str).decode()
