"""Messages as the API shows them: a page of a branch, of all branches, or single messages.

The database writes a page as JSON, each message with its parent and its siblings, and it is sent on
as it is. In a conversation with one line a page is one range of one index, and a message's parent
the row before it; where there are branches it is the few ranges of the path that the page touches.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from conversations.db.functions import DatabaseFunction
from conversations.db.json_text import COMPACT, Member, members_of, object_of
from conversations.formats import RECORDED_FIELDS
from conversations.models import Message, Status
from conversations.models.branch_path import LAST
from conversations.models.interrupted import INTERRUPTED_COLUMNS, stale_after
from conversations.selectors.tree_sql import CHILDREN, LINE_END, PARENT, B, M, P

# The columns of a message that responses have, besides its conversation, `branch`, `parent_id`
# and `siblings`.
SHOWN_COLUMNS = ("id", "conversation_id", "sequence", *RECORDED_FIELDS, "updated_at")

# In the place of a branch's number: the messages of all branches, by sequence.
ALL_BRANCHES = -1


class MessagePage(NamedTuple):
    """Messages as JSON objects in UTF-8, separated by commas. `first` and `last` are the lowest and
    the highest of their sequences; `more`: there are others beyond them, within the bounds.
    `branch` is the number of the branch that is read, of all -1.
    """

    branch: int
    first: int
    last: int
    more: bool
    json: bytes


def _object() -> str:
    """The message `page` as JSON text. After the id stands its conversation, by the name that the
    caller's contract gives it: of_chat, which all messages of a page have."""
    names = [name for name in SHOWN_COLUMNS if name != "conversation_id"]
    id_text = {"id": """('"' || page.id || of_chat)"""}
    id_, sequence, *others = members_of(Message, names, "page", COMPACT, id_text)
    of_tree = [
        Member("branch", "greatest(page.branch, 0)::text"),
        Member("parent_id", """('"' || page.parent_id || '"')""", "page.parent_id"),
        Member("siblings", "page.siblings::text", "page.siblings"),
    ]
    return object_of([id_, sequence, *of_tree, *others], COMPACT)


def _shown_column(name: str) -> str:
    """An abandoned answer is shown as interrupted (`models/interrupted.py`)."""
    if name not in INTERRUPTED_COLUMNS:
        return f"m.{name}"
    return f"""CASE WHEN m.status = '{Status.STREAMING}'
        AND m.updated_at < statement_timestamp() - stale
        THEN '{INTERRUPTED_COLUMNS[name]}' ELSE m.{name} END AS {name}"""


_COLUMNS = ", ".join(_shown_column(name) for name in ("branch", *SHOWN_COLUMNS))


def _page(rows: str) -> str:
    """Write the rows `page` to the result; `place` counts them in the order in which they are read.
    One more than `most` may have been."""
    return f"""
        SELECT min(page.sequence) FILTER (WHERE page.place <= most),
            max(page.sequence) FILTER (WHERE page.place <= most),
            count(*) > most,
            string_agg({_object()}, ','
                ORDER BY CASE WHEN backward THEN -page.place ELSE page.place END)
                FILTER (WHERE page.place <= most)
        INTO first, last, more, body
        FROM ({rows}) AS page;"""  # noqa: S608


def _line(direction: str, neighbour: str) -> str:
    """A page of a conversation with one line, in one direction."""
    return _page(f"""
        SELECT {_COLUMNS}, NULL::json AS siblings, row_number() OVER line AS place, COALESCE(
            {neighbour}(m.id) OVER line,
            (SELECT p.id FROM conversations_message p
            WHERE {P} AND p.sequence < m.sequence ORDER BY p.sequence DESC LIMIT 1)
        ) AS parent_id
        FROM (
            SELECT * FROM conversations_message m
            WHERE {M} AND m.sequence > above AND m.sequence < below
            ORDER BY m.sequence {direction} LIMIT most + 1
        ) AS m WINDOW line AS (ORDER BY m.sequence {direction})""")  # noqa: S608


def _walk(direction: str, segments: str) -> str:
    """Collect in `places` the sequences of a page of the path, segment by segment."""
    within = f"""m.sequence > low AND m.sequence <= high
                    ORDER BY m.sequence {direction} LIMIT most + 1 - cardinality(places)"""
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
                    WHERE {M} AND m.branch = 0 AND {within});
            ELSE
                places := places || ARRAY(
                    SELECT m.sequence FROM conversations_message m
                    WHERE {M} AND m.branch = written_to AND m.branch <> 0 AND {within});
            END IF;
            EXIT WHEN cardinality(places) > most;
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
    return _page(f"""
        SELECT page.*, {_SIBLINGS} AS siblings, row_number() OVER (
            ORDER BY CASE WHEN descending THEN -page.sequence ELSE page.sequence END) AS place
        FROM (
            SELECT {_COLUMNS}, {parents} FROM conversations_message m {joined}
            WHERE {M} AND m.sequence = ANY (places)
        ) AS page""")  # noqa: S608


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
    of_chat text := '","' || name_of_chat || '":"' || chat || '"';
