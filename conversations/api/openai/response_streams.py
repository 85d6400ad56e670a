"""The events of a Response as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from conversations.api.openai.turn_answers import event_answer
from conversations.api.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS
from conversations.api.waiting import LiveStream
from conversations.chat.forwarding.upstream import dumps
from conversations.chat.responses.events import NONE_SEEN, ResponseEvents
from conversations.chat.responses.relayed_turn import RelayedTurn
from conversations.chat.responses.responding_turn import RespondingTurn
from conversations.chat.runtime.watched_turn import WatchedTurn

Json = dict[str, Any]


def response_stream(
    watched: WatchedTurn, request: Mapping[str, Any], *, seen: int = NONE_SEEN, own: bool
) -> LiveStream:
    """The events after `seen`. `own`: it is the stream of who asked, with whom the turn ends unless
    it runs in the background."""
    if own and isinstance(watched, RelayedTurn) and not watched.asked.background:
        events = _relayed(watched, request)
    else:
        events = _events(watched, request, seen)
    leave = watched.leave
    if own and isinstance(watched, RespondingTurn):
        leave = watched.client_left
    return event_answer(_frames(events), watched.turn, leave)


async def _frames(events: AsyncGenerator[Json | None, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            yield KEEP_ALIVE if event is None else _frame(event)


async def _events(
    watched: WatchedTurn, request: Mapping[str, Any], seen: int
) -> AsyncGenerator[Json | None, None]:
    events = ResponseEvents(request, seen)
    async with aclosing(watched.states(idle_seconds=KEEP_ALIVE_SECONDS)) as states:
        async for turn in states:
            if turn is None:
                yield None
                continue
            for event in events.next(turn):
                yield event


async def _relayed(
    watched: RelayedTurn, request: Mapping[str, Any]
) -> AsyncGenerator[Json | None, None]:
    """The provider's events, and after the turn has been stored the end that follows from it."""
    last = NONE_SEEN
    async with aclosing(watched.chunks(idle_seconds=KEEP_ALIVE_SECONDS)) as chunks:
        async for event in chunks:
            number = (event or {}).get("sequence_number")
            last = number if isinstance(number, int) else last
            yield event
    events = ResponseEvents(request).next(watched.turn)
    # A provider that answers whole sends no events: all are ours.
    for event in events if last == NONE_SEEN else events[-1:]:
        last += 1
        yield event | {"sequence_number": last}


def _frame(event: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), dumps(event))
