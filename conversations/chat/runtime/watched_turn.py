"""A turn that is watched: by any number of threads, each from its own position on."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from conversations.chat.events import BEFORE_ALL, Event, EventPosition, events_after
from conversations.models.turn import Turn


class WatchedTurn:
    """A turn, changed by one thread and watched by others."""

    # Seconds after which the provider takes requests again, where it said so.
    retry_after: int | None = None

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._changed = threading.Condition()

    @contextmanager
    def change(self) -> Iterator[Turn]:
        with self._changed:
            yield self.turn
            self._changed.notify_all()

    def replace(self, turn: Turn) -> None:
        with self._changed:
            self.turn = turn
            self._changed.notify_all()

    def events(
        self, seen: EventPosition = BEFORE_ALL, *, idle_seconds: float = 15
    ) -> Generator[Event | None, None, None]:
        """The events after `seen` until the end; None whenever nothing came for `idle_seconds`."""
        try:
            while True:
                found = self._wait_for_events(seen, idle_seconds)
                if not found and self.turn.ended:
                    return
                yield from found or (None,)
                if found:
                    seen = found[-1].position
        finally:
            self.leave()

    def result(self) -> Turn:
        """The turn at its end, waited for."""
        try:
            with self._changed:
                self._changed.wait_for(lambda: self.turn.ended)
                return self.turn
        finally:
            self.leave()

    def leave(self) -> None:
        """Called once by each who watched; a turn of another process is then read no more."""

    def _wait_for_events(self, seen: EventPosition, seconds: float) -> list[Event]:
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (found := events_after(self.turn, seen)) and not self.turn.ended:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return events_after(self.turn, seen)
        return found
