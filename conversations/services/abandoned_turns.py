"""Answers that nobody runs any more, ended as `interrupted` with what they had."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from conversations.models import Message, Status
from conversations.models.interrupted import INTERRUPTED_COLUMNS, oldest_sign_of_life

# Abandoned answers are ended this many at a time.
BATCH = 500

# Whether the process of this name has ended.
IsDead = Callable[[str], bool]


def interrupt_abandoned(*, owner_id: int, conversation_id: uuid.UUID, is_dead: IsDead) -> bool:
    """End the conversation's running answers that nobody runs any more, keeping what they had;
    whether there were any.

    Nobody does when the process is known to be dead, or has not shown a sign of life for
    CHAT_TURN_STALE_SECONDS.
    """
    rows = Message.objects.of(owner_id, conversation_id).filter(status=Status.STREAMING)
    ended = 0
    for id_, runner, is_stale in rows.values_list("id", "runner", _is_stale()):
        if is_stale or is_dead(runner or ""):
            # Only the row that was looked at. A stale one may have come back to life just now; a
            # process that is dead stays so.
            seen = Q(_is_stale()) if is_stale else Q(runner=runner)
            ended += rows.filter(seen, id=id_).update(**_INTERRUPTED, updated_at=Now())
    return ended > 0


def interrupt_all_abandoned(*, is_dead: IsDead) -> int:
    """End every answer that nobody runs any more, as `interrupt_abandoned` does; how many.

    Any number of processes may do so at once: each row is ended by one of them. A transaction
    ends at most BATCH answers.
    """
    running = Message.objects.filter(status=Status.STREAMING).order_by()
    found = running.values_list("user_id", "runner", _is_stale())
    dead = [name for name in {runner for _, runner, _ in found} if name and is_dead(name)]
    owners = {owner for owner, runner, is_stale in found if is_stale or runner in dead}
    return sum(_interrupt_of(owner, dead) for owner in owners)


def _is_stale() -> ExpressionWrapper:
    return ExpressionWrapper(Q(updated_at__lt=oldest_sign_of_life()), BooleanField())


def _interrupt_of(owner_id: int, dead: Sequence[str]) -> int:
    """End those of one owner: rows are locked under one owner alone, as on a sharded database."""
    ended = 0
    while True:
        count = _interrupt_batch(owner_id, dead)
        ended += count
        if count < BATCH:
            return ended


def _interrupt_batch(owner_id: int, dead: Sequence[str]) -> int:
    limit = settings.CHAT_TURN_STALE_SECONDS
    values: list[Any] = [owner_id, Status.STREAMING, limit, list(dead), BATCH]
    with connection.cursor() as cursor:
        cursor.execute(_INTERRUPT, [*values, *_INTERRUPTED.values(), owner_id])
        return int(cursor.rowcount)


_INTERRUPTED: dict[str, Any] = {**INTERRUPTED_COLUMNS, "runner": None}

# Reads the rows of the index message_unfinished_idx, of which few are `streaming`. What another
# process is just writing is alive, or being ended: it is passed over.
_INTERRUPT = f"""
    WITH abandoned AS MATERIALIZED (
        SELECT conversation_id, id FROM conversations_message
        WHERE user_id = %s AND status = %s AND (
            updated_at < statement_timestamp() - make_interval(secs => %s)
            OR runner = ANY(%s::varchar[])
        )
        LIMIT %s FOR UPDATE SKIP LOCKED
    )
    UPDATE conversations_message AS stored SET
        {", ".join(f"{name} = %s" for name in _INTERRUPTED)}, updated_at = statement_timestamp()
    FROM abandoned
    WHERE stored.user_id = %s AND stored.conversation_id = abandoned.conversation_id
        AND stored.id = abandoned.id
"""  # noqa: S608 (the names of columns above)