BEGIN
    SELECT c.last_branch, COALESCE(wanted, c.active_branch) INTO forks, shown_branch
    FROM conversations_conversation c WHERE c.user_id = owner AND c.id = chat;
    IF NOT FOUND OR (forks = 0 AND shown_branch > 0) THEN
        RETURN;
    END IF;
    branch := shown_branch;
    IF ids IS NULL AND forks = 0 THEN
        branch := 0;
        IF descending THEN {_line("DESC", "lead")}
        ELSE {_line("ASC", "lag")}
        END IF;
        RETURN NEXT;
        RETURN;
    END IF;
    IF ids IS NOT NULL THEN
        places := ARRAY(
            SELECT m.sequence FROM conversations_message m WHERE {M} AND m.id = ANY (ids));
    ELSIF shown_branch <> {ALL_BRANCHES} THEN
        SELECT b.segments INTO path FROM conversations_branch b
        WHERE {B} AND b.number = shown_branch;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        IF descending THEN {_walk("DESC", "REVERSE jsonb_array_length(path) - 1 .. 0")}
        ELSE {_walk("ASC", "0 .. jsonb_array_length(path) - 1")}
        END IF;
    ELSIF descending THEN
        places := ARRAY(
            SELECT m.sequence FROM conversations_message m
            WHERE {M} AND m.sequence > above AND m.sequence < below
            ORDER BY m.sequence DESC LIMIT most + 1);
    ELSE
        places := ARRAY(
            SELECT m.sequence FROM conversations_message m
            WHERE {M} AND m.sequence > above AND m.sequence < below
            ORDER BY m.sequence LIMIT most + 1);
    END IF;
    IF cardinality(places) = 0 THEN
        RETURN;
    END IF;
    IF path IS NULL THEN
        parents := ARRAY(
            SELECT COALESCE(p.sequence, 0) AS sequence FROM conversations_message m
            LEFT JOIN LATERAL {PARENT} AS p ON true
            WHERE {M} AND m.sequence = ANY (places) ORDER BY sequence);
        highest := parents[cardinality(parents)] + 1;
    ELSE
        -- Along a path each is the parent of the next; only that of the first is to be found.
        SELECT p.id, COALESCE(p.sequence, 0) AS sequence INTO before FROM conversations_message m
        LEFT JOIN LATERAL {PARENT} AS p ON true
        WHERE {M} AND m.sequence = LEAST(places[1], places[cardinality(places)]);
        highest := GREATEST(places[1], places[cardinality(places)]);
        parents := before.sequence || array_remove(places, highest);
    END IF;
    -- Most pages have no fork: then one look is enough, instead of one for each message.
    IF forks > 0 AND EXISTS (
        SELECT FROM conversations_branch b
        WHERE {B} AND b.number > 0
            AND b.fork_sequence >= parents[1] AND b.fork_sequence < highest
    ) THEN
        line_end := {LINE_END};
        SELECT json_object_agg(fork.sequence, ({CHILDREN})), array_agg(fork.sequence)
        INTO families, forked
        FROM (
            SELECT DISTINCT b.fork_branch AS branch, b.fork_sequence AS sequence
            FROM conversations_branch b
            WHERE {B} AND b.number > 0 AND b.fork_sequence = ANY (parents)
        ) AS fork;
    END IF;
    IF path IS NULL THEN
        {_shown(_EACH_FOUND, f"LEFT JOIN LATERAL {PARENT} AS p ON true")}
    ELSE
        {_shown(_ALONG_A_PATH)}
    END IF;
    RETURN NEXT;
END
"""  # noqa: S608

MESSAGES = DatabaseFunction(
    "messages",
    arguments=[
        *("owner integer", "chat uuid", "name_of_chat text", "wanted integer", "ids uuid[]"),
        *("above integer", "below integer", "descending boolean", "backward boolean"),
        *("most integer", "stale interval"),
    ],
    returns="TABLE (branch integer, first integer, last integer, more boolean, body text)",
    body=_BODY,
    texts_as_bytes=True,
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
    backward: bool = False,
    limit: int,
) -> MessagePage | None:
    """The first `limit` messages with sequences between `above` and `below`, both exclusive, or the
    last ones where they are read `descending`. They are in the order in which they are read, or
    with `backward` in the other one.

    `branch` is the number of a branch, None the active one, ALL_BRANCHES all of them. None where
    there are no such messages, the owner has no such conversation, or it no such branch. One
    statement.
    """
    place = (owner_id, conversation_id, name_of_conversation, branch, None)
    return _found(*place, above, below, descending, backward, limit)


def messages_with_ids(
    owner_id: int,
    conversation_id: uuid.UUID,
    ids: Sequence[uuid.UUID],
    *,
    name_of_conversation: str = "conversation_id",
    descending: bool = False,
) -> MessagePage | None:
    """Those of these messages of a conversation that it has, by sequence. One statement."""
    place = (owner_id, conversation_id, name_of_conversation, ALL_BRANCHES, list(ids))
    return _found(*place, 0, LAST, descending, False, len(ids))


def _found(*values: Any) -> MessagePage | None:
    for row in MESSAGES.rows(*values, stale_after()):
        page = MessagePage._make(row)
        return page if page.json else None
    return None
