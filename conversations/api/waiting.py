"""Responses that must be waited for: in the server's event loop, which holds no thread for them.

The ASGI server (`conversations/server/`) awaits a `LaterResponse` and iterates a `LiveStream`. Any
other handler, such as WSGI, gets the same answer from the thread of the request, which waits.
"""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from conversations.chat.runtime.in_thread import iterate_in_thread, result_in_thread

if TYPE_CHECKING:  # the framework loads its views with what the middleware imports
    from rest_framework.response import Response
    from rest_framework.views import APIView

T = TypeVar("T")
Wait = Callable[[], Coroutine[Any, Any, T]]

# The client has left before the answer came: as nginx logs it. It is never sent.
CLIENT_LEFT = 499


class LoopRequest(HttpRequest):
    """A request whose server awaits a LaterResponse."""


class LaterResponse(HttpResponse, Generic[T]):
    """Goes through the middleware in place of a response that is not known yet.

    The server awaits `wait()`, then calls `complete` with its result, in a thread, or `abandon`.
    `stream` is what is to be sent then where it has become a stream.
    """

    stream: LiveStream | None = None

    def __init__(self, wait: Wait[T], finish: Callable[[T], HttpResponseBase]) -> None:
        super().__init__()
        self.wait = wait
        self._finish = finish
        self._context = contextvars.copy_context()
        self._listeners: list[Callable[[], None]] = []

    def when_complete(self, listener: Callable[[], None]) -> None:
        """Call it once the status is known."""
        self._listeners.append(listener)

    def complete(self, result: T) -> None:
        """Become the response that follows from what was waited for."""
        response = self._context.run(self._finish, result)
        self.status_code = response.status_code
        if isinstance(response, LiveStream):
            self.stream = response
            # What the middleware has set.
            self.headers.pop("Content-Length", None)
            for name, value in self.items():
                response.headers.setdefault(name, value)
        elif isinstance(response, HttpResponse):
            self.content = response.content
            for name, value in response.items():
                self.headers[name] = value
            self.headers["Content-Length"] = str(len(self.content))
        self._tell()

    def abandon(self) -> None:
        """The client has left."""
        self.status_code = CLIENT_LEFT
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
        self.close()


def answer_later(
    view: APIView, wait: Wait[T], finish: Callable[[T], HttpResponseBase]
) -> HttpResponseBase:
    """The response of a view that has to wait; `finish` may raise what the view may raise."""

    def answer(result: T) -> HttpResponseBase:
        try:
            response = _finalized(view, finish, result)
        except Exception as error:  # a defect
            response = response_for_exception(view.request._request, error)
        return response

    if isinstance(view.request._request, LoopRequest):
        return LaterResponse(wait, answer)
    return finish(result_in_thread(wait()))


def _finalized(
    view: APIView, finish: Callable[[T], HttpResponseBase], result: T
) -> HttpResponseBase:
    try:
        response = finish(result)
    except Exception as error:
        response = view.handle_exception(error)
    final = view.finalize_response(view.request, cast("Response", response))
    return final.render() if hasattr(final, "render") else final


class LiveStream(StreamingHttpResponse):
    """A streamed body whose parts come over time. `when_closed` is called at its end, whether or
    not any part was sent."""

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        content_type: str,
        when_closed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(parts, content_type=content_type)
        self.parts = parts
        self._when_closed = when_closed

    def close(self) -> None:
        super().close()
        self._when_closed()

    def __iter__(self) -> Iterator[bytes]:
        return iterate_in_thread(self.parts)


def when_answered(response: HttpResponseBase, listener: Callable[[], None]) -> None:
    """Call it when the status of the response is known, which mostly it is already."""
    if isinstance(response, LaterResponse):
        response.when_complete(listener)
    else:
        listener()
