"""What the record adds before a model is asked: from a client's request to the provider's receipt.

    .venv/bin/python bench/forwarding.py [--messages 1 100 1000] [--requests 200] [--stream]

A client of POST /v1/chat/completions resends its whole history each time, as all of them do, on a
connection that it keeps. The provider is on loopback, keeps connections as well, and notes when it
has read a request; what the same request takes directly to it is shown beside, and so is the
processor time of the web worker for a whole request, and what a history page of 50 messages takes
of it, by which machines can be compared. One web worker, on a database of its own in a temporary
folder.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import importlib
import json
import os
import socket
import statistics
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WARM_UP = 20
# Of one chat, each two messages longer.
TURNS = 10
ANSWER = "Hello from a model that says always the same."
TEXT = "A sentence of a chat that is about as long as sentences are. " * 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, nargs="+", default=[1, 100, 1_000])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args()
    # The tests' own choice of a database, which it also removes at the end.
    importlib.import_module("conftest")
    measure(options.messages, options.requests, options.stream)


def measure(lengths: list[int], requests: int, stream: bool) -> None:
    from django.core.management import call_command
    from django.db import connection

    from conversations.tests.chat.servers import serving
    from conversations.tests.factories import make_token, make_user

    call_command("migrate", verbosity=0)
    token = make_token(make_user("bench"))
    connection.close()
    with Provider() as provider, serving(provider, LOG_LEVEL="WARNING") as server:
        print(f"{'messages':>8} {'median ms':>10} {'p95 ms':>8} {'direct':>8} {'web cpu ms':>10}")
        for count in lengths:
            before = processor_seconds(server.workers)
            recorded = times(server.url, token, provider, count, requests, stream)
            spent = processor_seconds(server.workers) - before
            direct = times(provider.url.removesuffix("/v1"), "k", provider, count, 50, stream)
            show(count, recorded, direct, spent / (requests + WARM_UP) * 1_000)
        print(f"A history page of 50 messages: {cost_of_page(server, token):.1f} ms of web cpu")
    connection.close()


def times(
    url: str, token: str, provider: Provider, count: int, requests: int, stream: bool
) -> list[float]:
    """Milliseconds from a request's being sent to the provider's having read it, by request."""
    client = Client(url, token, stream)
    for number in range(WARM_UP):
        client.ask([{"role": "user", "content": f"warm {number}"}])
    found: list[float] = []
    while len(found) < requests:
        history = chat_of(count, len(found))
        # Of a longer chat the first request stores all, and is not measured.
        for turn in range(1 if count == 1 else 1 + TURNS):
            answer, sent_at = client.ask(history)
            if turn or count == 1:
                found.append((provider.read_at - sent_at) * 1_000)
            history += [
                {"role": "assistant", "content": answer},
                {"role": "user", "content": f"{turn}: {TEXT}"},
            ]
    return found


def cost_of_page(server: Any, token: str) -> float:
    """Milliseconds of the web worker's processor time for a history page of 50 messages."""
    client = Client(server.url, token, stream=False)
    chats = [row["id"] for row in client.get("/api/conversations?page_size=20")["conversations"]]
    paths = [f"/api/conversations/{chat}/messages?page_size=50" for chat in chats] * 10
    before = processor_seconds(server.workers)
    for path in paths:
        client.get(path)
    return (processor_seconds(server.workers) - before) / len(paths) * 1_000


class Provider:
    """A model on loopback that says always the same, on connections that it keeps.

    `read_at` is the time at which it had read the last request.
    """

    def __init__(self) -> None:
        self.read_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._answer, sock=self._listener)
        asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                body = await reader.readexactly(int(length))
                self.read_at = time.monotonic()
                writer.write(ANSWERS[bool(json.loads(body)["stream"])])
                await writer.drain()


class Client:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, url: str, token: str, stream: bool) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"))
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._stream = stream

    def get(self, path: str) -> Any:
        self._connection.request("GET", path, headers=self._headers)
        reply = self._connection.getresponse()
        assert reply.status == 200
        return json.loads(reply.read())

    def ask(self, messages: list[dict[str, str]]) -> tuple[str, float]:
        """The text of the answer, and when the request was sent."""
        body = {"model": "scripted", "messages": messages, "stream": self._stream}
        content = json.dumps(body).encode()
        sent_at = time.monotonic()
        self._connection.request("POST", "/v1/chat/completions", content, self._headers)
        reply = self._connection.getresponse()
        text = reply.read().decode()
        assert reply.status == 200, text
        if self._stream:
            chunks = [json.loads(line[6:]) for line in text.split("\n") if line[:7] == "data: {"]
            deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
            return "".join(delta.get("content") or "" for delta in deltas), sent_at
        return json.loads(text)["choices"][0]["message"]["content"], sent_at


def response(kind: str, body: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def completion(kind: str, said: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    """A completion or a chunk of one. `said` is its `message` or `delta`."""
    choice = {"index": 0, **said, "finish_reason": finish_reason}
    shared = {"id": "c", "object": kind, "created": 1, "model": "scripted"}
    return shared | {"choices": [choice]}


def answers() -> dict[bool, bytes]:
    """The answer to a request for a stream, and to another one."""
    message = {"role": "assistant", "content": ANSWER}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    whole = completion("chat.completion", {"message": message}, "stop") | {"usage": usage}
    chunks = [
        completion("chat.completion.chunk", {"delta": message}, None),
        completion("chat.completion.chunk", {"delta": {}}, "stop"),
    ]
    events = [*map(json.dumps, chunks), "[DONE]"]
    stream = "".join(f"data: {event}\n\n" for event in events)
    return {
        False: response("application/json", json.dumps(whole)),
        True: response("text/event-stream", stream),
    }


def chat_of(count: int, number: int) -> list[dict[str, str]]:
    """So many messages, or one more: it ends with a question."""
    roles = ("user", "assistant")
    return [
        {"role": roles[i % 2], "content": f"{number}, {i}: {TEXT}"}
        for i in range(count // 2 * 2 + 1)
    ]


def processor_seconds(pids: list[int]) -> float:
    """Of these processes since they began (Linux)."""
    ticks = 0
    for pid in pids:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(numbers[11]) + int(numbers[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def show(count: int, recorded: list[float], direct: list[float], cpu: float) -> None:
    middle = statistics.median(recorded)
    slow = statistics.quantiles(recorded, n=20)[-1]
    alone = statistics.median(direct)
    print(f"{count:8} {middle:10.1f} {slow:8.1f} {alone:8.1f} {cpu:10.1f}", flush=True)


ANSWERS = answers()

if __name__ == "__main__":
    main()
