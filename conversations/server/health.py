"""Health checks, which are answered however busy the threads are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

from django.db import connection
from django.http import HttpResponse

from conversations.api.health import is_ready, liveness, readiness
from conversations.server.handler import Scope

READY_SECONDS = 5.0


class HealthChecks:
    """`/healthz` and `/readyz`, which has a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "readiness")
        self._running: asyncio.Future[bool] | None = None

    def answer(self, scope: Scope) -> Awaitable[HttpResponse] | None:
        """None for any other request."""
        if scope["method"] not in ("GET", "HEAD"):
            return None
        if scope["path"] == "/healthz":
            return _done(liveness())
        return self._readiness() if scope["path"] == "/readyz" else None

    async def _readiness(self) -> HttpResponse:
        """All who ask while the database is asked get the same answer."""
        if self._running is None or self._running.done():
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(self._thread, _is_ready)
        try:
            async with asyncio.timeout(READY_SECONDS):
                return readiness(ready=await asyncio.shield(self._running))
        except TimeoutError:
            return readiness(ready=False)


def _is_ready() -> bool:
    """On a connection that no request closes when it has failed."""
    connection.close_if_unusable_or_obsolete()
    return is_ready()


async def _done(response: HttpResponse) -> HttpResponse:
    return response
