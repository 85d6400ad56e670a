"""Short database work of running turns, on a few threads: however many turns wait for their models,
none of them holds a connection."""

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
# For how many seconds a thread keeps its connection without a job. A new one costs the database
# ten times as much as the statement that it is for.
IDLE_SECONDS = 30.0

T = TypeVar("T")


class DatabaseWorker:
    """Runs jobs in turn. A thread closes its connection once it has had no job for a while."""

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
                job, future = self._jobs.get(timeout=_idle_seconds())
            except queue.Empty:
                connection.close()
                job, future = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            connection.close_if_unusable_or_obsolete()
            try:
                future.set_result(job())
            except BaseException as error:
                # The next job must not inherit a connection in an unknown state.
                connection.close()
                future.set_exception(error)


def _idle_seconds() -> float:
    """At most DATABASE_CONN_MAX_AGE, as that of other threads."""
    longest: int | None = connection.settings_dict["CONN_MAX_AGE"]
    return IDLE_SECONDS if longest is None else min(IDLE_SECONDS, longest)
