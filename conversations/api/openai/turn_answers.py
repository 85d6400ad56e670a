"""What turns are answered with under `/v1`: whole, as events, or as the failure that ended them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from django.http import HttpResponse

from conversations.api.openai.errors import error_body, error_headers
from conversations.api.openai.ids import conversation_name
from conversations.api.sse import MEDIA_TYPE
from conversations.api.waiting import LiveStream
from conversations.chat.errors import Failure
from conversations.chat.forwarding.upstream import dumps
from conversations.models.turn import Turn

HEADER = "X-Conversation-Id"

Json = dict[str, Any]


def whole_answer(body: Json, turn: Turn, status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(
        dumps(body),
        status=status,
        content_type="application/json",
        headers=headers_of(turn) | headers,
    )


def failed_answer(failure: Failure, turn: Turn) -> HttpResponse:
    headers = error_headers(failure.status)
    response = whole_answer(error_of(failure), turn, failure.status, **headers)
    if failure.retry_after is not None:
        response.headers["Retry-After"] = str(failure.retry_after)
    return response


def error_of(failure: Failure) -> Json:
    """The provider's own words where it is the client's to mend, else ours."""
    body = error_body(failure.status, failure.text, failure.code)
    if failure.given is not None:
        said = {name: value for name, value in failure.given.items() if value is not None}
        body["error"] |= {"param": None, "code": None} | said
    return body


def event_answer(
    parts: AsyncGenerator[bytes, None], turn: Turn, when_closed: Callable[[], None] = lambda: None
) -> LiveStream:
    response = LiveStream(parts, MEDIA_TYPE, when_closed)
    # Proxies must pass each event on at once, unchanged.
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    for name, value in headers_of(turn).items():
        response.headers[name] = value
    return response


def headers_of(turn: Turn) -> dict[str, str]:
    return {HEADER: conversation_name(turn.conversation_id)} if turn.stored else {}
