"""Server-sent events: the events of a turn as bytes, and the position at which a client resumes.

An event's id is `<stream>:<step>.<part>.<count>`: the turn's first answer message, and the
position that follows from what is stored. Any process can take it up from there. Where the model
has thought, `.<count of its reasoning>` follows.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Generator, Iterator

import orjson
from django.http import StreamingHttpResponse
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from conversations.api.middleware import current_request_id
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


def stream_of(watched: WatchedTurn, seen: EventPosition = BEFORE_ALL) -> StreamingHttpResponse:
    """The rest of a turn. It holds this thread until the end, and no database connection."""
    response = StreamingHttpResponse(_Frames(watched, seen), content_type=MEDIA_TYPE)
    # Proxies must pass each event on at once, unchanged.
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _Frames:
    """An iterator that the server may close: the client has left, the turn goes on."""

    def __init__(self, watched: WatchedTurn, seen: EventPosition) -> None:
        self._stream = str(watched.turn.id)
        self._events = watched.events(seen, idle_seconds=KEEP_ALIVE_SECONDS)
        self._request_id = current_request_id()
        self._frames = self._framed()

    def __iter__(self) -> Iterator[bytes]:
        return self._frames

    def close(self) -> None:
        self._frames.close()
        self._events.close()

    def _framed(self) -> Generator[bytes, None, None]:
        yield RETRY
        for event in self._events:
            if event is None:
                yield KEEP_ALIVE
            else:
                yield frame(self._stream, event, self._request_id)


def frame(stream: str, event: Event, request_id: str) -> bytes:
    step, part, count, reasoning = event.position
    thought = f".{reasoning}" if reasoning else ""
    head = f"id: {stream}:{step}.{part}.{count}{thought}\nevent: {event.name}\ndata: "
    data = event.data | ({"request_id": request_id} if event.name == "error" else {})
    return head.encode() + orjson.dumps(data, default=str) + b"\n\n"
