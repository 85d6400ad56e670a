"""A turn that is watched: by any number of clients, each from its own position on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from conversations.chat.events import BEFORE_ALL, Event, EventPosition, events_after
from conversations.chat.runtime.notice import Notice
from conversations.models.turn import Turn


class WatchedTurn:
    """A turn, changed by one thread and watched from the event loops of others."""

    # Seconds after which the provider takes requests again, where it said so.
    retry_after: int | None = None

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._lock = threading.Lock()
        self._changed = Notice()

    @contextmanager
    def change(self) -> Iterator[Turn]:
        with self._lock:
            yield self.turn
        self._changed.tell()

    def replace(self, turn: Turn) -> None:
        with self._lock:
            self.turn = turn
        self._changed.tell()

    async def events(
        self, seen: EventPosition = BEFORE_ALL, *, idle_seconds: float = 15
    ) -> AsyncGenerator[Event | None, None]:
        """The events after `seen` until the end; None whenever nothing came for `idle_seconds`."""
        try:
            while True:
                found, ended = await self._wait_for_events(seen, idle_seconds)
                for event in found:
                    yield event
                if found:
                    seen = found[-1].position
                elif ended:
                    return
                else:
                    yield None
        finally:
            self.leave()

    async def states(self, *, idle_seconds: float = 15) -> AsyncGenerator[Turn | None, None]:
        """The turn as it is now and after each change, until its end; None whenever nothing has
        changed for `idle_seconds`. Whoever watched it so has to `leave`."""
        while True:
            with self._changed.next() as change:
                turn = self.state()
                yield turn
                if turn.ended:
                    return
                await asyncio.wait({change}, timeout=idle_seconds)
                if not change.done():
                    yield None

    async def result(self) -> Turn:
        """The turn at its end, waited for."""
        try:
            while True:
                with self._changed.next() as change:
                    if self.turn.ended:
                        return self.turn
                    await change
        finally:
            self.leave()

    def state(self) -> Turn:
        """The turn as it is now, whatever becomes of it."""
        with self._lock:
            return self.turn.copy()

    def leave(self) -> None:
        """Called once by each who watched; a turn of another process is then read no more."""

    async def _wait_for_events(
        self, seen: EventPosition, seconds: float
    ) -> tuple[list[Event], bool]:
        """The events since then, none when time is up; and whether the turn has ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    with self._changed.next() as change:
                        found, ended = self._events_after(seen)
                        if found or ended:
                            return found, ended
                        await change
        except TimeoutError:
            return self._events_after(seen)

    def _events_after(self, seen: EventPosition) -> tuple[list[Event], bool]:
        with self._lock:
            return events_after(self.turn, seen), self.turn.ended
