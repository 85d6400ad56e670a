"""Messages as the API shows them: a page of a branch, of all branches, or single messages.

The database writes each as JSON, with its parent and its siblings, and it is sent on as it is.
In a conversation with one line a page is one range of one index, and a message's parent the row
before it; where there are branches it is the few ranges of the path that the page touches.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from conversations.db.functions import DatabaseFunction, json_columns
from conversations.formats import RECORDED_FIELDS
from conversations.models import Message
from conversations.models.branch_path import CONTINUED, LAST

# The columns of a message that responses have, besides its conversation, `branch`, `parent_id`
# and `siblings`.
SHOWN_COLUMNS = ("id", "conversation_id", "sequence", *RECORDED_FIELDS, "updated_at")

# In the place of a branch's number: the messages of all branches, by sequence.
ALL_BRANCHES = -1


class ShownMessage(NamedTuple):
    """A message as JSON text. `branch` is the number of the branch that is read, of all -1."""

    branch: int
    sequence: int
    status: str
    json: str


_OF_CONVERSATION = "{0}.user_id = owner AND {0}.conversation_id = chat"
_M, _P, _B = (_OF_CONVERSATION.format(name) for name in "mpb")

# The last message of the first line before the first fork.
_LINE_END = f"""(
    SELECT (b.segments -> 0 ->> 1)::integer FROM conversations_branch b
    WHERE {_B} AND b.number = 0)"""  # noqa: S608

# The message before `m` on its path: of the same branch, or where that forked; of what was added
# to the first line after it forked, the line's end. The nearest has the highest sequence.
PARENT = f"""(
    (SELECT p.id, p.sequence FROM conversations_message p
    WHERE {_P} AND p.branch = 0 AND m.branch = 0 AND p.sequence < m.sequence
    ORDER BY p.sequence DESC LIMIT 1)
    UNION ALL
    (SELECT p.id, p.sequence FROM conversations_message p
    WHERE {_P} AND p.branch = m.branch AND p.branch <> 0 AND m.branch <> 0
        AND p.sequence < m.sequence
    ORDER BY p.sequence DESC LIMIT 1)
    UNION ALL
    (SELECT p.id, p.sequence FROM conversations_branch b
    JOIN conversations_message p ON {_P} AND p.sequence = b.fork_sequence
    WHERE {_B} AND b.number = m.branch AND m.branch > 0)
    UNION ALL
    (SELECT p.id, p.sequence FROM conversations_message p
    WHERE {_P} AND p.branch = 0 AND m.branch = {CONTINUED}
        AND p.sequence <= {_LINE_END}
    ORDER BY p.sequence DESC LIMIT 1)
    ORDER BY sequence DESC LIMIT 1)"""  # noqa: S608

# What follows the message `fork`: the next one of its branch, and the first of each branch that
# forked there. Only called for the places where branches forked.
_CHILDREN = f"""
    SELECT COALESCE(json_agg(child.id ORDER BY child.sequence), '[]') FROM (
        (SELECT m.id, m.sequence FROM conversations_message m
        WHERE {_M} AND m.branch = 0 AND fork.branch = 0
            AND m.sequence > fork.sequence AND m.sequence <= line_end
        ORDER BY m.sequence LIMIT 1)
        UNION ALL
        (SELECT m.id, m.sequence FROM conversations_message m
        WHERE {_M} AND m.branch = {CONTINUED} AND m.branch <> 0 AND fork.branch = 0
            AND NOT EXISTS (
                SELECT FROM conversations_message p
                WHERE {_P} AND p.branch = 0 AND p.sequence > fork.sequence
                    AND p.sequence <= line_end)
        ORDER BY m.sequence LIMIT 1)
        UNION ALL
        (SELECT m.id, m.sequence FROM conversations_message m
        WHERE {_M} AND m.branch = fork.branch AND m.branch <> 0 AND fork.branch <> 0
            AND m.sequence > fork.sequence
        ORDER BY m.sequence LIMIT 1)
        UNION ALL
        SELECT first.id, first.sequence FROM conversations_branch b
        CROSS JOIN LATERAL (
            SELECT m.id, m.sequence FROM conversations_message m
            WHERE {_M} AND m.branch = b.number AND m.branch <> 0
            ORDER BY m.sequence LIMIT 1
        ) AS first
        WHERE {_B} AND b.number > 0 AND b.fork_sequence = fork.sequence
    ) AS child
