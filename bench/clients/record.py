"""What is recorded, read over `/api` with a trusted token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import httpx

WITHIN = 30  # seconds
Path = tuple[tuple[str, str], ...]  # (role, text) from the beginning to the end of a branch


class Record:
    """The conversations of all users that the token may see."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=f"{url}/api", headers=headers, timeout=WITHIN)

    def conversations(self, owner: str = "*") -> list[dict[str, Any]]:
        """Those of one user, by the name that the client has for it, or of all."""
        query = urlencode({"user_id": owner, "page_size": 100})
        found: list[dict[str, Any]] = self._get(f"/conversations?{query}")["conversations"]
        return found

    def messages(self, conversation: str, branch: str = "") -> list[dict[str, Any]]:
        """Those of the active branch, or of another one by its number."""
        query = "page_size=100" + (f"&branch={branch}" if branch else "")
        found: list[dict[str, Any]]
        found = self._get(f"/conversations/{conversation}/messages?{query}")["messages"]
        return found

    def paths(self, conversation: str) -> set[Path]:
        """Every branch, from the beginning of the conversation to its end."""
        branches = self._get(f"/conversations/{conversation}/branches?page_size=100")["branches"]
        paths = [self.messages(conversation, str(one["number"])) for one in branches]
        return {tuple(map(said, path)) for path in paths}

    def all_beginning_with(self, text: str) -> list[dict[str, Any]]:
        """The conversations whose first question is this, after any document put before it."""
        return [
            one for one in self.conversations() if self._first_question(one["id"]).endswith(text)
        ]

    def wait_for(self, text: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The last message of the conversation that begins with `text`, once this holds of it."""
        deadline = time.monotonic() + WITHIN
        while True:
            for conversation in self.all_beginning_with(text):
                last = self.messages(conversation["id"])[-1]
                if last["role"] == "assistant" and holds(last):
                    return last
            assert time.monotonic() < deadline, f"not recorded within {WITHIN} s: {text}"
            time.sleep(0.1)

    def _first_question(self, conversation: str) -> str:
        messages = self.messages(conversation)
        return next((str(one["content"]) for one in messages if one["role"] == "user"), "")

    def _get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()


def said(message: dict[str, Any]) -> tuple[str, str]:
    return str(message["role"]), str(message.get("content") or "").strip()


def paths_of_tree(messages: Iterable[dict[str, Any]]) -> set[Path]:
    """The paths through messages that name their parents in `parentId`."""
    by_id = {one["id"]: one for one in messages}
    parents = {one["parentId"] for one in by_id.values()}

    def path(message: dict[str, Any]) -> Path:
        above = by_id.get(message["parentId"] or "")
        return (path(above) if above else ()) + (said(message),)

    return {path(one) for key, one in by_id.items() if key not in parents}
