"""Server-sent events: the events of a turn as bytes, and the position at which a client resumes.

An event's id is `<stream>:<step>.<part>.<count>`: the turn's first answer message, and the
position that follows from what is stored. Any process can take it up from there. Where the model
has thought, `.<count of its reasoning>` follows.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from conversations.api.middleware import current_request_id
from conversations.api.waiting import LiveStream
from conversations.chat.events import BEFORE_ALL, Event, EventPosition
from conversations.chat.runtime.watched_turn import WatchedTurn

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
KEEP_ALIVE_SECONDS = 15
# What an EventSource waits before it reconnects, in milliseconds.
RETRY = b"retry: 1000\n\n"
BAD_ID = "Not an id of this API's events."

_id = re.compile(
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(\d{1,9})\.(\d)\.(\d{1,9})(?:\.(\d{1,9}))?"
)


def seen_by(request: Request) -> tuple[uuid.UUID, EventPosition] | None:
    """The Last-Event-ID header: a turn's id and the position of the last event that the client
    saw in it. 400 when it is none of ours."""
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return None
    if not (match := _id.fullmatch(text)):
        raise ValidationError({"Last-Event-ID": [ErrorDetail(BAD_ID, "invalid")]})
    stream, *numbers = match.groups()
    return uuid.UUID(stream), EventPosition(*(int(number or 0) for number in numbers))


def stream_of(watched: WatchedTurn, seen: EventPosition = BEFORE_ALL) -> LiveStream:
    """The rest of a turn. A client that leaves does not end the turn."""
    response = LiveStream(_frames(watched, seen, current_request_id()), content_type=MEDIA_TYPE)
    # Proxies must pass each event on at once, unchanged.
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _frames(
    watched: WatchedTurn, seen: EventPosition, request_id: str
) -> AsyncGenerator[bytes, None]:
    stream = str(watched.turn.id)
    async with aclosing(watched.events(seen, idle_seconds=KEEP_ALIVE_SECONDS)) as events:
        yield RETRY
        async for event in events:
            yield KEEP_ALIVE if event is None else frame(stream, event, request_id)


def frame(stream: str, event: Event, request_id: str) -> bytes:
    step, part, count, reasoning = event.position
    thought = f".{reasoning}" if reasoning else ""
    head = f"id: {stream}:{step}.{part}.{count}{thought}\nevent: {event.name}\ndata: "
    data = event.data | ({"request_id": request_id} if event.name == "error" else {})
    return head.encode() + orjson.dumps(data, default=str) + b"\n\n"
