"""Reads along the branches of a conversation: the places of a path, in order, and siblings.

Each statement is a few steps of an index, whatever the size of the conversation. They return
sequences; columns are then read by sequence.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from conversations.db.replicas import read_connection
from conversations.models import Branch, Conversation, Message
from conversations.models.branch_path import (
    CONTINUED,
    FIRST_LINE,
    LAST,
    LINE,
    ROOT,
    Path,
    Range,
    number_of,
)

# The place of a message: its `branch` and its `sequence`. (0, 0) is before the first message.
Place = tuple[int, int]
BEGINNING: Place = (FIRST_LINE, 0)


def path_of(owner_id: int, conversation_id: uuid.UUID, number: int) -> Path | None:
    """The path of a branch, or None where there is none of this number."""
    branches = Branch.objects.of(owner_id, conversation_id)
    if branch := branches.filter(number=number).first():
        return branch.path
    return LINE if number == FIRST_LINE and not branches.exists() else None


def shown_path(
    owner_id: int, conversation_id: uuid.UUID, number: int | None = None
) -> tuple[int, Path] | None:
    """The number and the path of a branch, by default the active one, or None where the owner has
    no such conversation, or it no such branch. One statement without forks, else two."""
    conversations = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
    found = conversations.values_list("last_branch", "active_branch").first()
    if found is None:
        return None
    last, active = found
    number = active if number is None else number
    if last == 0:
        return (number, LINE) if number == FIRST_LINE else None
    branch = Branch.objects.of(owner_id, conversation_id).filter(number=number).first()
    return None if branch is None else (number, branch.path)


def on_path(messages: QuerySet[Message], path: Path) -> QuerySet[Message]:
    """Those of these messages of one conversation that are on a path."""
    if path == LINE:
        return messages
    within = Q()
    for range_ in path.ranges():
        within |= _within(range_)
    return messages.filter(within)


def in_range(messages: QuerySet[Message], range_: Range) -> QuerySet[Message]:
    return messages.filter(_within(range_))


def _within(range_: Range) -> Q:
    return Q(branch=range_.branch, sequence__gt=range_.after, sequence__lte=range_.until)


def count_on(owner_id: int, conversation_id: uuid.UUID, path: Path, *, after: int = 0) -> int:
    """The number of stored messages on a path, above a sequence."""
    messages = Message.objects.of(owner_id, conversation_id)
    return sum(in_range(messages, range_).count() for range_ in path.ranges(after))


def places_on(
    messages: QuerySet[Message],
    path: Path,
    *,
    after: int = 0,
    until: int = LAST,
    descending: bool = False,
    limit: int,
) -> list[Place]:
    """The places of at most `limit` of these messages of one conversation, along a path.

    `messages` names the owner and the conversation and may be filtered. Only sequences above
    `after` and up to `until` count; `descending` begins at the end.
    """
    ranges = path.ranges(after, until)
    if descending:
        ranges.reverse()
    found: list[Place] = []
    # The first line is read by the index of sequences, the others by an index of their own.
    for dense in _alternating(ranges):
        if dense[0].branch == FIRST_LINE:
            rows = in_range(messages, dense[0]).order_by("-sequence" if descending else "sequence")
            found += rows.values_list("branch", "sequence")[: limit - len(found)]
        else:
            found += _in_ranges(messages, dense, descending, limit - len(found))
        if len(found) >= limit:
            break
    return found


def _alternating(ranges: list[Range]) -> Iterable[list[Range]]:
    """The range of the first line alone, the others together, in their order."""
    line = [range_ for range_ in ranges if range_.branch == FIRST_LINE]
    others = [range_ for range_ in ranges if range_.branch != FIRST_LINE]
    groups = [line, others] if ranges and ranges[0].branch == FIRST_LINE else [others, line]
    return [group for group in groups if group]


def _in_ranges(
    messages: QuerySet[Message], ranges: list[Range], descending: bool, limit: int
) -> list[Place]:
    """One after the other, no further than needed: the order by place needs no sort."""
    sign, direction = ("-", "DESC") if descending else ("", "")
    inner = messages.exclude(branch=FIRST_LINE).filter(
        branch=RawSQL("part.branch", ()),
        sequence__gt=RawSQL("part.after", ()),
        sequence__lte=RawSQL("part.until", ()),
    )
    rows = inner.order_by(f"{sign}sequence").values_list("branch", "sequence")[:limit]
    sql, parameters = rows.query.sql_with_params()
    # No value comes from outside: the inner statement is compiled.
    statement = f"""
        SELECT found.branch, found.sequence
        FROM unnest(%s::smallint[], %s::integer[], %s::integer[]) WITH ORDINALITY
            AS part (branch, after, until, place)
        CROSS JOIN LATERAL ({sql}) AS found
        ORDER BY part.place, found.sequence {direction} LIMIT {limit:d}
    """  # noqa: S608
    arrays = [[getattr(range_, name) for range_ in ranges] for name in Range.__slots__]
    with read_connection().cursor() as cursor:
        cursor.execute(statement, [*arrays, *parameters])
        return [(branch, sequence) for branch, sequence in cursor.fetchall()]


def latest_up_to(
    messages: QuerySet[Message],
    owner_id: int,
    conversation_id: uuid.UUID,
    place: Place,
    *,
    limit: int,
) -> QuerySet[Message]:
    """At most `limit` of these messages of one conversation, the newest first, on the path to a
    place, inclusive; its sequence may be one that no message has.

    On the first line, which ends with the first fork, everything earlier is on the path: the
    statement is then that of a conversation without branches.
    """
    branch, sequence = place
    if branch == FIRST_LINE:
        found = messages.filter(sequence__lte=sequence)
    else:
        path = path_of(owner_id, conversation_id, number_of(branch)) or ROOT
        places = places_on(messages, path, until=sequence, descending=True, limit=limit)
        found = messages.filter(sequence__in=[sequence for _, sequence in places])
    return found.order_by("-sequence")[:limit]


def place_before(
    owner_id: int, conversation_id: uuid.UUID, path: Path, sequence: int
) -> Place | None:
    """The place of the newest message of a path before a sequence."""
    messages = Message.objects.of(owner_id, conversation_id)
    found = places_on(messages, path, until=sequence - 1, descending=True, limit=1)
    return found[0] if found else None


# What follows a place immediately: the next message of the same branch, and the first one of each
# branch that forked there.
_CHILDREN = """
    SELECT place.branch, place.sequence, child.id
    FROM unnest(%(branches)s::smallint[], %(sequences)s::integer[]) AS place (branch, sequence)
    CROSS JOIN LATERAL (
        (
            SELECT following.id, following.sequence FROM (
                (SELECT id, sequence FROM conversations_message
                WHERE user_id = %(owner)s AND conversation_id = %(conversation)s AND branch = 0
                    AND place.branch = 0
                    AND sequence > place.sequence AND sequence <= COALESCE((
                        SELECT (segments -> 0 ->> 1)::integer FROM conversations_branch
                        WHERE user_id = %(owner)s AND conversation_id = %(conversation)s
                            AND number = 0), %(last)s)
                ORDER BY sequence LIMIT 1)
                UNION ALL
                (SELECT id, sequence FROM conversations_message
                WHERE user_id = %(owner)s AND conversation_id = %(conversation)s
                    AND branch = %(continued)s AND branch <> 0
                    AND place.branch <= 0 AND sequence > place.sequence
                ORDER BY sequence LIMIT 1)
            ) AS following
            ORDER BY sequence LIMIT 1
        )
        UNION ALL
        (
            SELECT id, sequence FROM conversations_message
            WHERE user_id = %(owner)s AND conversation_id = %(conversation)s
                AND branch = place.branch AND branch <> 0 AND place.branch > 0
                AND sequence > place.sequence
            ORDER BY sequence LIMIT 1
        )
        UNION ALL
        (
            SELECT first.id, first.sequence
            FROM conversations_branch AS fork
            CROSS JOIN LATERAL (
                SELECT id, sequence FROM conversations_message
                WHERE user_id = %(owner)s AND conversation_id = %(conversation)s
                    AND branch = fork.number AND branch <> 0
                ORDER BY sequence LIMIT 1
            ) AS first
            WHERE fork.user_id = %(owner)s AND fork.conversation_id = %(conversation)s
                AND fork.number > 0 AND fork.fork_branch = place.branch
                AND fork.fork_sequence = place.sequence
        )
    ) AS child
    ORDER BY child.sequence
"""


def children_of(
    owner_id: int, conversation_id: uuid.UUID, places: Iterable[Place]
) -> dict[Place, list[uuid.UUID]]:
    """The ids of the messages that follow each of these places, in order of arrival:
    siblings of each other."""
    given = list(places)
    values: dict[str, Any] = {
        "owner": owner_id,
        "conversation": conversation_id,
        "branches": [branch for branch, _ in given],
        "sequences": [sequence for _, sequence in given],
        "continued": CONTINUED,
        "last": LAST,
    }
    found: dict[Place, list[uuid.UUID]] = defaultdict(list)
    with read_connection().cursor() as cursor:
        cursor.execute(_CHILDREN, values)
        for branch, sequence, id_ in cursor.fetchall():
            found[branch, sequence].append(id_)
    return found
