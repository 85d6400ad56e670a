"""Answers that nobody runs any more, ended as `interrupted` with what they had."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from conversations.models import Message, Status
from conversations.models.interrupted import INTERRUPTED_COLUMNS, oldest_sign_of_life

# Abandoned answers are ended this many at a time.
BATCH = 500

# Whether the process of this name has ended.
IsDead = Callable[[str], bool]


def interrupt_abandoned(*, owner_id: int, conversation_id: uuid.UUID, is_dead: IsDead) -> bool:
    """End the conversation's running answer if nobody runs it any more, keeping what it had.

    Nobody does when its process is known to be dead, or has not shown a sign of life for
    CHAT_TURN_STALE_SECONDS.
    """
    rows = Message.objects.of(owner_id, conversation_id).filter(status=Status.STREAMING)
    found = rows.values("id", "runner", "updated_at").first()
    if found is None:
        return False
    is_stale = found["updated_at"] < oldest_sign_of_life()
    if not is_stale and not is_dead(found["runner"] or ""):
        return False
    # Only the row that was looked at. A stale one may have come back to life just now; a process
    # that is dead stays so.
    seen = Q(updated_at=found["updated_at"]) if is_stale else Q(runner=found["runner"])
    changed = rows.filter(seen, id=found["id"]).update(**_interrupted())
    return bool(changed == 1)


def interrupt_all_abandoned(*, is_dead: IsDead) -> int:
    """End every answer that nobody runs any more, as `interrupt_abandoned` does; how many.

    Any number of processes may do so at once: each row is ended by one of them. A transaction
    ends at most BATCH answers.
    """
    running = Message.objects.filter(status=Status.STREAMING).order_by()
    found = running.values_list("user_id", "runner", "updated_at")
    oldest = oldest_sign_of_life()
    dead = [name for name in {runner for _, runner, _ in found} if name and is_dead(name)]
    owners = {owner for owner, runner, at in found if at < oldest or runner in dead}
    return sum(_interrupt_of(owner, dead) for owner in owners)


def _interrupt_of(owner_id: int, dead: Sequence[str]) -> int:
    """End those of one owner: rows are locked under one owner alone, as on a sharded database."""
    ended = 0
    while True:
        count = _interrupt_batch(owner_id, dead)
        ended += count
        if count < BATCH:
            return ended


def _interrupt_batch(owner_id: int, dead: Sequence[str]) -> int:
    columns = _interrupted()
    runners, values = list(dead), list(columns.values())
    with connection.cursor() as cursor:
        cursor.execute(
            _INTERRUPT.format(columns=", ".join(f"{name} = %s" for name in columns)),
            [owner_id, Status.STREAMING, oldest_sign_of_life(), runners, BATCH, *values, owner_id],
        )
        return int(cursor.rowcount)


# Reads the rows of the index message_unfinished_idx, of which few are `streaming`. What another
# process is just writing is alive, or being ended: it is passed over.
_INTERRUPT = """
    WITH abandoned AS MATERIALIZED (
        SELECT conversation_id, id FROM conversations_message
        WHERE user_id = %s AND status = %s AND (updated_at < %s OR runner = ANY(%s::varchar[]))
        LIMIT %s FOR UPDATE SKIP LOCKED
    )
    UPDATE conversations_message AS stored SET {columns} FROM abandoned
    WHERE stored.user_id = %s AND stored.conversation_id = abandoned.conversation_id
        AND stored.id = abandoned.id
"""


def _interrupted() -> dict[str, Any]:
    return {**INTERRUPTED_COLUMNS, "runner": None, "updated_at": timezone.now()}
