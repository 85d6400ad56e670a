"""Reads pages of the feed of changes: of one owner, of a trusted client's users, of everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from conversations.models import Caller, ChangeKind

# A page ends before the change with which it would name more messages than this.
MAX_MESSAGE_IDS = 10_000


@dataclass(frozen=True, slots=True)
class ChangeScope:
    """Whose changes: the rows that any of the conditions finds, each by an index of its own."""

    conditions: tuple[str, ...]
    values: dict[str, Any]


@dataclass(slots=True)
class FoundChange:
    """A change as it is read. `username` is None where the owner was erased; `message_ids` are
    those of the messages that are still there."""

    position: int
    kind: str
    username: str | None
    conversation_id: UUID
    first_sequence: int | None
    last_sequence: int | None
    created_at: datetime
    message_ids: list[UUID]


NOBODYS = ChangeScope((), {})


def changes_of_owner(owner_id: int) -> ChangeScope:
    return ChangeScope(("change.user_id = %(owner)s",), {"owner": owner_id})


def changes_of_everybody(caller: Caller) -> ChangeScope:
    """Of all whom this caller may read.

    For a trusted client that is its own account, the users of its namespace but staff, and users
    that were gone before anybody knew their namespace: of them there are only deletions.
    """
    if caller.reader:
        return ChangeScope(("true",), {})
    return ChangeScope(
        (
            "change.user_id = %(owner)s",
            "change.namespace = %(namespace)s AND change.user_id <> %(owner)s"
            " AND NOT COALESCE(owner.is_staff OR owner.is_superuser, false)",
            "change.namespace IS NULL AND change.user_id <> %(owner)s",
        ),
        {"owner": caller.user.pk, "namespace": caller.namespace},
    )


_PART = """(
    SELECT change.position, change.kind, owner.username, change.conversation_id,
        change.first_sequence, change.last_sequence, change.created_at,
        CASE WHEN change.message_id IS NULL THEN '{{}}'::uuid[] ELSE ARRAY[change.message_id] END
    FROM conversations_change change LEFT JOIN auth_user owner ON owner.id = change.user_id
    WHERE {condition} AND change.position > %(after)s AND change.position <= %(until)s
    ORDER BY change.position LIMIT %(limit)s)"""

_PAGE = "SELECT * FROM ({parts}) found ORDER BY position LIMIT %(limit)s"


def find_changes(
    scope: ChangeScope, *, after: int, until: int, limit: int
) -> tuple[list[FoundChange], bool]:
    """At most `limit` changes behind `after`, up to `until`, in order; and whether there may be
    more."""
    if not scope.conditions:
        return [], False
    parts = " UNION ALL ".join(_PART.format(condition=one) for one in scope.conditions)
    values = scope.values | {"after": after, "until": until, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_PAGE.format(parts=parts), values)
        rows = cursor.fetchall()
    found = [FoundChange(*row) for row in rows]
    kept = _within_bounds(found)
    _name_created_messages(kept)
    return kept, len(found) == limit or len(kept) < len(found)


def _within_bounds(found: list[FoundChange]) -> list[FoundChange]:
    """As many as name at most MAX_MESSAGE_IDS messages, but one at least."""
    count = 0
    for place, change in enumerate(found):
        if change.first_sequence is not None and change.last_sequence is not None:
            count += change.last_sequence - change.first_sequence + 1
        if place and count > MAX_MESSAGE_IDS:
            return found[:place]
    return found


def _name_created_messages(found: Sequence[FoundChange]) -> None:
    created = {one.position: one for one in found if one.kind == ChangeKind.MESSAGE_CREATED}
    if not created:
        return
    with connection.cursor() as cursor:
        cursor.execute(_CREATED, [list(created)])
        for position, ids in cursor.fetchall():
            created[position].message_ids = ids


_CREATED = """
    SELECT change.position, array_agg(message.id ORDER BY message.sequence)
    FROM conversations_change change
    JOIN conversations_message message ON message.user_id = change.user_id
        AND message.conversation_id = change.conversation_id
        AND message.sequence BETWEEN change.first_sequence AND change.last_sequence
    WHERE change.position = ANY(%s)
    GROUP BY change.user_id, change.position
"""
