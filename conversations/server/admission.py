"""Which requests go to a thread, and when: decided in the event loop by what they ask for.

A write may have to wait for the lock of a row. So one conversation has at most one thread of a
process for its writes, the others wait for it in the loop, in order; and all writes together
leave a thread for reads.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import IO
from weakref import WeakValueDictionary

from conversations.server.handler import Scope

# How long a write waits for those to the same conversation, and then for a thread, in seconds.
CONVERSATION_SECONDS, THREAD_SECONDS = 5.0, 30.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# What asks a model, or waits for what is to come.
_ASKS = ("/api/chat", "/v1/chat", "/v1/responses")

_UUID = r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
_in_path = re.compile(_UUID, re.IGNORECASE)
_in_query = re.compile(rf"(?:session|conversation)_id=({_UUID})".encode(), re.IGNORECASE)
_in_body = re.compile(
    rf'"(?:session_id|conversation(?:_id)?)"\s*:\s*"(?:conv_)?({_UUID})"'.encode(), re.IGNORECASE
)
_in_header = re.compile(rf"(?:conv_)?({_UUID})".encode(), re.IGNORECASE)
_SEARCHED_BYTES = 64 * 1024


class Busy(Exception):
    """No thread was free for this request in time."""


class Admission:
    """The order in which requests get a thread; used in one event loop."""

    def __init__(self, threads: int) -> None:
        self._writes = asyncio.Semaphore(max(1, threads - 1))
        self._conversations: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # Writes that wait for their place.
        self.waiting = 0

    @asynccontextmanager
    async def place(self, scope: Scope, body: IO[bytes]) -> AsyncIterator[None]:
        """Around the work of a thread. Raises Busy."""
        if not writes(scope):
            yield
            return
        name = conversation_named(scope, body)
        lock = self._conversations.setdefault(name, asyncio.Lock()) if name else None
        async with AsyncExitStack() as held:
            self.waiting += 1
            try:
                if lock is not None:
                    async with asyncio.timeout(CONVERSATION_SECONDS):
                        await held.enter_async_context(lock)
                async with asyncio.timeout(THREAD_SECONDS):
                    await held.enter_async_context(self._writes)
            except TimeoutError:
                raise Busy from None
            finally:
                self.waiting -= 1
            yield


def writes(scope: Scope) -> bool:
    return scope["method"] not in SAFE_METHODS or scope["path"].endswith("/ask-stream")


def may_wait(scope: Scope) -> bool:
    """Whether its answer may be one that is waited for."""
    return scope["path"].startswith(_ASKS) or b"wait=" in scope["query_string"]


def conversation_named(scope: Scope, body: IO[bytes]) -> str | None:
    """The conversation, or what else has an id, in the path, the query string, the header of `/v1`
    or the body."""
    if in_path := _in_path.search(scope["path"]):
        return _normal(in_path[0])
    found = _in_query.search(scope["query_string"])
    for name, value in scope["headers"]:
        if name == b"x-conversation-id" and not found:
            found = _in_header.fullmatch(value)
    if not found and body.seekable():
        found = _in_body.search(body.read(_SEARCHED_BYTES))
        body.seek(0)
    return _normal(found[1].decode()) if found else None


def _normal(uuid: str) -> str:
    return uuid.replace("-", "").lower()
