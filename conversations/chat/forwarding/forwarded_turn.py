"""A turn whose request a client has made itself: passed through to the provider, and recorded.

It has one client, which sent the history and runs the tools, and it ends with that client. Others
may watch it as they do any turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from django.conf import settings

from conversations.chat.errors import FAILURES, Failure, TurnFailed, failure_named
from conversations.chat.forwarding.chat_chunks import (
    Calls,
    as_chunk,
    chunks_of,
    instead_of_text,
    text_and_reasoning,
)
from conversations.chat.forwarding.chunk_queue import ChunkQueue
from conversations.chat.forwarding.request import ChatRequest
from conversations.chat.forwarding.upstream import DONE, Upstream, ask, http_library
from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.llm.providers import Provider, traced_call
from conversations.chat.runtime.runner import runner
from conversations.chat.runtime.running_turn import RunningTurn
from conversations.models import Status
from conversations.models.turn import Turn
from conversations.services.turns import record_tool_calls

PATH = "/chat/completions"
# A client that has read nothing for so long is taken for gone.
STALLED_SECONDS = 60.0
EMPTY = "empty_answer"
UNFINISHED_CALLS = "unfinished_tool_calls"

Json = dict[str, Any]


class ForwardedTurn(RunningTurn):
    """`chunks` or, for a request without `stream`, `answer` is for its client, once."""

    def __init__(self, turn: Turn, provider: Provider, request: ChatRequest) -> None:
        super().__init__(turn, provider)
        self.answer_id = f"chatcmpl-{turn.id.hex}"
        self._asked = request
        self._calls = Calls()
        self._queue = ChunkQueue()
        self._whole: Json | None = None
        self._failure: Failure | None = None

    # For its client, from any event loop:

    async def begins(self) -> bool:
        """Waits for the first chunk; False where the turn has ended without any."""
        try:
            return await self._queue.begins()
        except asyncio.CancelledError:
            self.client_left()
            raise

    async def chunks(self, *, idle_seconds: float = 15) -> AsyncGenerator[Json | None, None]:
        """The provider's chunks as they come, with our id; None whenever there was nothing else to
        send for so long. At the end the turn has ended, and is stored."""
        try:
            async with aclosing(self._queue.items(idle_seconds)) as items:
                async for item in items:
                    yield item
        finally:
            self.client_left()

    async def answer(self) -> Json | None:
        """The provider's answer with our id, waited for; None where it gave none."""
        try:
            await self.result()
            return self._whole
        finally:
            self.client_left()

    def client_left(self) -> None:
        """Nothing happens once the turn has ended."""
        self.end_soon(Status.STOPPED)

    @property
    def failure(self) -> Failure | None:
        """Why the client does not get a whole answer; None while it may, and where it does: an
        empty answer of the provider's is one."""
        if not self.turn.ended or self.turn.succeeded or self.turn.finish_reason == EMPTY:
            return None
        return self._failure or failure_named(self.turn.finish_reason)

    # In the loop of all turns:

    async def run(self, mcp_servers: McpServers) -> None:
        try:
            await super().run(mcp_servers)
        finally:
            self._queue.close()

    def _import(self) -> None:
        http_library()

    async def _answer(self, mcp_servers: McpServers) -> Turn:
        asked = self._asked
        # One that comes whole may come after a long silence.
        silence = self._provider.timeout if asked.streams else settings.CHAT_TURN_SECONDS
        with traced_call(self._provider, asked.body) as self._trace_chunk:
            async with ask(self._provider, PATH, asked.body, silence=silence) as upstream:
                await self._read(upstream)
        return await self._completed()

    async def _read(self, upstream: Upstream) -> None:
        if not self._asked.streams:
            self._whole = await self._take_whole(upstream)
        elif upstream.streams:
            await self._pass_on(upstream)
        else:
            for chunk in chunks_of(await self._take_whole(upstream)):
                await self._show(chunk, 0)

    async def _take_whole(self, upstream: Upstream) -> Json:
        answer = await upstream.whole()
        if not isinstance(answer.get("choices"), list):
            raise TurnFailed(FAILURES["provider_unreadable"])
        self._take(as_chunk(answer))
        # All of it came at once.
        self.turn.last.first_token_ms = None
        return answer | {"id": self.answer_id}

    async def _pass_on(self, upstream: Upstream) -> None:
        async with aclosing(upstream.events()) as events:
            async for data in events:
                if data is None:
                    await self._put(None, 1)
                elif data == DONE:
                    return
                else:
                    chunk = upstream.read(data)
                    self._take(chunk)
                    await self._show(chunk, len(data))
        if self._observed.finish_reason is None:
            raise TurnFailed(FAILURES["provider_broke_off"])

    def _take(self, chunk: Json) -> None:
        """What the record gets of a chunk."""
        self._trace_chunk(chunk)
        self._observed.take(chunk, self.turn.model)
        self._calls.take(chunk)
        text, reasoning = text_and_reasoning(chunk)
        if text or reasoning:
            self._say(text, reasoning)

    async def _show(self, chunk: Json, size: int) -> None:
        """What the client gets of it: without the counts that it has not asked for."""
        shown = chunk | {"id": self.answer_id}
        if not self._asked.wants_usage:
            if chunk.get("usage") and not chunk.get("choices"):
                return
            if "usage" in chunk and chunk["usage"] is None:
                del shown["usage"]
        await self._put(shown, size)

    async def _put(self, item: Json | None, size: int) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self._queue.put(item, size)
        except TimeoutError:
            raise TurnFailed(FAILURES["client_too_slow"]) from None

    async def _completed(self) -> Turn:
        turn, calls = self.turn, self._calls.found()
        if not (turn.last.content or turn.last.parts or calls):
            text, turn.last.parts = instead_of_text(self._observed.extra)
            self._say(text)
        if calls:
            self._take_observed()
            await self._record(record_tool_calls, calls=calls)
            with self.change():
                turn.last.calls = calls
        last = turn.last
        if not (last.content or last.reasoning or last.parts or last.calls):
            return self._ended(Status.FAILED, EMPTY, FAILURES[EMPTY].text)
        return self._ended(Status.COMPLETE, self._observed.finish_reason)

    def _ended(self, status: Status, finish_reason: str | None, error: str | None = None) -> Turn:
        calls = self._calls.found()
        if calls and not self.turn.last.calls:
            # Nobody can run them.
            self._observed.extra[UNFINISHED_CALLS] = [call.as_json() for call in calls]
        return super()._ended(status, finish_reason, error)

    def _note(self, failure: Failure) -> None:
        super()._note(failure)
        self._failure = failure


def forward(turn: Turn, provider: Provider, request: ChatRequest) -> ForwardedTurn:
    """Begin to ask the provider in the background, for a turn whose messages are stored or which is
    not to be."""
    forwarded = ForwardedTurn(turn, provider, request)
    runner().start(forwarded)
    return forwarded
