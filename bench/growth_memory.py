"""Memory of a web process: over many requests, and with many open streams."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from bench import load, services
from bench.growth_requests import API
from bench.operations import Asked
from bench.processor import Service

SAMPLES, CONNECTIONS = 40, 8
CONVERSATIONS, LENGTH = 50, 60
BEGIN_WITHIN = 300.0  # seconds, for all streams that are opened at once, on a busy machine
SETTLES = 10.0  # seconds until what has ended is gone
MESSAGE = json.dumps({"role": "user", "content": "How do I change my password?"})
QUESTION = json.dumps({"message": "How do I change my password?"})
FIRST_WORDS = b"event: delta"
MESSAGE_ID = re.compile(rb'"message_id": ?"([^"]+)"')

Sample = dict[str, Any]


def measured(requests: int, streams: int) -> dict[str, Any]:
    """`requests`: samples with `count`, `rss_kb` and `pss_kb` of the web process; `followers`,
    `answers` and `again`: the same by open streams of one answer, of as many answers, and of as
    many once more; `closed` a while after all of them ended."""
    # The tests' server that speaks a model's protocol; nothing of it needs Django.
    from conversations.tests.chat.scripted_behaviours import says
    from conversations.tests.chat.scripted_provider import ScriptedProvider

    _allow_files(4 * streams + 500)
    with services.database() as (environment, _), ScriptedProvider() as provider:
        services.migrate(environment)
        [made] = services.filled(environment, "length", {LENGTH: CONVERSATIONS}).values()
        model = {"base_url": provider.url, "model": "scripted", "timeout": 600, "connect": 600}
        environment["CHAT_PROVIDERS"] = json.dumps({"scripted": model})
        environment |= {"CHAT_PROVIDER": "scripted", "LOG_LEVEL": "WARNING"}
        with services.ours(environment, 1) as service:
            token = made[0]["token"]
            found = {"requests": list(_over_requests(service, made, requests))}
            provider.always(says("Hello"))
            _ask(service.port, token)  # the first turn of a process imports the agent library
            phases = (("followers", _followers), ("answers", _answers), ("again", _answers))
            for name, stream in phases:
                over = threading.Event()
                provider.always(_says_hello_and_waits(over))
                found[name] = list(_with_streams(service, token, stream, streams))
                over.set()
                time.sleep(SETTLES)
            return found | {"closed": [_sample(service, 0)]}


def _says_hello_and_waits(over: threading.Event) -> Callable[[Any], Awaitable[None]]:
    from conversations.tests.chat.scripted_behaviours import finished

    async def behave(exchange: Any) -> None:
        await exchange.begin()
        await exchange.piece("Hello ")
        while not over.is_set():
            await asyncio.sleep(1)
        await finished(exchange, "stop", 1, True)

    return behave


def _over_requests(service: Service, made: list[dict[str, str]], count: int) -> Iterator[Sample]:
    texts = [text.encode() for text in _mixed(made)]
    load.run(service.port, texts, 2, CONNECTIONS)  # what is loaded once
    sent = 0
    yield _sample(service, 0)
    for step in range(1, SAMPLES + 1):
        while sent < count * step // SAMPLES:
            sent += load.run(service.port, texts, 0.5, CONNECTIONS)["answers"]
        yield _sample(service, sent)
        print(f"\r{sent:,} requests", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _mixed(made: list[dict[str, str]]) -> Iterator[str]:
    """In equal parts appends, pages, lists, conversations with their messages, and searches."""
    for chat in made:
        of_chat, token = f"{API}/{chat['id']}", chat["token"]
        yield Asked("POST", f"{of_chat}/messages", MESSAGE, token).text
        for path in (f"{of_chat}/messages?page_size=50", API, of_chat, "/api/search?q=password"):
            yield Asked("GET", path, "", token).text


def _with_streams(
    service: Service, token: str, stream: Callable[[int, str], bytes], most: int
) -> Iterator[Sample]:
    with ExitStack() as stack:
        request = stream(service.port, token)
        yield _sample(service, 0)
        opened = 0
        for count in (most // 10, most // 4, most // 2, most):
            _open(stack, service.port, request, count - opened)
            opened = count
            yield _sample(service, count)


def _open(stack: ExitStack, port: int, request: bytes, count: int) -> list[bytes]:
    """So many more, and what each has sent up to its first words."""
    received: dict[socket.socket, bytes] = {}
    with DefaultSelector() as selector:
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), BEGIN_WITHIN))
            one.sendall(request)
            received[one] = b""
            selector.register(one, EVENT_READ)
        deadline = time.monotonic() + BEGIN_WITHIN
        while selector.get_map():
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(selector.get_map())} streams have not begun")
            for key, _ in selector.select(1):
                if _has_begun(received, key.fileobj):
                    selector.unregister(key.fileobj)
    return list(received.values())


def _has_begun(received: dict[socket.socket, bytes], one: Any) -> bool:
    chunk = one.recv(65_536)
    received[one] += chunk
    if not chunk:
        raise SystemExit(f"A stream ended: {received[one][:300]!r}")
    return FIRST_WORDS in received[one]


def _followers(port: int, token: str) -> bytes:
    """The request of a client that follows an answer, which has begun."""
    with ExitStack() as stack:
        found = MESSAGE_ID.search(_open(stack, port, _answers(port, token), 1)[0])
    if found is None:
        raise SystemExit("The answer has no id")
    return Asked("GET", f"/api/chat/streams/{found[1].decode()}", "", token).text.encode()


def _answers(port: int, token: str) -> bytes:
    """The request of a client that asks a question."""
    text = Asked("POST", "/api/chat", QUESTION, token).text
    return text.replace("\r\n", "\r\nAccept: text/event-stream\r\n", 1).encode()


def _ask(port: int, token: str) -> None:
    """A question, until its answer has ended."""
    load.run(port, [Asked("POST", "/api/chat", QUESTION, token).text.encode()], 0, 1)


def _sample(service: Service, count: int) -> Sample:
    """Of the web process alone, not of the process that started it."""
    [worker] = service.workers()
    found = {"count": count}
    for line in Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines():
        name, *value = line.split()
        if name in ("Rss:", "Pss:"):
            found[f"{name[:-1].lower()}_kb"] = int(value[0])
    return found


def _allow_files(wanted: int) -> None:
    """For both ends of the streams: processes that are started have the same limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))
