"""What a transcript shows on request: tool calls, results, sources, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PREVIEW_CHARS = 160
LONGEST_URL = 2_000

# The names under which retrieval libraries hand over a chunk, in the order that they are tried.
_TITLES = ("title", "name", "source", "document", "file", "filename", "url", "id")
_SCORES = ("score", "similarity", "relevance", "distance")
_URLS = ("url", "link", "href", "uri", "source", "source_url")
_TEXTS = ("text", "content", "snippet", "page_content", "chunk")


@dataclass(frozen=True, slots=True)
class Source:
    """One retrieved chunk; `rest` is what else was stored of it, as JSON.

    `url` is where it stands, if that is an address of the web.
    """

    title: str
    score: str
    text: str
    rest: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Collapsible:
    """A line that says what it is, and what it holds. `call` is the id of a tool call; `open`
    where a match of the search is within."""

    label: str
    text: str
    name: str = ""
    call: str = ""
    cut: bool = False
    sources: tuple[Source, ...] = ()
    open: bool = False

    @property
    def texts(self) -> list[str]:
        """All that is shown of it once it is open."""
        of_sources = (text for one in self.sources for text in (one.title, one.text, one.rest))
        return [self.name, self.text, *of_sources]

    @property
    def preview(self) -> str:
        if self.sources:
            text = ", ".join(source.title for source in self.sources)
        else:
            text = self.text[: PREVIEW_CHARS * 4]
        return " ".join(text.split())[:PREVIEW_CHARS]


def result_collapsible(content: str) -> Collapsible:
    """What a tool answered: its JSON laid out, anything else as it is."""
    return Collapsible("Result", pretty(content) or content)


def call_collapsibles(text: str | None, limit: int | None) -> Iterable[Collapsible]:
    calls = None if text is None or _is_cut(text, limit) else parsed(text)
    if not isinstance(calls, list):
        return [] if text is None else [json_collapsible("Tool calls", text, limit)]
    return [_call(call) for call in calls]


def source_collapsible(text: str | None, limit: int | None) -> Iterable[Collapsible]:
    found = None if text is None or _is_cut(text, limit) else parsed(text)
    if not isinstance(found, list):
        return [] if text is None else [json_collapsible("Sources", text, limit)]
    if not found:
        return []
    label = f"{len(found)} source{'' if len(found) == 1 else 's'}"
    return [Collapsible(label, "", sources=tuple(map(_source, found)))]


def json_collapsible(label: str, text: str, limit: int | None) -> Collapsible:
    if _is_cut(text, limit):
        return Collapsible(label, text[:limit], cut=True)
    return Collapsible(label, pretty(text) or text)


def _call(call: Any) -> Collapsible:
    """One tool call in the form of OpenAI's chat messages; any other as the JSON that it is."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "name" not in function:
        return Collapsible("Tool call", dumped(call))
    arguments = function.get("arguments", "")
    text = arguments if isinstance(arguments, str) else dumped(arguments)
    name, call_id = str(function["name"]), str(call.get("id") or "")
    return Collapsible("Tool call", pretty(text) or text, name=name, call=call_id)


def _source(item: Any) -> Source:
    if not isinstance(item, dict):
        return Source("Source", "", item if isinstance(item, str) else dumped(item), "")
    rest = dict(item)
    title, score, text = (_taken(rest, names) for names in (_TITLES, _SCORES, _TEXTS))
    addresses = (str(value) for value in [title, *map(rest.get, _URLS)] if is_web_address(value))
    url = next(addresses, "")
    rest = {name: value for name, value in rest.items() if name not in _URLS or value != url}
    return Source(title or "Source", score, text, dumped(rest) if rest else "", url)


def is_web_address(value: Any) -> bool:
    """Whether it may be a link: nothing that runs, and nothing within the admin."""
    if not isinstance(value, str) or len(value) > LONGEST_URL:
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _taken(item: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these that is there, and no longer in `item`; "" without one."""
    for name in names:
        if isinstance(item.get(name), str | int | float) and item[name] != "":
            value = item.pop(name)
            return f"{value:.4g}" if isinstance(value, float) else str(value)
    return ""


def _is_cut(text: str, limit: int | None) -> bool:
    return limit is not None and len(text) > limit


def pretty(text: str) -> str | None:
    """An object or array of JSON laid out; None for any other text."""
    value = parsed(text)
    return dumped(value) if isinstance(value, dict | list) else None


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def dumped(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
