"""The requests that `bench/growth.py` measures, by the name of what they do.

Each function checks with a first request of each kind that it is answered as it should be, and
walks to the middle of lists as clients do, by the links of the pages.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench.data import Writer
from bench.growth_data import RARE, RARE_MESSAGES
from bench.operations import Asked, check

Requests = dict[str, list[Asked]]

API, LIST = "/api/conversations", "/admin/conversations/conversation/"
PAGES = (10, 50)
STEP = 200  # a page of those that lead to the middle
TEXTS = 25
COMMON, PHRASE = "train", '"train refund"'
ZONES_IN_A_ROUND = 40


def on_conversation(port: int, token: str, key: str, length: int) -> Requests:
    """An append, and pages of the beginning, the middle and the end, where there are three."""
    path = f"{API}/{key}/messages"
    found = {"append": [Asked("POST", path, _message(text), token) for text in _texts()]}
    for size in PAGES:
        pages = {"first": _page(path, size), "last": _page(path, size, order="desc")}
        if length >= 3 * size:
            pages["middle"] = _from_middle(port, path, token, "messages", length, size)
        if length >= size:
            for name, page in pages.items():
                asked = Asked("GET", page, "", token, size, "messages")
                found[f"{name} page of {size}"] = [asked]
    return _checked(port, found)


def of_owner(port: int, token: str, conversations: int) -> Requests:
    """Pages of the list, from its beginning and its middle; a new conversation, and the latest."""
    texts = _texts()
    found = {
        "create": [Asked("POST", API, json.dumps({"title": text[:60]}), token) for text in texts],
        "get or create": [Asked("POST", API, "", token)],
    }
    for size in PAGES:
        pages = {"list": _page(API, size)}
        if conversations >= 3 * size:
            pages["middle of the list"] = _from_middle(
                port, API, token, "conversations", conversations, size
            )
        if conversations >= size:
            for name, page in pages.items():
                asked = Asked("GET", page, "", token, size, "conversations")
                found[f"{name}, {size}"] = [asked]
    return _checked(port, found)


def among_all(port: int, made: dict[str, Any]) -> list[Requests]:
    """Searches of owners, and of staff over everybody; pages of staff. For each round."""
    owners = made["owners"]
    tokens = [owner["token"] for owner in owners]
    each = RARE_MESSAGES // len(owners)
    found = {
        "owner: list": [_list(10, token) for token in tokens],
        "owner: search, rare word": [_search(RARE, token, each) for token in tokens],
        "owner: search, common word": [_search(COMMON, token, 50) for token in tokens],
    }
    _checked(port, found)
    found |= _of_staff(made)
    for asked in found.values():
        _answer(port, asked[0])
    # Its figures are kept for a minute for each time zone of a viewer: each round asks from others.
    pages = [_dashboard(made, zone) for zone in made["zones"]]
    starts = range(0, len(pages), ZONES_IN_A_ROUND)
    return [found | {"dashboard": pages[start : start + ZONES_IN_A_ROUND]} for start in starts]


def _of_staff(made: dict[str, Any]) -> Requests:
    longest, owners = made["longest"], made["owners"]
    transcript = f"{LIST}{longest['id']}/change/"
    paths = {
        "staff: search, rare word": [_everybody(RARE)],
        "staff: search, common word": [_everybody(COMMON)],
        "staff: search, phrase": [_everybody(PHRASE)],
        "list": [LIST],
        "list: failed answers": [f"{LIST}?status=failed"],
        "list: one owner": [f"{LIST}?{urlencode({'owner': one['name']})}" for one in owners],
        "list: rare word": [f"{LIST}?q={RARE}"],
        "list: common word": [f"{LIST}?q={COMMON}"],
        "list: phrase": [f"{LIST}?{urlencode({'q': PHRASE})}"],
        "transcript, first page": [transcript],
        "transcript, last page": [f"{transcript}?after={longest['length'] - 100}"],
    }
    return {
        name: [Asked("GET", path, cookie=_session(made)) for path in of_kind]
        for name, of_kind in paths.items()
    }


def _dashboard(made: dict[str, Any], zone: str) -> Asked:
    return Asked("GET", "/admin/", cookie=f"{_session(made)}; zone={zone}")


def _session(made: dict[str, Any]) -> str:
    return f"{made['cookie']}={made['session']}"


def _search(text: str, token: str, items: int) -> Asked:
    return Asked("GET", f"/api/search?{urlencode({'q': text})}", "", token, items, "results")


def _list(size: int, token: str) -> Asked:
    return Asked("GET", _page(API, size), "", token, size, "conversations")


def _everybody(text: str) -> str:
    return f"/api/search?{urlencode({'q': text, 'user_id': '*'})}"


def _page(path: str, size: int, **parameters: str) -> str:
    return f"{path}?{urlencode({'page_size': size, **parameters})}"


def _from_middle(port: int, path: str, token: str, under: str, count: int, size: int) -> str:
    """The path of the page that begins in the middle of so many items."""
    seen, step = 0, min(STEP, count // 2)
    page = _page(path, step)
    while seen < count // 2:
        answer = json.loads(_answer(port, Asked("GET", page, "", token)))
        seen += len(answer[under])
        next_page = urlsplit(answer["next"])
        page = f"{next_page.path}?{next_page.query}"
    return page.replace(f"page_size={step}", f"page_size={size}")


def _texts() -> list[str]:
    writer = Writer(seed=2)
    return [writer.text("user") for _ in range(TEXTS)]


def _message(text: str) -> str:
    return json.dumps({"role": "user", "content": text})


def _checked(port: int, found: Requests) -> Requests:
    for asked in found.values():
        check(port, asked[0])
    return found


def _answer(port: int, asked: Asked) -> str:
    """Refuses to measure what is not answered with 200."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    client.request(asked.method, asked.path, asked.body or None, asked.headers)
    response = client.getresponse()
    text = response.read().decode()
    client.close()
    if response.status != 200:
        raise SystemExit(f"{asked.method} {asked.path}: {response.status} {text[:300]!r}")
    return text
