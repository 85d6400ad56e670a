"""A Response of a provider that speaks the Responses API itself: its events, with our ids.

The provider is asked to store nothing: the state is ours. A client that waits on the line gets the
provider's own events; who comes back to one in the background gets those of `events.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from copy import deepcopy
from typing import Any

from conversations.chat.errors import FAILURES, TurnFailed
from conversations.chat.forwarding.chat_chunks import Calls
from conversations.chat.forwarding.upstream import DONE, Upstream, ask, failure_in
from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.llm.providers import Provider, traced_call
from conversations.chat.responses.asked import Asked, Json
from conversations.chat.responses.history import Context, for_responses
from conversations.chat.responses.output import Output, as_stored, is_item
from conversations.chat.responses.responding_turn import RespondingTurn
from conversations.chat.responses.response import (
    CHAT_REASONS,
    beyond,
    empty_response,
)
from conversations.chat.tool_results import storable
from conversations.formats import Malformed
from conversations.formats.content_parts import text_of
from conversations.formats.sdk_message import MAX_CHARS
from conversations.formats.tool_calls import calls_in
from conversations.models import Status
from conversations.models.turn import ToolCall, Turn

PATH = "/responses"
# The state is ours; so is what runs in the background.
_OURS = frozenset(
    {"conversation", "conversation_id", "previous_response_id", "background", "background_options"}
)
_ENDS = ("response.completed", "response.incomplete")
_BEGINS = ("response.created", "response.in_progress", "response.queued")


class RelayedTurn(RespondingTurn):
    """`chunks` are the provider's events but the last, which follows from the stored turn."""

    def __init__(
        self, turn: Turn, provider: Provider, asked: Asked, context: Context | None
    ) -> None:
        super().__init__(turn, provider, asked, context)
        self._output = Output()
        self._response: Json | None = None

    async def _answer(self, mcp_servers: McpServers) -> Turn:
        body = await self._body()
        with traced_call(self._provider, body) as trace:
            async with ask(self._provider, PATH, body, silence=self._provider.timeout) as upstream:
                if upstream.streams:
                    await self._follow(upstream)
                else:
                    self._take_end(await upstream.whole())
            trace(self._traced())
        return await self._completed()

    def _traced(self) -> Json:
        """What traces say of an answer, in the words of chat completions."""
        response = self._response or {}
        usage = response.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        tokens = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
        counts = {name: usage.get(ours) for name, ours in tokens.items()}
        return {"id": response.get("id"), "model": response.get("model"), "usage": counts}

    async def _body(self) -> Json:
        sent = {name: value for name, value in self.asked.body.items() if name not in _OURS}
        items = await self._items()
        return sent | {"model": self.turn.model, "input": items, "store": False, "stream": True}

    async def _stored_items(self) -> list[Json]:
        return for_responses(await super()._stored_items())

    async def _follow(self, upstream: Upstream) -> None:
        async with aclosing(upstream.events()) as events:
            async for data in events:
                if data is None:
                    await self._put(None, 1)
                elif data == DONE:
                    break
                else:
                    await self._take_event(upstream.read(data), len(data))
                    if self._response is not None:
                        return
        raise TurnFailed(FAILURES["provider_broke_off"])

    async def _take_event(self, event: Json, size: int) -> None:
        kind = event.get("type")
        # It is the name of the event, too.
        if not isinstance(kind, str) or not kind.isprintable():
            raise TurnFailed(FAILURES["provider_unreadable"])
        response = event.get("response")
        response = response if isinstance(response, dict) else {}
        if kind == "error":
            raise TurnFailed(failure_in(event, self._provider))
        if kind == "response.failed":
            raise TurnFailed(failure_in(response.get("error"), self._provider))
        if kind in _ENDS:
            self._take_end(response)
            return
        with self.change():
            text, reasoning = self._output.take(event)
        if text or reasoning:
            self._say(text, reasoning)
        await self._put(self._ours(event, kind), size)

    def _ours(self, event: Json, kind: str) -> Json:
        """The event with our ids."""
        if kind in _BEGINS:
            return event | {"response": empty_response(self.turn, self.asked.kept())}
        id_ = self._output.id_at(event.get("output_index"), self.turn.id)
        if id_ is None:
            return event
        if "item_id" in event:
            return event | {"item_id": id_}
        item = event.get("item")
        return event | {"item": item | {"id": id_}} if isinstance(item, dict) else event

    async def _put(self, item: Json | None, size: int) -> None:
        if self.asked.background or not self.asked.streams:
            self._queue.begin()
        else:
            await super()._put(item, size)

    def _take_end(self, response: Json) -> None:
        """What the record gets of the provider's own Response."""
        self._response = response
        error = response.get("error")
        if response.get("status") == "failed" or error:
            raise TurnFailed(failure_in(error, self._provider))
        items = response.get("output")
        if isinstance(items, list) and items:
            self._output.items = [as_stored(item) for item in items if is_item(item)]
        usage, details = response.get("usage"), response.get("incomplete_details")
        self._observed.take({"usage": usage, "model": response.get("model")}, self.turn.model)
        self._observed.extra |= beyond(response)
        reason = details.get("reason") if isinstance(details, dict) else None
        if isinstance(reason, str) and reason:
            reason = storable(CHAT_REASONS.get(reason, reason))[: MAX_CHARS["finish_reason"]]
            self._observed.finish_reason = reason

    async def _completed(self) -> Turn:
        items = self._output.items
        with self.change() as turn:
            turn.last.parts, turn.last.content = items, text_of(items)
        try:
            self._calls = _GivenCalls(items)
        except Malformed:
            raise TurnFailed(FAILURES["provider_unreadable"]) from None
        if self._observed.finish_reason is None:
            self._observed.finish_reason = "tool_calls" if self._calls.found() else "stop"
        return await super()._completed()

    def _ended(self, status: Status, finish_reason: str | None, error: str | None = None) -> Turn:
        if status != Status.COMPLETE:
            # A call that is not whole is none.
            self.turn.last.parts = self._output.kept()
        return super()._ended(status, finish_reason, error)

    def state(self) -> Turn:
        turn = super().state()
        if not turn.ended and self._output.items:
            # As one: the text is added to the turn after the items.
            turn.last.parts = deepcopy(self._output.items)
            turn.last.content = text_of(turn.last.parts)
        return turn


class _GivenCalls(Calls):
    """The calls of the application's tools among items."""

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._given = [ToolCall.from_json(call) for call in calls_in("output", list(items))]

    def found(self) -> list[ToolCall]:
        return self._given
