"""Reads that several database sessions do ahead of their use, whose results are used in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Barrier
from typing import TypeVar

from django.db import connections

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(
    items: Iterable[T], read: Callable[[T], R], *, sessions: int
) -> Iterator[tuple[T, R]]:
    """Each item with what `read` returns for it, in order, while the next ones are read.

    At most `sessions` results wait or are read, each in a thread with a database session of its
    own, which does not see what the caller has not committed. With one session nothing is ahead:
    `read` is called in the caller's. An exception of `read` is raised in the place of its result.
    """
    if sessions == 1:
        for item in items:
            yield item, read(item)
        return
    pool = ThreadPoolExecutor(sessions, thread_name_prefix="read-ahead")
    waiting: deque[tuple[T, Future[R]]] = deque()
    rest = iter(items)
    try:
        while True:
            for item in islice(rest, sessions - len(waiting)):
                waiting.append((item, pool.submit(read, item)))
            if not waiting:
                return
            item, result = waiting.popleft()
            yield item, result.result()
    finally:
        for _, result in waiting:
            result.cancel()
        _close_sessions(pool, sessions)


def _close_sessions(pool: ThreadPoolExecutor, threads: int) -> None:
    """Each thread closes its own; none takes a second turn before all have come."""
    all_have_come = Barrier(threads)

    def close() -> None:
        all_have_come.wait()
        connections.close_all()

    for _ in range(threads):
        pool.submit(close)
    pool.shutdown()
