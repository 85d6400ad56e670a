"""Turns that other processes run, watched through their rows.

One look a third of a second reads all that are watched here, on a connection that is closed
after it: how many clients follow costs no connections.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from functools import partial

from django.utils import timezone

from conversations.chat.runtime.db_worker import DatabaseWorker
from conversations.chat.runtime.live_turn import Watched
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.state import TurnState, state_of
from conversations.selectors.turn_log import StoredTurn, TurnName, read_turns
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.turns import why_not_stored

LOOK_SECONDS = 0.3
# A row that its process has not touched for so long is looked at more closely.
SUSPECT_SECONDS = 2.5

log = logging.getLogger(__name__)


class RemoteTurns:
    """The turns that clients of this process watch and others run."""

    def __init__(self, database_worker: DatabaseWorker) -> None:
        self._database = database_worker
        self._lock = threading.Lock()
        self._watched: dict[TurnName, tuple[Watched, int]] = {}
        self._looking = False

    def join(self, turn: StoredTurn, loop: asyncio.AbstractEventLoop) -> Watched:
        with self._lock:
            watched, count = self._watched.get(turn.name, (None, 0))
            watched = watched or Watched(state_of(turn))
            if watched.state.ended:
                return watched
            self._watched[turn.name] = (watched, count + 1)
            if not self._looking:
                self._looking = True
                asyncio.run_coroutine_threadsafe(self._look_again_and_again(), loop)
        return watched

    def leave(self, watched: Watched) -> None:
        name = watched.name
        with self._lock:
            known, count = self._watched.get(name, (None, 0))
            if known is not watched:
                return
            if count > 1:
                self._watched[name] = (watched, count - 1)
            else:
                del self._watched[name]

    async def _look_again_and_again(self) -> None:
        while watched := self._still_watched():
            try:
                self._tell(watched, await self._database.run(partial(_look, watched)))
            except Exception as error:
                log.warning("Turns could not be followed: %s", type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    def _still_watched(self) -> list[Watched]:
        with self._lock:
            found = [watched for watched, _ in self._watched.values()]
            self._looking = bool(found)
        return found

    def _tell(self, watched: list[Watched], states: dict[TurnName, TurnState | str]) -> None:
        for one in watched:
            state = states[one.name]
            if isinstance(state, str):
                with one.change() as gone:
                    gone.status, gone.finish_reason, gone.error = "failed", "not_stored", state
            else:
                state.user_message_id = one.state.user_message_id
                one.replace(state)
            if one.state.ended:
                with self._lock:
                    self._watched.pop(one.name, None)


def _look(watched: list[Watched]) -> dict[TurnName, TurnState | str]:
    """What the rows say of each turn now, or why there are none of its answer any more."""
    names = [one.name for one in watched]
    turns = read_turns(names)
    ended = [_end_if_abandoned(turn) for turn in turns.values()]
    if any(ended):
        turns = read_turns(names)
    return {one.name: _seen(one, turns) for one in watched}


def _seen(watched: Watched, turns: dict[TurnName, StoredTurn]) -> TurnState | str:
    turn, before = turns.get(watched.name), watched.state
    if turn is None or len(turn.steps) < len(before.steps):
        return why_not_stored(before.conversation_id)
    return state_of(turn)


def _end_if_abandoned(turn: StoredTurn) -> bool:
    if turn.last.status != "streaming":
        return False
    if turn.last.updated_at > timezone.now() - timedelta(seconds=SUSPECT_SECONDS):
        return False
    return interrupt_abandoned(conversation_id=turn.conversation_id, is_dead=is_dead)
