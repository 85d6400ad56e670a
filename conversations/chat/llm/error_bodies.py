"""The body of a provider's refusal: the client library reads all of it, the beginning is enough.

Imported only where a model is asked, as the HTTP library is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from httpx2 import AsyncByteStream, Response

MAX_BYTES = 64 * 1024


class _Beginning(AsyncByteStream):
    """A stream as far as MAX_BYTES."""

    def __init__(self, stream: AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_BYTES
        async for piece in self._stream:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


async def cut_error_body(response: Response) -> None:
    """A hook of the HTTP client for each response, before its body is read."""
    if response.is_error and isinstance(response.stream, AsyncByteStream):
        response.stream = _Beginning(response.stream)
