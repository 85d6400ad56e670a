"""Whole requests in the calling thread, as Django's WSGI handler runs them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import IO, Any

from django.core import signals
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from conversations.api.errors import bad_request
from conversations.api.waiting import LaterResponse, LoopRequest

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

# A streamed body is made in pieces of this size, or of so many seconds.
PIECE_BYTES, PIECE_SECONDS = 64 * 1024, 0.1


class ServedRequest(ASGIRequest, LoopRequest):
    """A request whose body has been read."""

    def __init__(self, scope: Scope, body: IO[bytes], length: int) -> None:
        super().__init__(scope, body)
        # What was sent in chunks has a length now, too.
        if self.META.pop("HTTP_TRANSFER_ENCODING", None) is not None:
            self.META["CONTENT_LENGTH"] = str(length)


class Handler(BaseHandler):
    """Django's views with all middleware, called synchronously."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()

    def respond(self, scope: Scope, body: IO[bytes], length: int) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            request = ServedRequest(scope, body, length)
        except UnicodeDecodeError as error:  # in the query string
            return bad_request(HttpRequest(), error)
        response = self.get_response(request)
        if not isinstance(response, StreamingHttpResponse | LaterResponse):
            response.close()
        return response


def head_of(response: HttpResponseBase) -> Headers:
    """The headers as ASGI has them."""
    found = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    for cookie in response.cookies.values():
        found.append((b"Set-Cookie", cookie.output(header="").strip().encode("ascii")))
    return found


def pieces_of(response: StreamingHttpResponse) -> Iterator[bytes]:
    """A streamed body in larger pieces; each may be made in another thread."""
    found, size, deadline = [], 0, time.monotonic() + PIECE_SECONDS
    for part in response:
        found.append(part)
        size += len(part)
        if size >= PIECE_BYTES or time.monotonic() > deadline:
            yield b"".join(found)
            found, size, deadline = [], 0, time.monotonic() + PIECE_SECONDS
    yield b"".join(found)
