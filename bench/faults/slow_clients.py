"""What slow clients, open streams and a locked row cost everybody else.

    .venv/bin/python -m bench.faults.slow_clients [--seconds 10] [--streams 1000] [--clients 300]

On an installation of its own in a temporary folder: four clients that append, read and list all
the time, in a process of their own, and one disturbance after the other. Ends with status 1 if an
ordinary request fails.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.chat_streams import memory_of
from bench.faults.installation import Installation, installed
from bench.faults.ordinary_clients import Figures, call, measured
from bench.faults.ordinary_clients import connect as connect_to
from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.processes import environment_of
from conversations.tests.server.sockets import connect, head, open_sockets, read_until

CLIENTS, WRITERS, LOGINS_A_MINUTE = 4, 40, 60
Disturbance = Callable[[], AbstractContextManager[Any]]


@dataclass
class Site:
    """An installation whose models are scripted, and who asks it."""

    installation: Installation
    provider: Any
    # Of the ordinary clients, and of those that disturb.
    token: str
    other_token: str
    conversations: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.installation.port}"

    @property
    def client(self) -> ChatClient:
        return ChatClient(self.url, self.other_token)

    def connect(self) -> http.client.HTTPConnection:
        return connect_to(self.installation.port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each disturbance")
    parser.add_argument("--streams", type=int, default=1_000, help="open at once")
    parser.add_argument("--only", default="", help="the disturbances whose names contain this")
    parser.add_argument("--clients", type=int, default=300, help="slow ones of each kind")
    options = parser.parse_args()
    with installed_with_models() as site:
        sys.exit(measure(site, options))


@contextmanager
def installed_with_models() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    with ScriptedProvider() as provider:
        environment = environment_of(provider, timeout=600)
        with installed(folder, environment=environment) as installation:
            token, other = (installation.create_token(name) for name in ("ordinary", "other"))
            chats = [create_conversation(installation, token) for _ in range(CLIENTS)]
            chats.append(create_conversation(installation, other))
            yield Site(installation, provider, token, other, chats)


def create_conversation(installation: Installation, token: str) -> str:
    found = installation.request("POST", "/api/conversations", {"title": "Slow"}, token)[1]
    return str(found["id"])


def disturbances(site: Site, clients: int, streams: int) -> dict[str, Disturbance]:
    return {
        f"{clients} slow heads": lambda: slow_heads(site, clients),
        f"{clients} slow bodies": lambda: slow_bodies(site, clients, ""),
        f"{clients} slow bodies with a token": lambda: slow_bodies(site, clients, site.other_token),
        f"{WRITERS} writers on a locked row": lambda: locked_row(site),
        f"{LOGINS_A_MINUTE} wrong logins a minute": lambda: wrong_logins(site),
        f"{streams} clients of one answer": lambda: followers(site, streams),
        f"{streams} answers": lambda: open_answers(site, streams),
    }


def measure(site: Site, options: argparse.Namespace) -> int:
    ordinary(site, 3)  # warm
    for _ in range(20):  # the first turn of each process imports the agent library
        site.client.ask()
    line = "{:<32}{:>9}{:>9}{:>9}{:>8}{:>12}{:>8}".format
    print(line("", "requests", "p50 ms", "p95 ms", "ratio", "healthz max", "failed"))
    every = {"undisturbed": ExitStack} | disturbances(site, options.clients, options.streams)
    undisturbed, failed = 0.0, 0
    for name, disturb in every.items():
        if name != "undisturbed" and options.only not in name:
            continue
        with disturb():
            figures = ordinary(site, options.seconds)
        cuts = statistics.quantiles(figures.ordinary, n=20)
        undisturbed = undisturbed or cuts[18]
        p50, p95, worst = (1000 * value for value in (cuts[9], cuts[18], max(figures.health)))
        ratio = f"{cuts[18] / undisturbed:.2f}x"
        row = (len(figures.ordinary), f"{p50:.1f}", f"{p95:.1f}", ratio, f"{worst:.1f}")
        print(line(name, *row, figures.failed), flush=True)
        failed += figures.failed
    return 1 if failed else 0


def ordinary(site: Site, seconds: float) -> Figures:
    port, conversations = site.installation.port, site.conversations[:CLIENTS]
    return measured(port, site.token, conversations, seconds)


@contextmanager
def again_and_again(act: Callable[[], Any], seconds: float) -> Iterator[None]:
    """In the background, with a pause after each time."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def dripping(site: Site, count: int, start: bytes, drop: bytes) -> Iterator[None]:
    """Clients that send a little each second, and come again where they were cut off."""
    sockets = [connect(site.url) for _ in range(count)]
    for one in sockets:
        one.sendall(start)

    def drip() -> None:
        for place, one in enumerate(sockets):
            try:
                one.sendall(drop)
            except OSError:
                one.close()
                sockets[place] = connect(site.url)
                sockets[place].sendall(start)

    with again_and_again(drip, 1):
        yield
    for one in sockets:
        one.close()


