"""What the event loop answers itself, before a request gets to a thread."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.http import HttpResponse

from conversations.api.errors import UNAVAILABLE, refusal_for
from conversations.api.middleware import HEADER, as_request, log_refused
from conversations.server.handler import Scope

TOO_MANY_REQUESTS = "The server has too many open requests."
TOO_MANY_STREAMS = "The server has too many open streams."
BUSY = "Other writes, mostly to the same conversation, have to wait; this one was not begun."
SLOW_BODY = "The body did not arrive in time."
FAILED = "Server Error (500)"


@dataclass
class Refusal(Exception):
    """A response with this status. `closes`: so is the connection, as the body was not read."""

    status: int
    detail: str
    code: str = UNAVAILABLE
    retry_after: int | None = None
    closes: bool = True

    @classmethod
    def too_many_requests(cls) -> Refusal:
        return cls(503, TOO_MANY_REQUESTS, retry_after=1)

    @classmethod
    def too_many_streams(cls) -> Refusal:
        return cls(503, TOO_MANY_STREAMS, retry_after=5)

    @classmethod
    def busy(cls) -> Refusal:
        return cls(503, BUSY, retry_after=1, closes=False)

    @classmethod
    def failed(cls) -> Refusal:
        return cls(500, FAILED, "error")

    @classmethod
    def slow_body(cls) -> Refusal:
        return cls(408, SLOW_BODY, "request_timeout")


def refuse(scope: Scope, refusal: Refusal, started: float) -> HttpResponse:
    """The response, in the form of all errors, and its line in the access log."""
    sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    with as_request(sent.decode("latin-1")) as request_id:
        response = refusal_for(
            scope["path"],
            refusal.code,
            refusal.detail,
            refusal.status,
            retry_after=refusal.retry_after,
        )
        log_refused(scope["method"], refusal.status, time.perf_counter() - started)
    response.headers[HEADER] = request_id
    response.headers["Content-Length"] = str(len(response.content))
    return response
