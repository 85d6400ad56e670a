"""Short database work of running turns, on threads that keep no connection while they wait."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from django.db import connection

from conversations import tracing
from conversations.services.database_errors import why_unavailable

RETRY_AFTER = (0.2, 1.0, 3.0)  # seconds, while the database is away

T = TypeVar("T")


class DatabaseWorker:
    """Runs jobs in turn. A thread closes its connection as soon as no job waits."""

    def __init__(self, name: str, threads: int) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        for number in range(threads):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    async def run(self, job: Callable[[], T]) -> T:
        """The job's result; while the database is away, it is tried a few times again."""
        pauses, job = iter(RETRY_AFTER), tracing.carried(job)
        while True:
            future: Future[T] = Future()
            self._jobs.put((job, future))
            try:
                return await asyncio.wrap_future(future)
            except Exception as error:
                pause = next(pauses, None)
                if pause is None or why_unavailable(error) is None:
                    raise
            await asyncio.sleep(pause)

    def _work(self) -> None:
        while True:
            try:
                job, future = self._jobs.get_nowait()
            except queue.Empty:
                connection.close()
                job, future = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:
                # The next job must not inherit a connection in an unknown state.
                connection.close()
                future.set_exception(error)
