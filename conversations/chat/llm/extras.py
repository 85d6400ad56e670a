"""What a model says that no column holds: collected from its chunks under its own names.

Lists grow, and their items with an `index` are joined with those of the same one; texts that come
in pieces are joined; of a value that every chunk repeats the latest stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy
from itertools import islice
from typing import Any

import orjson
from django.conf import settings

from conversations.chat.tool_results import storable

# What chunks, their choices, deltas and tool calls have that is stored in columns, or the same in
# all of them.
_OF_CHUNK = {"object", "created", "model", "choices", "usage"}
_OF_CHOICE = {"index", "delta", "finish_reason"}
_OF_DELTA = {"role", "content", "reasoning", "reasoning_content", "tool_calls"}
_OF_CALL = {"index", "id", "type", "function"}
# Texts of a delta that come whole.
_WHOLE = {"type", "id", "format", "name", "role", "object", "signature"}
_EMPTY: tuple[Any, ...] = (None, "", [], {})
# How many of the latest items of a list may still be continued.
LOOKED_BACK = 1_000
LEFT_OUT = "left_out"
OTHERS = "other_choices"

Json = dict[str, Any]


def add_chunk(extra: Json, chunk: Json) -> None:
    """Collect what a chunk of a stream of chat completions has beyond text, calls and counts.

    Where several answers were asked for, all of the others is collected: `other_choices`.
    """
    extra.update(_beyond(chunk, _OF_CHUNK))
    for choice in objects(chunk.get("choices")):
        if choice.get("index"):
            extra[OTHERS] = _joined(extra.get(OTHERS), [_beyond(choice, ())])
            continue
        for name, value in _beyond(choice, _OF_CHOICE).items():
            extra[name] = value if isinstance(value, str) else _joined(extra.get(name), value)
        delta = first_delta({"choices": [choice]})
        for name, value in _beyond(delta, _OF_DELTA).items():
            extra[name] = _joined(extra.get(name), value, name)
        for call in objects(delta.get("tool_calls")):
            if beyond := _beyond(call, _OF_CALL):
                calls = [{"index": call.get("index")} | beyond]
                extra["tool_calls"] = _joined(extra.get("tool_calls"), calls)


def first_delta(chunk: Json) -> Json:
    """What a chunk adds to the first answer; empty where it adds nothing."""
    for choice in objects(chunk.get("choices")):
        if not choice.get("index"):
            delta = choice.get("delta")
            return delta if isinstance(delta, dict) else {}
    return {}


def objects(value: object) -> list[Json]:
    """The objects in a list; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def storable_extra(extra: Json) -> Json | None:
    """As PostgreSQL and JSON can hold it, within CHAT_MAX_BODY_BYTES; None where it is empty.

    What does not fit is named in `left_out`.
    """
    kept: Json = {}
    left_out, bytes_left = [], settings.CHAT_MAX_BODY_BYTES
    for name, value in extra.items():
        cleaned = storable_json(value, settings.CHAT_MAX_JSON_DEPTH - 1)
        bytes_left -= (size := len(orjson.dumps(cleaned)))
        if bytes_left < 0:
            bytes_left += size
            left_out.append(storable(name))
        else:
            kept[storable(name)] = cleaned
    return kept | ({LEFT_OUT: left_out} if left_out else {}) or None


def _beyond(value: Json, known: Iterable[str]) -> Json:
    """Copies, since what is collected grows, and the chunk is the client's."""
    return {
        name: deepcopy(item) if isinstance(item, dict | list) else item
        for name, item in value.items()
        if name not in known and item not in _EMPTY
    }


def _joined(before: Any, new: Any, name: str = "") -> Any:
    if isinstance(before, dict) and isinstance(new, dict):
        for key, value in new.items():
            before[key] = _joined(before.get(key), value, key)
        return before
    if isinstance(before, list) and isinstance(new, list):
        for item in new:
            _add_item(before, item)
        return before
    if isinstance(before, str) and isinstance(new, str) and name not in _WHOLE:
        return before + new
    # A null or an empty value takes nothing away.
    return before if new in _EMPTY and before is not None else new


def _add_item(items: list[Any], new: Any) -> None:
    """Join the item with the one that it continues, or append it."""
    if isinstance(new, dict):
        for item in islice(reversed(items), LOOKED_BACK):
            if isinstance(item, dict) and _continues(new, item, is_last=item is items[-1]):
                _joined(item, new)
                return
    items.append(new)


def _continues(new: Json, item: Json, *, is_last: bool) -> bool:
    if "index" in new:
        same_kind = new.get("type", item.get("type")) == item.get("type")
        return same_kind and new["index"] == item.get("index")
    # A thinking block of Anthropic's comes in pieces without an index; its signature ends it.
    thinks = new.get("type") == item.get("type") == "thinking"
    return thinks and is_last and not item.get("signature")


def storable_json(value: Any, depth: int) -> Any:
    """A value as PostgreSQL and JSON can hold it, without what is nested deeper than `depth`."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict | list) and depth <= 0:
        return None
    if isinstance(value, dict):
        return {storable(str(key)): storable_json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [storable_json(item, depth - 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return storable(str(value))
