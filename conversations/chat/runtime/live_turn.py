"""A turn that can be watched: by any number of threads, each from its own place on."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from conversations.chat.events import Event, Position
from conversations.chat.state import Step, TurnState, events_after
from conversations.models.turn_ids import step_id
from conversations.selectors.turn_log import TurnName
from conversations.services.turns import Progress, Turn


class Watched:
    """A turn's state, changed by one thread and watched by others."""

    def __init__(self, state: TurnState) -> None:
        self.state = state
        self._changed = threading.Condition()

    @property
    def name(self) -> TurnName:
        return self.state.conversation_id, self.state.turn_id

    @contextmanager
    def change(self) -> Iterator[TurnState]:
        with self._changed:
            yield self.state
            self._changed.notify_all()

    def replace(self, state: TurnState) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def wait_for_events(self, seen: Position, seconds: float) -> list[Event]:
        """What came after `seen`, waiting at most so long; an empty list when nothing did."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (found := events_after(self.state, seen)) and not self.state.ended:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return events_after(self.state, seen)
        return found

    def wait_for_end(self) -> TurnState:
        with self._changed:
            self._changed.wait_for(lambda: self.state.ended)
            return self.state


class LiveTurn(Watched):
    """A turn that this process runs."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(
            TurnState(
                turn_id=turn.id,
                conversation_id=turn.conversation_id,
                user_message_id=turn.user_message_id,
                provider=turn.provider,
                model=turn.model,
                steps=[Step(turn.id)],
            )
        )
        self.turn = turn
        self.begun_at = time.monotonic()
        self.task: asyncio.Task[None] | None = None
        # Why it is to end before the model does: "stopped", "interrupted" or "lost".
        self.ended_by = ""
        # Its row is being ended or a next one opened: it is no sign of anything if the row is not
        # found as it was.
        self.writing = False
        # Seconds after which the provider takes requests again, where it said so.
        self.retry_after: int | None = None

    def step_id(self, step: int) -> uuid.UUID:
        return step_id(self.turn.id, step)

    def milliseconds(self) -> int:
        return round((time.monotonic() - self.begun_at) * 1000)

    def end(self, why: str) -> None:
        """End it from the loop's thread; what came is kept."""
        if self.ended_by or self.writing or self.task is None:
            return
        self.ended_by = why
        self.task.cancel()

    def progress(self) -> Progress:
        """What to write now; called from the loop's thread, which alone changes the state."""
        step = self.state.last
        return Progress(
            conversation_id=self.turn.conversation_id,
            message_id=step.message_id,
            content=step.content,
            first_token_ms=self.state.first_token_ms if len(self.state.steps) == 1 else None,
        )