"""  # noqa: S608


def _json(table: str) -> str:
    """A message as JSON text. Its conversation has the name that the caller's contract gives it."""
    names = [name for name in SHOWN_COLUMNS if name not in ("id", "conversation_id", "sequence")]
    return f"""
        '{{"id":"' || {table}.id || '","' || name_of_chat || '":"' || chat || '",'
        || substr(row_to_json((SELECT shown FROM (SELECT
            {table}.sequence,
            greatest({table}.branch, 0) AS branch,
            {table}.parent_id,
            {table}.siblings,
            {json_columns(Message, names, table)}
        ) AS shown))::text, 2)"""  # noqa: S608


def _line(direction: str, neighbour: str) -> str:
    """A page of a conversation with one line, in one direction."""
    return f"""
        RETURN QUERY SELECT 0, page.sequence, page.status::text, {_json("page")}
        FROM (
            SELECT m.*, NULL::json AS siblings, COALESCE(
                {neighbour}(m.id) OVER (ORDER BY m.sequence {direction}),
                (SELECT p.id FROM conversations_message p
                WHERE {_P} AND p.sequence < m.sequence ORDER BY p.sequence DESC LIMIT 1)
            ) AS parent_id
            FROM (
                SELECT * FROM conversations_message m
                WHERE {_M} AND m.sequence > above AND m.sequence < below
                ORDER BY m.sequence {direction} LIMIT most
            ) AS m
        ) AS page ORDER BY page.sequence {direction};"""  # noqa: S608


def _walk(direction: str, segments: str) -> str:
    """Collect in `places` the sequences of a page of the path, segment by segment."""
    within = f"""m.sequence > low AND m.sequence <= high
                    ORDER BY m.sequence {direction} LIMIT most - cardinality(places)"""
    return f"""
        FOR segment IN {segments} LOOP
            high := LEAST(below - 1, COALESCE((path -> segment ->> 1)::integer, {LAST}));
            CONTINUE WHEN high <= above;
            low := above;
            IF segment > 0 THEN
                low := GREATEST(low, (path -> (segment - 1) ->> 1)::integer);
            END IF;
            CONTINUE WHEN high <= low;
            written_to := path -> segment ->> 0;
            -- The first line is dense in the index of sequences, others in an index of their own.
            IF written_to = 0 THEN
                places := places || ARRAY(
                    SELECT m.sequence FROM conversations_message m
                    WHERE {_M} AND m.branch = 0 AND {within});
            ELSE
                places := places || ARRAY(
                    SELECT m.sequence FROM conversations_message m
                    WHERE {_M} AND m.branch = written_to AND m.branch <> 0 AND {within});
            END IF;
            EXIT WHEN cardinality(places) >= most;
        END LOOP;"""  # noqa: S608


# Each shown with its siblings where its parent has more than one child.
_SIBLINGS = """
    CASE WHEN page.parent_sequence = ANY (forked) THEN (
        SELECT json_build_object(
            'position', place, 'count', json_array_length(family.children),
            'ids', family.children)
        FROM (SELECT families -> page.parent_sequence::text AS children) AS family
        CROSS JOIN LATERAL json_array_elements_text(family.children)
            WITH ORDINALITY AS child (id, place)
        WHERE child.id = page.id::text AND json_array_length(family.children) > 1
    ) END"""

_EACH_FOUND = "p.id AS parent_id, COALESCE(p.sequence, 0) AS parent_sequence"
_ALONG_A_PATH = """
    COALESCE(lag(m.id) OVER (ORDER BY m.sequence), before.id) AS parent_id,
    COALESCE(lag(m.sequence) OVER (ORDER BY m.sequence), before.sequence) AS parent_sequence"""


def _shown(parents: str, joined: str = "") -> str:
    """The messages at `places`; `parents` are the columns of their parents."""
    return f"""
        RETURN QUERY SELECT shown_branch, page.sequence, page.status::text, {_json("page")}
        FROM (
            SELECT page.*, {_SIBLINGS} AS siblings
            FROM (
                SELECT m.*, {parents} FROM conversations_message m {joined}
                WHERE {_M} AND m.sequence = ANY (places)
            ) AS page
        ) AS page
        ORDER BY CASE WHEN descending THEN -page.sequence ELSE page.sequence END;"""  # noqa: S608


