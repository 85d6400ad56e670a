"""What one thread tells to coroutines that wait, in whatever event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Notice:
    """Told by any thread, awaited in any number of event loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[asyncio.Future[None]] = set()

    @contextmanager
    def next(self) -> Iterator[asyncio.Future[None]]:
        """A future of the running loop that is done at the next `tell`. Look at what is told of
        after this call, so that nothing is missed."""
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.add(future)
        try:
            yield future
        finally:
            with self._lock:
                self._waiting.discard(future)

    def tell(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            with suppress(RuntimeError):  # its loop was closed: nobody waits there
                future.get_loop().call_soon_threadsafe(_be_done, future)


def _be_done(future: asyncio.Future[None]) -> None:
    if not future.done():  # it was cancelled
        future.set_result(None)
