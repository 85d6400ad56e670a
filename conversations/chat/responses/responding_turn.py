"""A turn that answers a request of the Responses API.

It has one client, with which it ends, unless it runs in the background: then any may come back to
it. What a client is shown follows from the turn (`events.py`), whichever process runs it.
"""

from __future__ import annotations

from functools import partial

from conversations.chat.errors import Failure, TurnFailed
from conversations.chat.forwarding.forwarded_turn import ForwardedTurn
from conversations.chat.forwarding.request import ChatRequest
from conversations.chat.llm.providers import Provider
from conversations.chat.responses.asked import Asked, Json
from conversations.chat.responses.history import (
    Context,
    answered,
    items_before,
    output_without_call,
)
from conversations.models.turn import Turn
from conversations.services import InvalidValue

NO_CALL = "No tool call found for the output with call_id {call_id}."
REJECTED = "provider_rejected"


class RespondingTurn(ForwardedTurn):
    """`context` is what is stored of the conversation before the request's own items."""

    def __init__(
        self, turn: Turn, provider: Provider, asked: Asked, context: Context | None
    ) -> None:
        super().__init__(turn, provider, ChatRequest({"stream": True}))
        self.asked, self._context = asked, context

    def client_left(self) -> None:
        if not self.asked.background:
            super().client_left()

    async def outcome(self) -> Turn:
        """The turn at its end, for its client, with whom it ends."""
        try:
            return await self.result()
        finally:
            self.client_left()

    async def _items(self) -> list[Json]:
        """All that the model is shown. Raises TurnFailed."""
        given = self.asked.items
        items = [*await self._stored_items(), *given]
        if (place := output_without_call(given, items)) is not None:
            text = NO_CALL.format(call_id=given[place].get("call_id"))
            raise rejected(InvalidValue(text, field=f"input[{place}].call_id"))
        return answered(items)

    async def _stored_items(self) -> list[Json]:
        if self._context is None:
            return []
        read = partial(items_before, self._context, self._provider, truncates=self.asked.truncates)
        return await self.database.run(read)


def rejected(error: InvalidValue) -> TurnFailed:
    """A request that cannot be put into the provider's words."""
    given = {"message": error.detail, "param": error.field, "code": error.code, "type": None}
    return TurnFailed(Failure(REJECTED, error.detail, 400, given=given))
