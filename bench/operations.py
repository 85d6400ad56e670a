"""What is asked of both services: the same three things, each in its service's own words."""

from __future__ import annotations

import http.client
import json
import random
from dataclasses import dataclass
from typing import Any

from bench.data import Writer

PAGE = 50
REQUESTS = 2_000
OPERATIONS = ("append one message", "history page of 50", "list of 50 conversations")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; `items` is how many an answer to it holds, and under which name they stand."""

    method: str
    path: str
    body: str = ""
    token: str = ""
    items: int = 1
    under: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Host": "127.0.0.1"}
        if self.body:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(self.body.encode()))
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    @property
    def text(self) -> str:
        """The request as it goes over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", self.body])


def requests_of_ours(users: list[dict[str, Any]]) -> dict[str, list[Asked]]:
    writer = Writer(seed=2)
    append, history, listing = OPERATIONS
    base = "/api/conversations"
    asked: dict[str, list[Asked]] = {name: [] for name in OPERATIONS}
    for user, conversation in _chosen(users):
        token = user["token"]
        messages = f"{base}/{conversation}/messages"
        asked[append].append(Asked("POST", messages, _body(writer), token))
        asked[history].append(
            Asked("GET", f"{messages}?page_size={PAGE}", "", token, PAGE, "messages")
        )
        asked[listing].append(
            Asked("GET", f"{base}?page_size={PAGE}", "", token, PAGE, "conversations")
        )
    return asked


def requests_of_baseline(users: list[dict[str, Any]]) -> dict[str, list[Asked]]:
    writer = Writer(seed=2)
    append, history, listing = OPERATIONS
    asked: dict[str, list[Asked]] = {name: [] for name in OPERATIONS}
    for user, conversation in _chosen(users):
        messages = f"/conversations/{conversation}/messages"
        conversations = f"/users/{user['key']}/conversations?limit={PAGE}"
        asked[append].append(Asked("POST", messages, _body(writer)))
        asked[history].append(Asked("GET", f"{messages}?limit={PAGE}", items=PAGE))
        asked[listing].append(Asked("GET", conversations, items=PAGE))
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
    if response.status not in (200, 201) or found != asked.items:
        raise SystemExit(f"{asked.method} {asked.path}: {response.status} {text[:300]!r}")


def _chosen(users: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    chance = random.Random(3)
    chosen = [chance.choice(users) for _ in range(REQUESTS)]
    return [(user, chance.choice(user["conversations"])) for user in chosen]


def _body(writer: Writer) -> str:
    return json.dumps({"role": "user", "content": writer.text("user")})
