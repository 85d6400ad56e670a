"""Short database work of running turns, on threads that keep no connection while they wait."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from django.db import connection

from conversations.services.database_errors import why_unavailable

THREADS = 2
PAUSES = (0.2, 1.0, 3.0)  # seconds before another try, while the database is away

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "Future[Any]"]


class DatabaseWorker:
    """Runs jobs in turn. A thread closes its connection as soon as no job waits."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        for number in range(THREADS):
            threading.Thread(target=self._work, name=f"turn-database-{number}", daemon=True).start()

    async def run(self, job: Callable[[], T]) -> T:
        """The job's result; a database that is away is tried a few times again."""
        for pause in PAUSES:
            try:
                return await self._once(job)
            except Exception as error:
                if why_unavailable(error) is None:
                    raise
            await asyncio.sleep(pause)
        return await self._once(job)

    async def _once(self, job: Callable[[], T]) -> T:
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        while True:
            self._do(self._jobs.get())
            try:
                while True:
                    self._do(self._jobs.get_nowait())
            except queue.Empty:
                connection.close()

    @staticmethod
    def _do(entry: _Job) -> None:
        job, future = entry
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(job())
        except BaseException as error:
            # The next job must not inherit a connection in an unknown state.
            connection.close()
            future.set_exception(error)
