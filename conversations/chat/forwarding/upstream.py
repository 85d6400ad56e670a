"""A provider's own HTTP: a request as the client meant it, and the answer as it comes.

Read only as far as the record and the client's shape need it. Every failure is a TurnFailed.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import orjson
from django.conf import settings

from conversations.chat.errors import FAILURES, Failure, TurnFailed, failure_of_status
from conversations.chat.llm.providers import Provider, pool_options
from conversations.chat.tool_results import storable

# What is wrong with the request of the client, which alone can mend it: passed on to it. 401, 402
# and 403 are about this installation's account.
PASSED_ON = frozenset({400, 404, 409, 413, 415, 422, 429})
MAX_ERROR_CHARS = 2_000
# Of the body of a refusal the beginning is enough.
MAX_ERROR_BYTES = 64 * 1024
# A stream may be so many times as long as a body: each piece of a text is an event of its own.
MAX_BODIES = 20
# A shorter one is no secret, and may be part of any word.
MIN_KEY_CHARS = 8
DONE = b"[DONE]"
_STATUS = re.compile(r"[1-5][0-9]{2}")

Json = dict[str, Any]


@cache
def http_library() -> ModuleType:
    """The HTTP library, whose import takes a moment."""
    import httpx2

    return httpx2


@asynccontextmanager
async def ask(
    provider: Provider, path: str, body: Json, *, silence: float
) -> AsyncIterator[Upstream]:
    """The answer of a provider once its head has come; its connection is closed with the block, or
    used again where the answer was read to its end.

    `silence` is how many seconds may pass without a byte. Nothing is tried twice.
    """
    httpx = http_library()
    timeout = httpx.Timeout(silence, connect=provider.connect)
    try:
        client = _shared_client(provider)
        request = client.build_request("POST", path, content=dumps(body), timeout=timeout)
        response = await client.send(request, stream=True)
    except httpx.ConnectTimeout:
        raise TurnFailed(FAILURES["provider_unreachable"]) from None
    except httpx.TimeoutException:
        raise TurnFailed(FAILURES["provider_timeout"]) from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise TurnFailed(FAILURES["provider_unreachable"]) from None
    upstream = Upstream(response, provider)
    try:
        if not response.is_success:
            raise TurnFailed(await upstream.refusal())
        yield upstream
    finally:
        await response.aclose()


@cache
def _shared_client(provider: Provider) -> Any:
    """One pool of connections to an endpoint, for the event loop of all turns alone."""
    return http_library().AsyncClient(
        base_url=provider.base_url,
        headers={
            "Authorization": f"Bearer {provider.api_key or 'none'}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "chatproject",
        },
        **pool_options(),
    )


class Upstream:
    """An answer that is coming."""

    def __init__(self, response: Any, provider: Provider) -> None:
        self._response, self._provider = response, provider

    @property
    def streams(self) -> bool:
        """Whether it is a stream of events; some servers answer whole whatever is asked, and
        proxies with a page."""
        kind: str = self._response.headers.get("content-type", "")
        return "json" not in kind and "html" not in kind

    async def events(self) -> AsyncGenerator[bytes | None, None]:
        """The data of each event as it comes; None for a comment, by which a server says that it
        is still there."""
        found: list[bytes] = []
        size = 0
        async for line in self._lines():
            if not line and found:
                yield b"\n".join(found)
                found, size = [], 0
            elif line.startswith(b":"):
                yield None
            elif line.startswith(b"data:"):
                found.append(line[5:].removeprefix(b" "))
                size += len(line)
                _check_size(size)
        if found:
            yield b"\n".join(found)

    async def whole(self) -> Json:
        """An answer that is one object."""
        pieces, size = [], 0
        async for piece in self._pieces():
            pieces.append(piece)
            size += len(piece)
            _check_size(size)
        return self.read(b"".join(pieces))

    def read(self, data: bytes) -> Json:
        """An object that the provider sent; TurnFailed if it is none, or says that it failed."""
        try:
            found = loads(data)
        except ValueError:
            raise TurnFailed(FAILURES["provider_unreadable"]) from None
        if not isinstance(found, dict):
            raise TurnFailed(FAILURES["provider_unreadable"])
        if error := found.get("error"):
            raise TurnFailed(failure_in(error, self._provider))
        return found

    async def refusal(self) -> Failure:
        """What an answer means that has another status than 200."""
        response, found = self._response, b""
        with suppress(TurnFailed):  # what has come of it is enough
            async for piece in self._pieces():
                found += piece
                if len(found) >= MAX_ERROR_BYTES:
                    break
        error: Any = found[:MAX_ERROR_BYTES].decode(errors="replace").strip()
        with suppress(ValueError):
            error = loads(found)
        if isinstance(error, dict):
            error = error.get("error", error)
        return _failure(
            response.status_code, error, response.headers.get("retry-after"), self._provider
        )

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        """Without their ends; a last one need not have one."""
        rest: list[bytes] = []
        size = 0
        async for piece in self._pieces():
            first, *others = piece.split(b"\n")
            rest.append(first)
            size += len(first)
            _check_size(size)
            for other in others:
                yield b"".join(rest).removesuffix(b"\r")
                rest, size = [other], len(other)
        yield b"".join(rest).removesuffix(b"\r")

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        httpx = http_library()
        left = MAX_BODIES * settings.CHAT_MAX_BODY_BYTES
        try:
            async for piece in self._response.aiter_bytes():
                left -= len(piece)
                if left < 0:
                    raise TurnFailed(FAILURES["answer_too_long"])
                yield piece
        except httpx.TimeoutException:
            raise TurnFailed(FAILURES["provider_timeout"]) from None
        except httpx.DecodingError:
            raise TurnFailed(FAILURES["provider_unreadable"]) from None
        except httpx.HTTPError:
            raise TurnFailed(FAILURES["provider_broke_off"]) from None


def _check_size(size: int) -> None:
    """Of what has to be in memory at once: a whole answer, or one event."""
    if size > settings.CHAT_MAX_BODY_BYTES:
        raise TurnFailed(FAILURES["provider_unreadable"])


def loads(data: bytes) -> Any:
    """JSON of a provider. Raises ValueError."""
    try:
        return orjson.loads(data)
    except ValueError:
        # Python's reader takes halves of surrogate pairs, and integers of any size.
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError from error


def dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def failure_in(error: Any, provider: Provider) -> Failure:
    """What an error in the body of an answer means, which a server sends once it has begun one."""
    said = error if isinstance(error, dict) else {}
    code = str(said.get("code"))
    if _STATUS.fullmatch(code):
        return _failure(int(code), error, None, provider)
    is_ours = said.get("type") == "invalid_request_error"
    return _failure(400 if is_ours else 500, error, None, provider)


def _failure(status: int, error: Any, retry_after: str | None, provider: Provider) -> Failure:
    failure = failure_of_status(status, retry_after)
    if status not in PASSED_ON:
        return failure
    given = _as_given(error, provider)
    text = f"{failure.text} {given['message'] or ''}".rstrip()
    return replace(failure, status=status, text=text, given=given)


def _as_given(error: Any, provider: Provider) -> Json:
    """The provider's own words, without this installation's key."""
    said = error if isinstance(error, dict) else {"message": error}
    said = {"message": said.get("detail")} | said  # as FastAPI has it
    return {
        name: _without_key(said.get(name), provider)
        for name in ("message", "param", "code", "type")
    }


def _without_key(value: Any, provider: Provider) -> str | None:
    if value is None or value == "":
        return None
    text = storable(value if isinstance(value, str) else dumps(value).decode())
    if len(provider.api_key) >= MIN_KEY_CHARS:
        text = text.replace(provider.api_key, "…")
    return text[:MAX_ERROR_CHARS]