_BODY = f"""
DECLARE
    forks integer;
    shown_branch integer;
    path jsonb;
    segment integer;
    written_to smallint;
    low integer;
    high integer;
    before record;
    places integer[] := '{{}}';
    parents integer[];
    highest integer;
    line_end integer;
    families json;
    forked integer[];
BEGIN
    SELECT c.last_branch, COALESCE(wanted, c.active_branch) INTO forks, shown_branch
    FROM conversations_conversation c WHERE c.user_id = owner AND c.id = chat;
    IF NOT FOUND OR (forks = 0 AND shown_branch > 0) THEN
        RETURN;
    END IF;
    IF ids IS NULL AND forks = 0 THEN
        IF descending THEN {_line("DESC", "lead")}
        ELSE {_line("ASC", "lag")}
        END IF;
        RETURN;
    END IF;
    IF ids IS NOT NULL THEN
        places := ARRAY(
            SELECT m.sequence FROM conversations_message m WHERE {_M} AND m.id = ANY (ids));
    ELSIF shown_branch <> {ALL_BRANCHES} THEN
        SELECT b.segments INTO path FROM conversations_branch b
        WHERE {_B} AND b.number = shown_branch;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        IF descending THEN {_walk("DESC", "REVERSE jsonb_array_length(path) - 1 .. 0")}
        ELSE {_walk("ASC", "0 .. jsonb_array_length(path) - 1")}
        END IF;
    ELSIF descending THEN
        places := ARRAY(
            SELECT m.sequence FROM conversations_message m
            WHERE {_M} AND m.sequence > above AND m.sequence < below
            ORDER BY m.sequence DESC LIMIT most);
    ELSE
        places := ARRAY(
            SELECT m.sequence FROM conversations_message m
            WHERE {_M} AND m.sequence > above AND m.sequence < below
            ORDER BY m.sequence LIMIT most);
    END IF;
    IF cardinality(places) = 0 THEN
        RETURN;
    END IF;
    IF path IS NULL THEN
        parents := ARRAY(
            SELECT COALESCE(p.sequence, 0) AS sequence FROM conversations_message m
            LEFT JOIN LATERAL {PARENT} AS p ON true
            WHERE {_M} AND m.sequence = ANY (places) ORDER BY sequence);
        highest := parents[cardinality(parents)] + 1;
    ELSE
        -- Along a path each is the parent of the next; only that of the first is to be found.
        SELECT p.id, COALESCE(p.sequence, 0) AS sequence INTO before FROM conversations_message m
        LEFT JOIN LATERAL {PARENT} AS p ON true
        WHERE {_M} AND m.sequence = LEAST(places[1], places[cardinality(places)]);
        highest := GREATEST(places[1], places[cardinality(places)]);
        parents := before.sequence || array_remove(places, highest);
    END IF;
    -- Most pages have no fork: then one look is enough, instead of one for each message.
    IF forks > 0 AND EXISTS (
        SELECT FROM conversations_branch b
        WHERE {_B} AND b.number > 0
            AND b.fork_sequence >= parents[1] AND b.fork_sequence < highest
    ) THEN
        line_end := {_LINE_END};
        SELECT json_object_agg(fork.sequence, ({_CHILDREN})), array_agg(fork.sequence)
        INTO families, forked
        FROM (
            SELECT DISTINCT b.fork_branch AS branch, b.fork_sequence AS sequence
            FROM conversations_branch b
            WHERE {_B} AND b.number > 0 AND b.fork_sequence = ANY (parents)
        ) AS fork;
    END IF;
    IF path IS NULL THEN
        {_shown(_EACH_FOUND, f"LEFT JOIN LATERAL {PARENT} AS p ON true")}
    ELSE
        {_shown(_ALONG_A_PATH)}
    END IF;
END
"""  # noqa: S608

MESSAGES = DatabaseFunction(
    "messages",
    arguments=[
        *("owner integer", "chat uuid", "name_of_chat text", "wanted integer", "ids uuid[]"),
        *("above integer", "below integer", "descending boolean", "most integer"),
    ],
    returns="TABLE (branch integer, sequence integer, status text, body text)",
    body=_BODY,
)


def page_of_messages(
    owner_id: int,
    conversation_id: uuid.UUID,
    *,
    name_of_conversation: str = "conversation_id",
    branch: int | None = None,
    above: int = 0,
    below: int = LAST,
    descending: bool = False,
    limit: int,
) -> list[ShownMessage]:
    """At most `limit` messages with sequences between `above` and `below`, both exclusive.

    `branch` is the number of a branch, None the active one, ALL_BRANCHES all of them. Nothing where
    the owner has no such conversation, or it no such branch. One statement.
    """
    place = (owner_id, conversation_id, name_of_conversation, branch, None)
    rows = MESSAGES.rows(*place, above, below, descending, limit)
    return [ShownMessage._make(row) for row in rows]


def messages_with_ids(
    owner_id: int,
    conversation_id: uuid.UUID,
    ids: Sequence[uuid.UUID],
    *,
    name_of_conversation: str = "conversation_id",
) -> list[ShownMessage]:
    """Those of these messages of a conversation that it has, by sequence. One statement."""
    place = (owner_id, conversation_id, name_of_conversation, ALL_BRANCHES, list(ids))
    return [ShownMessage._make(row) for row in MESSAGES.rows(*place, 0, LAST, False, len(ids))]
