"""The stored messages with which a history that is sent again is compared, along a path.

Only the columns that are compared, in one statement for a part of a path. They are read on the
primary: what follows from them is written.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from conversations.db.functions import DatabaseFunction
from conversations.formats.sent_messages import StoredMessage
from conversations.models.branch_path import FIRST_LINE, LAST, Path

_COLUMNS = """
    id::text, branch, sequence, role, content, parts, tool_calls, tool_call_id, name, status,
    role = 'assistant' AND provider <> '' AS is_answer, emptied_at IS NOT NULL AS is_emptied
"""
_THERE = "user_id = %(owner)s AND conversation_id = %(conversation)s"
# The first line is read by the index of sequences, other branches by an index of their own.
_ON_PATH = """
    SELECT * FROM (
        (SELECT {columns} FROM conversations_message
        WHERE {there} AND branch = 0 AND sequence > %(after)s AND sequence <= %(until)s
        ORDER BY sequence {order} LIMIT %(limit)s)
        UNION ALL
        (SELECT found.* FROM unnest(%(branches)s::smallint[], %(afters)s::integer[],
            %(untils)s::integer[]) AS part (branch, after, until)
        CROSS JOIN LATERAL (
            SELECT {columns} FROM conversations_message
            WHERE {there} AND branch = part.branch AND branch <> 0
                AND sequence > part.after AND sequence <= part.until
            ORDER BY sequence {order} LIMIT %(limit)s
        ) AS found
        ORDER BY found.sequence {order} LIMIT %(limit)s)
    ) AS found
    ORDER BY sequence {order} LIMIT %(limit)s
"""
_WITH_IDS = f"""
    SELECT {_COLUMNS} FROM conversations_message WHERE {_THERE} AND id = ANY(%(ids)s)
    ORDER BY sequence DESC LIMIT %(limit)s
"""  # noqa: S608 (the texts above)

# The first messages of a conversation that has one line.
LINE_MESSAGES = DatabaseFunction(
    "line_messages",
    arguments=["owner integer", "chat uuid", "above integer", "most integer"],
    returns="""TABLE (
        key text, branch smallint, sequence integer, role varchar, content text, parts jsonb,
        tool_calls jsonb, tool_call_id varchar, name varchar, status varchar, is_answer boolean,
        is_emptied boolean)""",
    body=f"""
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT {_COLUMNS} FROM conversations_message m
    WHERE m.user_id = owner AND m.conversation_id = chat AND m.sequence > above
    ORDER BY m.sequence LIMIT most;
END
""",  # noqa: S608
    on_primary=True,
)
# An owner's messages with ids in these ranges, the newest ones of each.
MESSAGES_IN_RANGES = DatabaseFunction(
    "messages_in_ranges",
    arguments=["owner integer", "lowest uuid[]", "highest uuid[]", "most integer"],
    returns="TABLE (conversation_id uuid, id uuid)",
    body="""
BEGIN
    RETURN QUERY SELECT found.conversation_id, found.id
    FROM unnest(lowest, highest) AS ids (low, high)
    CROSS JOIN LATERAL (
        SELECT m.conversation_id, m.id FROM conversations_message m
        WHERE m.user_id = owner AND m.id >= ids.low AND m.id <= ids.high
        ORDER BY m.id DESC LIMIT most
    ) AS found;
END
""",
    on_primary=True,
)


def compared_rows(
    owner_id: int,
    conversation_id: uuid.UUID,
    path: Path,
    *,
    after: int = 0,
    limit: int,
    from_end: bool = False,
) -> list[StoredMessage]:
    """At most `limit` messages of a path above a sequence, in order: the first ones, or those at
    its end."""
    order = "DESC" if from_end else "ASC"
    values: dict[str, Any] = {"owner": owner_id, "conversation": conversation_id, "limit": limit}
    values["after"] = after
    ranges = path.ranges(after)
    line = [each for each in ranges if each.branch == FIRST_LINE]
    others = [each for each in ranges if each.branch != FIRST_LINE]
    if line and line[0].until == LAST and not from_end:
        found = LINE_MESSAGES.rows(owner_id, conversation_id, after, limit)
        return [StoredMessage._make(row) for row in found]
    values |= {
        "after": line[0].after if line else 0,
        "until": line[0].until if line else 0,
        "branches": [each.branch for each in others],
        "afters": [each.after for each in others],
        "untils": [each.until for each in others],
    }
    rows = _rows(_ON_PATH.format(columns=_COLUMNS, there=_THERE, order=order), values)
    return rows[::-1] if from_end else rows


def compared_messages(
    owner_id: int, conversation_id: uuid.UUID, ids: Iterable[uuid.UUID], *, limit: int
) -> list[StoredMessage]:
    """The newest messages with these ids, the newest first."""
    values = {"owner": owner_id, "conversation": conversation_id, "ids": list(ids), "limit": limit}
    return _rows(_WITH_IDS, values)


def newest_with_ids(
    owner_id: int, ranges: Sequence[tuple[uuid.UUID, uuid.UUID]], *, limit: int
) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """The conversation and the id of at most `limit` of the owner's messages in each of the ranges
    of ids, lowest and highest; the highest ids first."""
    lowest, highest = zip(*ranges, strict=True)
    return MESSAGES_IN_RANGES.rows(owner_id, list(lowest), list(highest), limit)


def _rows(statement: str, values: dict[str, Any]) -> list[StoredMessage]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [StoredMessage._make(row) for row in cursor.fetchall()]
