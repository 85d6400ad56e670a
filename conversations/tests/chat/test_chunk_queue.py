"""Chunks between two event loops: in order, all of them, and no more at once than fit."""

import asyncio
import threading

import pytest

from conversations.chat.forwarding.chunk_queue import MAX_BYTES, ChunkQueue


async def read(queue, idle_seconds=5.0):
    return [item async for item in queue.items(idle_seconds)]


def test_all_items_come_in_order_from_another_thread():
    queue, count = ChunkQueue(), 5_000

    async def fill():
        for number in range(count):
            await queue.put({"n": number}, 1_000)
        queue.close()

    filling = threading.Thread(target=lambda: asyncio.run(fill()))
    filling.start()
    found = asyncio.run(read(queue))
    filling.join()
    assert [item["n"] for item in found] == list(range(count))


def test_what_is_too_much_waits_until_it_is_read():
    async def run():
        queue = ChunkQueue()
        await queue.put({"n": 1}, MAX_BYTES)
        waiting = asyncio.create_task(queue.put({"n": 2}, 1))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        items = queue.items(5.0)
        assert await anext(items) == {"n": 1}
        await asyncio.wait_for(waiting, 1)
        assert await anext(items) == {"n": 2}
        await items.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("item", [{"n": 1}, None])
def test_it_begins_with_its_first_item_or_not_at_all(item):
    async def run():
        queue = ChunkQueue()
        waiting = asyncio.create_task(queue.begins())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await queue.put(item, 1)
        assert await waiting
        empty = ChunkQueue()
        empty.close()
        assert not await empty.begins()
        assert await read(empty) == []

    asyncio.run(run())


def test_silence_is_told_now_and_then():
    async def run():
        queue = ChunkQueue()
        asyncio.get_running_loop().call_later(0.25, queue.close)
        return await read(queue, 0.1)

    assert asyncio.run(run()) == [None, None]
