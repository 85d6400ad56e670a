"""The ASGI application: requests run whole in a fixed pool of threads, everything that waits does
so in the event loop.

Django's own ASGI handler makes a thread and a database connection for each request. Here a thread
keeps its connection, and it has no part in reading a body, waiting for a model or for changes, or
sending to a slow client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import IO, Any, TypeVar

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from conversations import metrics, tracing
from conversations.api.waiting import LaterResponse, LiveStream
from conversations.chat.llm.agent_loop import library
from conversations.chat.runtime.import_process import start_importing
from conversations.chat.runtime.reaper import start_reaping
from conversations.chat.runtime.runner import running_turns
from conversations.chat.runtime.shutdown import run_hooks
from conversations.server.admission import Admission, Busy, may_wait
from conversations.server.handler import Handler, Scope, head_of, pieces_of
from conversations.server.health import HealthChecks
from conversations.server.refusals import Refusal, refuse
from conversations.server.request_body import ClientLeft, Message, Receive, RequestBody

Send = Callable[[Message], Awaitable[None]]

# The last line of a file whose making has failed. No reader of this project takes it for data.
NOT_COMPLETE = b"\nThe server failed here: this file is not complete.\n"
# How often a process says what it does now.
FIGURES_SECONDS = 1.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class Application:
    """One for each process. Its threads start with the first requests."""

    def __init__(self) -> None:
        self._handler = Handler()
        self._threads = ThreadPoolExecutor(settings.WEB_THREADS, "request")
        self._admission = Admission(settings.WEB_THREADS)
        self._health = HealthChecks()
        self._requests = self._waiting = self._in_threads = 0
        self._shows_figures: asyncio.Task[None] | None = None
        self._is_started = self._closes_connections = False
        self._gives_streams_away = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    @property
    def header_seconds(self) -> float:
        return float(settings.WEB_HEADER_SECONDS)

    @property
    def is_idle(self) -> bool:
        """Whether neither a request nor a turn is left."""
        return not self._requests and not running_turns()

    def preload(self) -> None:
        """Load what the first turn needs: about a second of processor time and 60 MB, which those
        share that are forked from this process. Starts no thread and opens no connection."""
        if settings.CHAT_PROVIDER:
            library()

    def start(self) -> None:
        """What runs in the background, in the process that serves: it may be forked from the one
        that has made this. By the first request, under a server that does not tell of its start."""
        self._is_started = True
        tracing.start()
        metrics.show_server(self._figures())
        start_reaping()
        start_importing()

    def end(self) -> None:
        """End what runs in the background, in the calling thread; streams of it end by that."""
        run_hooks()

    def close_connections(self) -> None:
        """After their response, from now on: clients are to go to another process."""
        self._closes_connections = True

    def give_streams_away(self) -> None:
        """Those that clients resume by themselves end now: clients go on at another process."""
        self._gives_streams_away.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        """The start and the end, under a server that tells of them."""
        while True:
            event = (await receive())["type"]
            if event == "lifespan.startup":
                self.start()
            if event == "lifespan.shutdown":
                await asyncio.to_thread(self.end)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            if not self._is_started:
                self.start()
            if (answer := self._health.answer(scope)) is not None:
                await self._send(await answer, send)
            else:
                await self._answer(scope, receive, send)
        except ClientLeft:
            pass
        except Refusal as refusal:
            await self._send(refuse(scope, refusal, started), send, close=refusal.closes)
        except Exception:
            log.exception("A request failed outside of its view")
            with suppress(Exception):  # the response may have begun
                await self._send(refuse(scope, Refusal.failed(), started), send, close=True)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._requests += 1
        if self._shows_figures is None:
            self._shows_figures = asyncio.create_task(self._show_figures())
        try:
            await self._answer_counted(scope, receive, send)
        finally:
            self._requests -= 1

    async def _answer_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_room(scope)
        body = RequestBody(scope["headers"], settings.CHAT_MAX_BODY_BYTES)
        try:
            content = await body.read(receive, settings.WEB_BODY_SECONDS)
        except TimeoutError:
            raise Refusal.slow_body() from None
        response = await self._respond(scope, content, body.length)
        if isinstance(response, LaterResponse):
            await self._complete(response, receive)
            response = response.stream or response
        if isinstance(response, StreamingHttpResponse):
            await self._stream(response, scope, receive, send)
        else:
            await self._send(response, send)

    def _check_room(self, scope: Scope) -> None:
        if self._requests > settings.WEB_REQUESTS:
            raise Refusal.too_many_requests()
        if self._waiting >= settings.WEB_STREAMS and may_wait(scope):
            raise Refusal.too_many_streams()

    async def _respond(self, scope: Scope, content: IO[bytes], length: int) -> HttpResponseBase:
        try:
            async with self._admission.place(scope, content):
                return await self._in_thread(self._handler.respond, scope, content, length)
        except Busy:
            raise Refusal.busy() from None

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        self._in_threads += 1
        try:
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self._in_threads -= 1

    async def _show_figures(self) -> None:
        """For /metrics, which another process may be asked for. No request pays for it."""
        while True:
            metrics.show_server(self._figures())
            await asyncio.sleep(FIGURES_SECONDS)

    def _figures(self) -> dict[str, int]:
        threads = settings.WEB_THREADS
        return {
            "requests": self._requests,
            "waiting": self._waiting,
            "queued": max(0, self._in_threads - threads) + self._admission.waiting,
            "busy_threads": min(self._in_threads, threads),
            "threads": threads,
            "turns": running_turns(),
        }

    async def _complete(self, response: LaterResponse[Any], receive: Receive) -> None:
        self._waiting += 1
        try:
            waited = await _first(response.wait(), _disconnected(receive))
        finally:
            self._waiting -= 1
        if waited is None:
            await self._in_thread(response.abandon)
            raise ClientLeft
        await self._in_thread(response.complete, waited.result())

    async def _send(self, response: HttpResponseBase, send: Send, *, close: bool = False) -> None:
        assert isinstance(response, HttpResponse)
        await self._send_head(response, send, close=close)
        await send({"type": "http.response.body", "body": response.content})

    async def _send_head(
        self, response: HttpResponseBase, send: Send, *, close: bool = False
    ) -> None:
        headers = head_of(response)
        if close or self._closes_connections:
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": response.status_code}
        await send(start | {"headers": headers})

    async def _stream(
        self, response: StreamingHttpResponse, scope: Scope, receive: Receive, send: Send
    ) -> None:
        is_live = isinstance(response, LiveStream)
        parts = response.parts if isinstance(response, LiveStream) else self._pieces(response)
        self._waiting += is_live
        try:
            await self._send_head(response, send)
            ends, resumable = [_disconnected(receive)], asyncio.Event()
            if is_live and scope["method"] == "GET":  # an EventSource comes back by itself
                ends.append(self._given_away(resumable))
            if sent := await _first(_send_parts(parts, send, resumable), *ends):
                sent.result()
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._waiting -= is_live
            await self._in_thread(response.close)

    async def _given_away(self, resumable: asyncio.Event) -> None:
        await resumable.wait()
        await self._gives_streams_away.wait()

    async def _pieces(self, response: StreamingHttpResponse) -> AsyncGenerator[bytes, None]:
        """A body that is read piece by piece, without a thread between two of them."""
        pieces = pieces_of(response)
        try:
            while (piece := await self._in_thread(next, pieces, None)) is not None:
                yield piece
        except Exception:
            # Nothing tells a client of HTTP that a body has been cut off here: granian ends it as
            # if it were whole.
            log.exception("A response has failed after its beginning")
            yield NOT_COMPLETE


async def _send_parts(
    parts: AsyncGenerator[bytes, None], send: Send, resumable: asyncio.Event
) -> None:
    """`resumable` is set once a client knows an event from which it can go on."""
    async with aclosing(parts):
        async for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if part.startswith(b"id: "):
                resumable.set()


async def _disconnected(receive: Receive) -> None:
    """Waits until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(
    work: Coroutine[Any, Any, T], *ends: Coroutine[Any, Any, object]
) -> asyncio.Task[T] | None:
    """`work` once it is done; None if another one was done first: `work` is cancelled then."""
    task = asyncio.ensure_future(work)
    others = [asyncio.ensure_future(end) for end in ends]
    try:
        await asyncio.wait([task, *others], return_when=asyncio.FIRST_COMPLETED)
        return task if task.done() else None
    finally:
        unfinished = [one for one in (task, *others) if not one.done()]
        for one in unfinished:
            one.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
