"""Waiting in a thread for what is made to be awaited: where there is no event loop, as under WSGI
and in commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar

from django.db import connection

T = TypeVar("T")
_END: Any = object()


def result_in_thread(wait: Coroutine[Any, Any, T]) -> T:
    """Waits as long as it takes. A thread that waits keeps no database connection."""
    _release_connection()
    return asyncio.run(wait)


def iterate_in_thread(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """The items one by one. A thread that waits keeps no database connection."""
    _release_connection()
    with asyncio.Runner() as runner:
        try:
            while (item := runner.run(_next(items))) is not _END:
                yield item
        finally:
            runner.run(items.aclose())


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items, _END)


def _release_connection() -> None:
    """Close this thread's database connection, unless a transaction is open in it."""
    if not connection.in_atomic_block:
        connection.close()
