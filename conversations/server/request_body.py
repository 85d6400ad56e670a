"""Reading a request's body in the event loop, bounded in size and time.

No thread waits for a slow client. Large bodies are kept in temporary files, so that many slow
clients do not fill the memory.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]

# Of a body that is too large, so much more is read, so that a client that sends all of it before
# it reads the answer gets one.
DISCARDED_BYTES = 64 * 1024 * 1024
IN_MEMORY_BYTES = 256 * 1024


class ClientLeft(Exception):
    """The client has gone before the end of its request."""


class TooLarge(io.RawIOBase):
    """Stands for a body of more than CHAT_MAX_BODY_BYTES; a view that reads it answers 413."""

    def read(self, size: int | None = -1) -> bytes:
        raise RequestDataTooBig


class RequestBody:
    """A body that is being read, and what the request's head says of it."""

    def __init__(self, headers: list[tuple[bytes, bytes]], limit: int) -> None:
        self._limit = limit
        self._declared: int | None = None
        self.length = 0
        # Without either header a request has no body (RFC 9112, section 6.3).
        self.expected = False
        for name, value in headers:
            if name == b"content-length" and value.isdigit():
                self._declared = int(value)
                self.expected |= self._declared > 0
            elif name == b"transfer-encoding":
                self.expected = True

    async def read(self, receive: Receive, seconds: float) -> IO[bytes]:
        """All of it. Raises TimeoutError, ClientLeft."""
        if not self.expected:
            return io.BytesIO()
        async with asyncio.timeout(seconds):
            first = await self._receive(receive)
            if self._is_whole(first):
                return io.BytesIO(first["body"])
            return await self._read_rest(first, receive)

    async def _read_rest(self, first: Message, receive: Receive) -> IO[bytes]:
        kept: IO[bytes] = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 (closed with its request)
        message = first
        try:
            while True:
                if self.length <= self._limit:
                    kept.write(message["body"])
                if self._is_whole(message) or self.length > self._limit + DISCARDED_BYTES:
                    break
                message = await self._receive(receive)
        except BaseException:
            kept.close()
            raise
        if self.length > self._limit:
            kept.close()
            return TooLarge()  # type: ignore[return-value]
        kept.seek(0)
        return kept

    async def _receive(self, receive: Receive) -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        self.length += len(message.setdefault("body", b""))
        return message

    def _is_whole(self, message: Message) -> bool:
        return not message.get("more_body") or self.length == self._declared
