"""Turns that other processes run, watched through their rows.

One look a third of a second reads all that are watched here, on a connection that is closed
after it: how many clients follow costs no connections.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial

from conversations.chat.runtime.db_worker import DatabaseWorker
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.db import replicas
from conversations.models import Status
from conversations.models.turn import Turn, TurnPk
from conversations.selectors.turn_log import read_turns
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.turns import why_not_stored

LOOK_SECONDS = 0.3
# A row that its process has not touched for so long is looked at more closely.
SUSPECT_AFTER = timedelta(seconds=2.5)

log = logging.getLogger(__name__)


class RemoteTurns:
    """The turns that clients of this process watch and others run."""

    def __init__(self, database: DatabaseWorker, loop: asyncio.AbstractEventLoop) -> None:
        self._database, self._loop = database, loop
        self._lock = threading.Lock()
        self._watched: dict[TurnPk, _RemoteTurn] = {}
        self._looking = False

    def join(self, turn: Turn) -> WatchedTurn:
        with self._lock:
            watched = self._watched.get(turn.pk) or _RemoteTurn(turn, self)
            if watched.turn.ended:
                return watched
            watched.clients += 1
            self._watched[turn.pk] = watched
            if not self._looking:
                self._looking = True
                asyncio.run_coroutine_threadsafe(self._look_again_and_again(), self._loop)
        return watched

    def leave(self, watched: _RemoteTurn) -> None:
        with self._lock:
            watched.clients -= 1
            if watched.clients <= 0 and self._watched.get(watched.turn.pk) is watched:
                del self._watched[watched.turn.pk]

    async def _look_again_and_again(self) -> None:
        while watched := self._still_watched():
            try:
                before = [one.turn for one in watched]
                after = await self._database.run(partial(_look, before))
                for one, turn in zip(watched, after, strict=True):
                    self._tell(one, turn)
            except Exception as error:
                log.warning("Turns could not be followed: %s", type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    def _still_watched(self) -> list[_RemoteTurn]:
        with self._lock:
            found = list(self._watched.values())
            self._looking = bool(found)
        return found

    def _tell(self, watched: _RemoteTurn, turn: Turn) -> None:
        watched.replace(turn)
        if turn.ended:
            with self._lock:
                self._watched.pop(turn.pk, None)


class _RemoteTurn(WatchedTurn):
    """A turn of another process, and how many clients of this one watch it."""

    def __init__(self, turn: Turn, turns: RemoteTurns) -> None:
        super().__init__(turn)
        self.clients = 0
        self._turns = turns

    def leave(self) -> None:
        self._turns.leave(self)


def _look(before: list[Turn]) -> list[Turn]:
    """The turns as their rows tell them now; one whose answer is gone has failed."""
    pks = [turn.pk for turn in before]
    turns = read_turns(pks)
    ended = [_end_if_abandoned(turn) for turn in turns.values()]
    if any(ended):
        turns = read_turns(pks)
    # Their own process may not have kept the position yet.
    replicas.keep_written(*{turn.owner_id for turn in turns.values() if turn.ended})
    return [_seen(turn, turns.get(turn.pk)) for turn in before]


def _seen(before: Turn, now: Turn | None) -> Turn:
    if now is not None and len(now.steps) >= len(before.steps):
        now.user_message_id = before.user_message_id
        return now
    return replace(
        before,
        status=Status.FAILED.value,
        finish_reason="not_stored",
        error=why_not_stored(before),
    )


def _end_if_abandoned(turn: Turn) -> bool:
    """Whether it has now been ended, since nobody runs it any more."""
    if turn.ended or turn.silent_for is None or turn.silent_for < SUSPECT_AFTER:
        return False
    return interrupt_abandoned(
        owner_id=turn.owner_id, conversation_id=turn.conversation_id, is_dead=is_dead
    )
