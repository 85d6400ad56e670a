"""The output of a Response as its provider's events tell it."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings

from conversations.chat.llm.extras import storable_json
from conversations.chat.tool_results import storable
from conversations.formats.item_types import prefix_of

Json = dict[str, Any]

# By the kind of event, the key that a piece is added to.
_OF_PARTS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "text",
}
_OF_ITEMS = {
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
_OF_SUMMARIES = "response.reasoning_summary_text.delta"
PROVIDER_ID = "provider_id"
_THOUGHTS = frozenset({"response.reasoning_text.delta", _OF_SUMMARIES})


class Output:
    """The items as far as they have come, in their order."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self._whole = set[int]()
        self._last_text: tuple[Any, ...] = ()
        self._last_thought: tuple[Any, ...] = ()

    def take(self, event: Json) -> tuple[str, str]:
        """Add what an event says; a piece of text and of reasoning for those who only read."""
        kind, place, delta = event.get("type"), event.get("output_index"), event.get("delta")
        delta = storable(delta) if isinstance(delta, str) else None
        if kind in ("response.output_item.added", "response.output_item.done"):
            self._put(place, event.get("item"))
            if kind == "response.output_item.done" and isinstance(place, int):
                self._whole.add(place)
        elif kind == "response.content_part.added":
            self._add_part(place, event.get("part"))
        elif kind in _OF_ITEMS and delta is not None:
            _add(self._item(place), _OF_ITEMS[kind], delta)
        elif kind in _OF_PARTS and delta is not None:
            parts = self._item(place).get("content")
            _add(_at(parts, event.get("content_index")), _OF_PARTS[kind], delta)
        if not delta:
            return "", ""
        where = place, event.get("content_index"), event.get("summary_index")
        if kind in _THOUGHTS:
            begins = "\n\n" if self._last_thought not in ((), where) else ""
            self._last_thought = where
            return "", begins + delta
        if kind in _OF_PARTS:
            begins = "\n" if self._last_text not in ((), where) else ""
            self._last_text = where
            return begins + delta, ""
        return "", ""

    def kept(self) -> list[Json]:
        """The items that have come to their end, and messages as far as they have come."""
        found = []
        for place, item in enumerate(self.items):
            if place in self._whole:
                found.append(item)
            elif item["type"] == "message" and item.get("content"):
                found.append(item | {"status": "incomplete"})
        return found

    def id_at(self, place: Any, message_id: uuid.UUID) -> str | None:
        """The id of an item as it is read from the record."""
        item = self._item(place)
        if not item:
            return None
        prefix = prefix_of(item)
        number = sum(prefix_of(before) == prefix for before in self.items[:place])
        return f"{prefix}_{message_id.hex}" + (f"_{number}" if number else "")

    def _put(self, place: Any, item: Any) -> None:
        if not is_item(item) or not isinstance(place, int):
            return
        if 0 <= place < len(self.items):
            self.items[place] = as_stored(item)
        elif place == len(self.items):
            self.items.append(as_stored(item))

    def _add_part(self, place: Any, part: Any) -> None:
        item = self._item(place)
        if isinstance(part, dict) and isinstance(item.setdefault("content", []), list):
            item["content"].append(_storable(part))

    def _item(self, place: Any) -> Json:
        """An empty one where there is none: what is added to it is lost."""
        return _at(self.items, place)


def is_item(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def as_stored(item: Json) -> Json:
    """A copy that can be stored, without the provider's id, since an item has that of its message.
    Reasoning keeps it under another name: a provider may want it back."""
    stored: Json = _storable({name: value for name, value in item.items() if name != "id"})
    if item.get("encrypted_content") and item.get("id"):
        stored[PROVIDER_ID] = _storable(item["id"])
    return stored


def _storable(value: Any) -> Any:
    # In the parts of a message, which are a list.
    return storable_json(value, settings.CHAT_MAX_JSON_DEPTH - 1)


def _at(values: Any, place: Any) -> Json:
    if isinstance(values, list) and isinstance(place, int) and 0 <= place < len(values):
        found = values[place]
        return found if isinstance(found, dict) else {}
    return {}


def _add(to: Json, name: str, piece: str) -> None:
    before = to.get(name)
    to[name] = (before if isinstance(before, str) else "") + piece
