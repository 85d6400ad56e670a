"""The streaming events of a Response, as far as they follow from its turn.

Each event's `sequence_number` follows from the turn's content alone: it counts the events before
it, of a piece of text each character. So the numbers grow, but not by one, and any process that
knows what is stored gives the same events the same numbers: a client that comes back with the last
one it saw gets the rest from whoever answers.

A model may go on thinking after its first words. Its thoughts up to then are the events of the
reasoning; those after them are in the Response at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conversations.chat.responses.response import (
    empty_response,
    output_of,
    response_of,
    status_of,
)
from conversations.models.turn import Turn

Json = dict[str, Any]

NONE_SEEN = -1
_LAST_EVENTS = {"completed": "completed", "failed": "failed"}


class ResponseEvents:
    """The events of one turn for one client, which has seen those up to a number."""

    def __init__(self, request: Mapping[str, Any], seen: int = NONE_SEEN) -> None:
        self._request, self._seen = request, seen
        # By the place of a reasoning among the output, the characters it had when it was followed.
        self._thought: dict[int, int] = {}

    def next(self, turn: Turn) -> list[Json]:
        """What the client has not seen yet of the turn as it is now, in order."""
        found, number = [], NONE_SEEN
        for event, size in self._all(turn):
            number += size
            if number <= self._seen:
                continue
            if size > 1:
                unseen = min(size, number - self._seen)
                event["delta"] = event["delta"][-unseen:]
            found.append(event | {"sequence_number": number})
        self._seen = max(self._seen, number)
        return found

    def _all(self, turn: Turn) -> Iterator[tuple[Json, int]]:
        """All events so far, and how much each adds to the number."""
        empty = empty_response(turn, self._request)
        yield {"type": "response.created", "response": empty}, 1
        yield {"type": "response.in_progress", "response": empty}, 1
        items = output_of(turn)
        for place, item in enumerate(items):
            is_done = turn.ended or place < len(items) - 1
            yield from self._of_item(item, place, is_done)
        if turn.ended:
            response = response_of(turn, self._request)
            kind = _LAST_EVENTS.get(status_of(turn), "incomplete")
            yield {"type": f"response.{kind}", "response": response}, 1

    def _of_item(self, item: Json, place: int, is_done: bool) -> Iterator[tuple[Json, int]]:
        where = {"item_id": item["id"], "output_index": place}
        yield {"type": _ADDED, "output_index": place, "item": _opened(item)}, 1
        if item["type"] in ("message", "reasoning"):
            for index, part in enumerate(item.get("content") or ()):
                closes = is_done or index < len(item["content"]) - 1
                yield from self._of_part(part, where | {"content_index": index}, closes)
        elif item["type"] in _CALLS:
            yield from _of_call(item, where, is_done)
        if is_done:
            yield {"type": _DONE, "output_index": place, "item": item}, 1

    def _of_part(self, part: Json, where: Json, is_done: bool) -> Iterator[tuple[Json, int]]:
        kind, name = part["type"], "refusal" if part["type"] == "refusal" else "text"
        text = part.get(name) or ""
        more: Json = {"logprobs": []} if kind == "output_text" else {}
        if kind == "reasoning_text" and is_done:
            text = text[: self._thought.setdefault(where["output_index"], len(text))]
        yield where | {"type": f"{_PART}.added", "part": part | {name: ""}}, 1
        if text:
            yield where | {"type": f"response.{kind}.delta", "delta": text} | more, len(text)
        if is_done:
            yield where | {"type": f"response.{kind}.done", name: text} | more, 1
            yield where | {"type": f"{_PART}.done", "part": part | {name: text}}, 1


_ADDED, _DONE = "response.output_item.added", "response.output_item.done"
_PART = "response.content_part"
_CALLS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}


def _opened(item: Json) -> Json:
    """The item before anything has come of it."""
    opened = {name: value for name, value in item.items() if name not in ("content", "status")}
    if "status" in item:
        opened["status"] = "in_progress"
    if "content" in item:
        opened["content"] = []
    if item["type"] in _CALLS:
        opened[_CALLS[item["type"]][0]] = ""
    return opened


def _of_call(item: Json, where: Json, is_done: bool) -> Iterator[tuple[Json, int]]:
    name, kind = _CALLS[item["type"]]
    if item[name]:
        yield where | {"type": f"{kind}.delta", "delta": item[name]}, len(item[name])
    if is_done:
        yield where | {"type": f"{kind}.done", name: item[name]}, 1
