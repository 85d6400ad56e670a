"""What is asked of both services: the same things, each in its service's own words."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from bench.data import Writer

PAGE = 50
REQUESTS = 2_000
BULK = 100
FOUND = 20
OPERATIONS = (
    APPEND := "append one message",
    HISTORY := "history page of 50",
    LIST := "list of 50 conversations",
    CREATE := "create a conversation",
    DETAIL := "conversation with messages",
    BULK_APPEND := "append 100 messages at once",
    SEARCH := "search for a word",
)
# Of each user's conversations, those that are written to: what is read keeps its length.
WRITTEN = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; `items` is how many an answer to it holds, if that is known, and under which
    name they stand."""

    method: str
    path: str
    body: str = ""
    token: str = ""
    items: int | None = 1
    under: str | None = None
    cookie: str = ""

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Host": "127.0.0.1"}
        if self.body:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(self.body.encode()))
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if self.cookie:
            headers["Cookie"] = self.cookie
        return headers

    @property
    def text(self) -> str:
        """The request as it goes over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", self.body])


def requests_of_ours(users: list[dict[str, Any]]) -> dict[str, list[Asked]]:
    writer, base = Writer(seed=2), "/api/conversations"
    asked: dict[str, list[Asked]] = {name: [] for name in OPERATIONS}

    for user, read, written in _chosen(users):
        ask = partial(_ask, asked, user["token"])
        messages, one, many = f"{base}/{read}/messages", *(_bodies(writer, n) for n in (1, BULK))
        ask(APPEND, "POST", f"{base}/{written}/messages", one[0])
        ask(HISTORY, "GET", f"{messages}?page_size={PAGE}", items=PAGE, under="messages")
        ask(LIST, "GET", f"{base}?page_size={PAGE}", items=PAGE, under="conversations")
        ask(DETAIL, "GET", f"{base}/{read}", items=None, under="messages")
        ask(CREATE, "POST", base, {"title": writer.text("user")[:80]})
        body = {"messages": many}
        ask(BULK_APPEND, "POST", f"{base}/{written}/messages", body, items=BULK, under="messages")
        query = urlencode({"q": writer.word(), "page_size": FOUND})
        ask(SEARCH, "GET", f"/api/search?{query}", items=None, under="results")
    return asked


def requests_of_baseline(users: list[dict[str, Any]]) -> dict[str, list[Asked]]:
    writer = Writer(seed=2)
    asked: dict[str, list[Asked]] = {name: [] for name in OPERATIONS}

    ask = partial(_ask, asked, "")
    for user, read, written in _chosen(users):
        base, own = f"/conversations/{read}", f"/users/{user['key']}"
        one, many = _bodies(writer, 1), _bodies(writer, BULK)
        ask(APPEND, "POST", f"/conversations/{written}/messages", one[0])
        ask(HISTORY, "GET", f"{base}/messages?limit={PAGE}", items=PAGE)
        ask(LIST, "GET", f"{own}/conversations?limit={PAGE}", items=PAGE)
        ask(DETAIL, "GET", base, items=None, under="messages")
        title = writer.text("user")[:80]
        ask(CREATE, "POST", "/conversations", {"user_id": user["key"], "title": title})
        ask(BULK_APPEND, "POST", f"/conversations/{written}/messages/bulk", many, items=BULK)
        query = urlencode({"q": writer.word(), "limit": FOUND})
        ask(SEARCH, "GET", f"{own}/search?{query}", items=None)
    return asked


def check(port: int, asked: Asked) -> None:
    """Refuse to measure a service that does not answer with what was asked for."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request(asked.method, asked.path, asked.body or None, asked.headers)
    response = client.getresponse()
    text = response.read()
    client.close()
    answer = json.loads(text)
    items = answer if asked.under is None else answer[asked.under]
    found = len(items) if isinstance(items, list) else 1
    if response.status not in (200, 201) or asked.items not in (None, found):
        raise SystemExit(f"{asked.method} {asked.path}: {response.status} {text[:300]!r}")


def _chosen(users: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """A user, a conversation to read, and one to write to."""
    chance = random.Random(3)
    for _ in range(REQUESTS):
        user = chance.choice(users)
        conversations = user["conversations"]
        yield user, chance.choice(conversations[:-WRITTEN]), chance.choice(conversations[-WRITTEN:])


def _bodies(writer: Writer, count: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": writer.text("user")} for _ in range(count)]


def _ask(
    asked: dict[str, list[Asked]],
    token: str,
    operation: str,
    method: str,
    path: str,
    body: object = None,
    **answer: Any,
) -> None:
    text = "" if body is None else json.dumps(body)
    asked[operation].append(Asked(method, path, text, token, **answer))