def slow_heads(site: Site, count: int) -> Any:
    return dripping(site, count, b"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ", b"a")


def slow_bodies(site: Site, count: int, token: str) -> Any:
    path = "/api/conversations" if token else "/admin/login/"
    return dripping(site, count, head("POST", path, token, Content_Length="9000"), b"a")


@contextmanager
def locked_row(site: Site) -> Iterator[None]:
    chat = site.conversations[-1]
    request = ("POST", f"/api/conversations/{chat}/messages", {"role": "user", "content": "Hello"})
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            client = site.connect()
            if call(client, site.other_token, *request) == 503:
                over.wait(1)
            client.close()

    with site.installation.transaction() as cursor, ThreadPoolExecutor(WRITERS) as pool:
        cursor.execute("SELECT FROM conversations_conversation WHERE id = %s FOR UPDATE", [chat])
        for _ in range(WRITERS):
            pool.submit(write)
        yield
        over.set()


def wrong_logins(site: Site) -> Any:
    secret = "a" * 32
    form = urlencode({"username": "admin", "password": "wrong", "csrfmiddlewaretoken": secret})
    headers = {"Cookie": f"csrftoken={secret}", "Content-Type": "application/x-www-form-urlencoded"}

    def log_in() -> None:
        client = site.connect()
        client.request("POST", "/admin/login/", form, headers)
        assert client.getresponse().status in (200, 429)
        client.close()

    return again_and_again(log_in, 60 / LOGINS_A_MINUTE)


@contextmanager
def reading(site: Site, count: int, request: bytes) -> Iterator[None]:
    """So many streams, each open and read until the end."""
    before = memory(site)
    with open_sockets(site.url, count, request) as sockets:
        read_until(sockets, b"event: delta")
        each = (memory(site) - before) / count
        print(f"{count} streams are open: {each:.0f} KB each in the web processes", flush=True)
        yield


@contextmanager
def slow_answer(site: Site, seconds: float) -> Iterator[None]:
    """A model that says a word every so many seconds."""
    site.provider.always(says("Hello ", *["word "] * round(300 / seconds), pause=seconds))
    yield
    site.provider.always(says("Hello "))


@contextmanager
def followers(site: Site, count: int) -> Iterator[None]:
    client = site.client
    with slow_answer(site, 1):
        stream = client.stream("Hi")
        path = f"/api/chat/streams/{next(iter(stream)).data['message_id']}"
        with reading(site, count, head("GET", path, site.other_token)):
            yield
        client.stop(path.rpartition("/")[2])
        stream.close()


@contextmanager
def open_answers(site: Site, count: int) -> Iterator[None]:
    question = json.dumps({"message": "Hi"}).encode()
    fields = {"Accept": "text/event-stream", "Content_Type": "application/json"}
    length = str(len(question))
    ask = head("POST", "/api/chat", site.other_token, **fields, Content_Length=length)
    with slow_answer(site, 10), reading(site, count, ask + question):
        yield


def memory(site: Site) -> int:
    return memory_of(site.installation.workers)


if __name__ == "__main__":
    main()
