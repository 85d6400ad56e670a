"""A Response of a provider that speaks chat completions alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, count

from conversations.chat.forwarding import upstream
from conversations.chat.forwarding.chat_chunks import Calls
from conversations.chat.forwarding.request import ChatRequest
from conversations.chat.llm.agent_loop import library
from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.llm.providers import Provider
from conversations.chat.responses.asked import Asked, Json
from conversations.chat.responses.chat_request import as_chat_request
from conversations.chat.responses.history import Context, for_chat, with_unique_calls
from conversations.chat.responses.responding_turn import RespondingTurn, rejected
from conversations.chat.responses.tools import as_called
from conversations.models.turn import ToolCall, Turn
from conversations.services import InvalidValue

# By which a text is known to be one.
REFUSAL = "refusal"


class TranslatedTurn(RespondingTurn):
    """The request as chat completions; their chunks fill the turn, and it is what is shown."""

    def __init__(
        self, turn: Turn, provider: Provider, asked: Asked, context: Context | None
    ) -> None:
        super().__init__(turn, provider, asked, context)
        self._calls = _Calls(asked.body.get("tools") or ())

    def _import(self) -> None:
        upstream.http_library()
        library()

    async def _answer(self, mcp_servers: McpServers) -> Turn:
        self._asked = ChatRequest.of_client(await self._chat_request(), self.turn.model)
        return await super()._answer(mcp_servers)

    async def _chat_request(self) -> Json:
        items = with_unique_calls(await self._items())
        try:
            return as_chat_request(self.asked.body, items, self._provider, self.turn.model)
        except InvalidValue as error:
            raise rejected(error) from None

    async def _stored_items(self) -> list[Json]:
        return for_chat(await super()._stored_items(), vision=self._provider.vision)

    async def _put(self, item: Json | None, size: int) -> None:
        """The client reads the turn itself: it is told that there is something to read."""
        self._queue.begin()
        if item is not None:
            with self.change():
                pass  # a piece of a call, which the turn has only at its end

    def state(self) -> Turn:
        """With the calls that are still coming, but for those whose text is not known before their
        end."""
        turn = super().state()
        if turn.ended or turn.last.calls:
            return turn
        turn.last.extra = {REFUSAL: self._observed.extra.get(REFUSAL)}
        complete_only = (call.is_custom or not call.tool for call in self._calls.found())
        turn.last.calls = self._calls.found()[: next(compress(count(), complete_only), None)]
        return turn


class _Calls(Calls):
    """Those of custom tools as such, which the model was shown as functions."""

    def __init__(self, tools: Sequence[Json]) -> None:
        super().__init__()
        self._tools = tools

    def found(self) -> list[ToolCall]:
        return [as_called(call, self._tools) for call in super().found()]
