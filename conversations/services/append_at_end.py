"""Append at the end of a branch, as one statement: a function of the database.

It locks the conversation, looks whether anything speaks against it, and only then writes: an append
that is refused has written nothing, and its caller's transaction goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson

from conversations.db.bulk_rows import Row, columns_of
from conversations.db.functions import DatabaseFunction
from conversations.models import DEFAULT_TITLE, Message, Status
from conversations.selectors.tree_sql import PARENT
from conversations.services.errors import (
    NO_SUCH_BRANCH,
    NO_SUCH_CONVERSATION,
    Deleted,
    NotFound,
    StaleSequence,
)
from conversations.services.repeated_appends import DELETED_MESSAGE, IdsExist


class _Answer(NamedTuple):
    """What became of an append.

    `outcome` is `appended`, or says why nothing was written. `last_before` is the last sequence of
    the branch before; of what was appended, `first` is the first sequence, `branch` the column,
    `parent_id` the first message's parent, and `has_siblings` whether others follow that too. `at`
    is the database's time.
    """

    outcome: str
    last_before: int
    first: int
    branch: int
    parent_id: uuid.UUID | None
    has_siblings: bool
    at: datetime


# By the outcome. Another one is `stale`: the last sequence is not the expected one.
_REFUSALS: dict[str, Callable[[], Exception]] = {
    "not_found": lambda: NotFound(NO_SUCH_CONVERSATION),
    "no_branch": lambda: NotFound(NO_SUCH_BRANCH, field="branch"),
    "deleted": lambda: Deleted(DELETED_MESSAGE),
    "exists": IdsExist,
    "running": IdsExist,
}
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
                AND (NOT beside OR GREATEST(m.branch, 0) = GREATEST(written_to, 0))
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
        *("expected integer", "repeatable boolean", "opens boolean", "beside boolean"),
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
    beside: bool,
    moved_at: datetime,
    title: str | None,
) -> None:
    """Append these rows of new messages, all or none, to a branch, None for the active one.

    They lack what is known only now, and is put into them: the place, `updated_at`, and `parent_id`
    unless others follow the parent. `expected` is the last sequence
    that the branch must have, `repeatable` whether the ids may be those of messages that are stored
    or were deleted, `beside` whether answers of other branches may run meanwhile. `moved_at` and
    `title` are the conversation's, which keeps a later time, and a title that somebody has set.
    Raises NotFound, StaleSequence, Deleted, and IdsExist also where another answer runs.
    """
    opens = any(row["status"] == Status.STREAMING for row in rows)
    (found,) = APPEND.rows(
        *(owner_id, conversation_id, branch, activate, expected, repeatable, opens, beside),
        *(moved_at, title, _as_json(rows)),
    )
    done = _Answer._make(found)
    if done.outcome == "stale":
        assert expected is not None
        raise StaleSequence(expected=expected, actual=done.last_before)
    if done.outcome != "appended":
        raise _REFUSALS[done.outcome]()
    parent = done.parent_id
    for sequence, row in enumerate(rows, start=done.first):
        opened = row["status"] == Status.STREAMING
        row |= {"sequence": sequence, "branch": done.branch}
        row["updated_at"] = done.at if opened else row["created_at"]
        if not done.has_siblings:
            row["parent_id"], parent = parent, row["id"]


def _as_json(rows: Sequence[Row]) -> str:
    """Without what is null. Decimals as text, of which PostgreSQL makes the same number."""
    given = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return orjson.dumps(given, default=str).decode()
