"""Chunks on their way from the event loop that asks a model to the one that sends to its client."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from conversations.chat.runtime.notice import Notice

# A client that reads slower than the model writes holds it up beyond so much.
MAX_BYTES = 64 * 1024

# None is a sign that the provider is still there.
Item = dict[str, Any] | None


class ChunkQueue:
    """Between one that puts and one that reads. What is too much for it waits with its source."""

    def __init__(self) -> None:
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._closed = False
        self._begun = False
        self._lock = threading.Lock()
        self._changed = Notice()

    async def put(self, item: Item, size: int) -> None:
        """Add an item of so many bytes, once there is room."""
        while True:
            with self._changed.next() as change:
                if self._add(item, size):
                    break
                await change
        self._changed.tell()

    def begin(self) -> None:
        """Something has come, of which nothing is put here."""
        with self._lock:
            self._begun = True
        self._changed.tell()

    def close(self) -> None:
        """No more will come: who reads gets what is there, then the end."""
        with self._lock:
            self._closed = True
        self._changed.tell()

    async def begins(self) -> bool:
        """Waits for the first item; False where none will come."""
        while True:
            with self._changed.next() as change:
                with self._lock:
                    if self._begun or self._closed:
                        return self._begun
                await change

    async def items(self, idle_seconds: float) -> AsyncGenerator[Item, None]:
        """All of them, in order; None also whenever nothing came for so many seconds."""
        while True:
            found, is_last = await self._take(idle_seconds)
            for item in found:
                yield item
            if is_last:
                return
            if not found:
                yield None

    async def _take(self, seconds: float) -> tuple[list[Item], bool]:
        """What is there, waited for; and whether it was the last."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    with self._changed.next() as change:
                        found, is_last = self._remove()
                        if found or is_last:
                            break
                        await change
        except TimeoutError:
            return [], False
        self._changed.tell()
        return found, is_last

    def _add(self, item: Item, size: int) -> bool:
        with self._lock:
            if self._bytes >= MAX_BYTES:
                return False
            self._items.append((item, size))
            self._bytes += size
            self._begun = True
        return True

    def _remove(self) -> tuple[list[Item], bool]:
        with self._lock:
            found = [item for item, _ in self._items]
            self._items.clear()
            self._bytes = 0
            return found, self._closed
