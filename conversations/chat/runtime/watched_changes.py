"""Clients that wait for changes: one look a third of a second for all of a process.

All of them share the one thread that looks, and its database connection, which is closed when
nobody waits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from django.db import connection

from conversations.chat.runtime.notice import Notice
from conversations.chat.runtime.shutdown import before_end
from conversations.selectors.changes import ChangeScope
from conversations.services.changes import (
    ChangePage,
    end_of_feed,
    read_changes,
)

LOOK_SECONDS = 0.3

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A client that waits for changes behind `page`, which has none."""

    scope: ChangeScope
    limit: int
    page: ChangePage
    found: Notice = field(default_factory=Notice)


class WatchedChanges:
    """The clients of this process that wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._looking = self._ended = False
        before_end(self._end)

    async def wait(
        self, *, scope: ChangeScope, page: ChangePage, limit: int, seconds: float
    ) -> ChangePage:
        """The next page with changes behind an empty one; an empty one when time is up."""
        waiting = _Waiting(scope, limit, page)
        with waiting.found.next() as found:
            if not self._begin(waiting):
                return page
            try:
                with suppress(TimeoutError):
                    await asyncio.wait_for(found, seconds)
            finally:
                with self._lock:
                    self._waiting.remove(waiting)
        return waiting.page

    def _begin(self, waiting: _Waiting) -> bool:
        """Have it looked for; False if this process ends."""
        with self._lock:
            if self._ended:
                return False
            self._waiting.append(waiting)
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look_until_alone, name="changes", daemon=True).start()
        return True

    def _look_until_alone(self) -> None:
        while waiting := self._still_waiting():
            try:
                _look(waiting)
            except Exception as error:  # the database is away: the next look finds them too
                log.warning("Changes were not looked for: %s", type(error).__name__)
                connection.close()
            time.sleep(LOOK_SECONDS)
        connection.close()

    def _still_waiting(self) -> list[_Waiting]:
        with self._lock:
            self._looking = bool(self._waiting)
            return list(self._waiting)

    def _end(self) -> None:
        """All of them get their empty page, since the process ends."""
        with self._lock:
            self._ended = True
            for one in self._waiting:
                one.found.tell()


def _look(waiting: list[_Waiting]) -> None:
    last = end_of_feed()
    for one in waiting:
        if last > one.page.next_position and not one.page.changes:
            after = one.page.next_position
            one.page = read_changes(scope=one.scope, after=after, limit=one.limit)
            if one.page.changes:
                one.found.tell()


_watched = WatchedChanges()


async def wait_for_changes(
    *, scope: ChangeScope, page: ChangePage, limit: int, seconds: float
) -> ChangePage:
    """The changes behind an empty page that come within so many seconds, or the empty page."""
    return await _watched.wait(scope=scope, page=page, limit=limit, seconds=seconds)
