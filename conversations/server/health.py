"""Health checks and metrics, which are answered however busy the threads are."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from django.db import connection
from django.http import HttpResponse

from conversations.api.health import is_ready, liveness, readiness
from conversations.api.metrics import metrics_response, refusal_of
from conversations.server.handler import Scope, ServedRequest

READY_SECONDS = 5.0

T = TypeVar("T")


class _Shared(Generic[T]):
    """Work in a thread of its own; all who ask while it is done get the same result."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self._thread, self._work = ThreadPoolExecutor(1, name), work
        self._running: asyncio.Future[T] | None = None

    async def result(self) -> T:
        if self._running is None or self._running.done():
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(self._thread, self._work)
        return await asyncio.shield(self._running)


class HealthChecks:
    """`/healthz`, `/readyz` and `/metrics`; the last two have a thread each."""

    def __init__(self) -> None:
        self._ready = _Shared("readiness", _is_ready)
        self._metrics = _Shared("metrics", metrics_response)

    def answer(self, scope: Scope) -> Awaitable[HttpResponse] | None:
        """None for any other request."""
        if scope["method"] not in ("GET", "HEAD"):
            return None
        match scope["path"]:
            case "/healthz":
                return _done(liveness())
            case "/readyz":
                return self._readiness()
            case "/metrics":
                refusal = refusal_of(ServedRequest(scope, io.BytesIO(), 0))
                return _done(refusal) if refusal else self._metrics.result()
        return None

    async def _readiness(self) -> HttpResponse:
        try:
            async with asyncio.timeout(READY_SECONDS):
                return readiness(ready=await self._ready.result())
        except TimeoutError:
            return readiness(ready=False)


def _is_ready() -> bool:
    """On a connection that no request closes when it has failed."""
    connection.close_if_unusable_or_obsolete()
    return is_ready()


async def _done(response: HttpResponse) -> HttpResponse:
    return response
