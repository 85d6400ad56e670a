"""Server-sent events: how the events of a turn look on the wire, and where a client goes on.

An event's id is `<stream>:<step>.<part>.<count>`: the turn's first answer message, and the
position that follows from what is stored. Any process can take it up from there.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from django.http import StreamingHttpResponse
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from conversations.api.middleware import current_request_id
from conversations.chat.events import NOWHERE, Delta, Done, Event, Failed, Position
from conversations.chat.runtime.live_turn import Watched
from conversations.chat.turn import events_of

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": still here\n\n"
KEEP_ALIVE_SECONDS = 15
# What an EventSource waits before it comes back, in milliseconds.
RETRY = b"retry: 1000\n\n"
BAD_ID = "Not an id of this API's events."

_id = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(\d{1,9})\.(\d)\.(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Seen:
    """The last event that a client saw."""

    stream_id: uuid.UUID
    position: Position


def wants_events(request: Request) -> bool:
    return MEDIA_TYPE in request.headers.get("Accept", "")


def seen_by(request: Request) -> Seen | None:
    """The Last-Event-ID header; 400 when it is none of ours."""
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return None
    if not (match := _id.fullmatch(text)):
        raise ValidationError({"Last-Event-ID": [ErrorDetail(BAD_ID, "invalid")]})
    stream, *numbers = match.groups()
    return Seen(uuid.UUID(stream), Position(*map(int, numbers)))


def stream_of(watched: Watched, seen: Seen | None = None) -> StreamingHttpResponse:
    """The rest of a turn. It holds this thread until the end, and no database connection."""
    response = StreamingHttpResponse(
        _Frames(watched, NOWHERE if seen is None else seen.position), content_type=MEDIA_TYPE
    )
    # Proxies must pass each event on at once, unchanged.
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _Frames:
    """An iterator that the server may close: the client has left, the turn goes on."""

    def __init__(self, watched: Watched, seen: Position) -> None:
        self._stream = str(watched.state.turn_id)
        self._events = events_of(watched, seen=seen, idle_seconds=KEEP_ALIVE_SECONDS)
        self._request_id = current_request_id()
        self._frames = self._framed()

    def __iter__(self) -> Iterator[bytes]:
        return self._frames

    def close(self) -> None:
        self._frames.close()  # type: ignore[attr-defined]
        self._events.close()  # type: ignore[attr-defined]

    def _framed(self) -> Iterator[bytes]:
        yield RETRY
        for event in self._events:
            if event is None:
                yield KEEP_ALIVE
            else:
                yield frame(self._stream, event, self._request_id)


def frame(stream: str, event: Event, request_id: str = "") -> bytes:
    step, part, count = event.position
    head = f"id: {stream}:{step}.{part}.{count}\nevent: {event.name}\ndata: "
    data = orjson.dumps(payload(event, request_id), default=str)
    return head.encode() + data + b"\n\n"


def payload(event: Event, request_id: str = "") -> dict[str, Any]:
    """What an event's `data` holds."""
    if isinstance(event, Done):
        return asdict(event.outcome)
    if isinstance(event, Failed):
        error = {"code": event.code, "detail": event.detail, "attr": None}
        return asdict(event.outcome) | {
            "type": "server_error",
            "errors": [error],
            "request_id": request_id,
        }
    if isinstance(event, Delta):
        return {"text": event.text, "message_id": event.message_id, "step": event.position.step}
    return {name: value for name, value in asdict(event).items() if name != "position"}
