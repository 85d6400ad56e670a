"""Calls of tools in one shape, whatever the SDK: that of OpenAI's Chat Completions.

{"id", "type": "function", "function": {"name", "arguments": JSON text}}
{"id", "type": "custom", "custom": {"name", "input": text}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.checks import as_text, required
from conversations.formats.lines import TOO_DEEP

MAX_ID_CHARS = 255  # of the column of a result's `tool_call_id`


def as_openai_calls(at: str, calls: list[Any]) -> list[Any]:
    """Calls of LangChain (`{name, args, id}`) and Anthropic (`{type: tool_use, name, input, id}`)
    as OpenAI's; all others as they are, for the services to check."""
    return [_call_of(f"{at}.{index}", call) or call for index, call in enumerate(calls)]


def calls_in(at: str, parts: Iterable[Any], start: int = 0) -> list[Any]:
    """The calls among content parts, or among the items of a Response; `start` is the index of the
    first of them."""
    places = enumerate(parts, start)
    found = (_call_of(f"{at}.{index}", part, typed=True) for index, part in places)
    return [call for call in found if call is not None]


def _call_of(at: str, value: Any, *, typed: bool = False) -> dict[str, Any] | None:
    """The call that an object is, or None. `typed`: only if its type says so."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    kind, name = value.get("type"), value["name"]
    if kind in ("function_call", "custom_tool_call"):
        return call_of_item(value, f"{at}.")
    if kind == "tool_use" and "input" in value:
        return _function(value.get("id"), name, as_json_text(f"{at}.input", value["input"]))
    if "args" in value and (kind == "tool_call" or not typed) and "function" not in value:
        return _function(value.get("id"), name, as_json_text(f"{at}.args", value["args"]))
    return None


def call_of_item(item: dict[str, Any], at: str = "") -> dict[str, Any]:
    """An item `function_call` or `custom_tool_call` of the Responses API, as a call.

    `at` is the path of the item with a dot at its end, or "". Raises Malformed.
    """
    id_, name = (
        as_text(f"{at}{key}", required(f"{at}{key}", item.get(key))) for key in ("call_id", "name")
    )
    if item["type"] == "custom_tool_call":
        given = as_json_text(f"{at}input", item.get("input"))
        return {"id": id_, "type": "custom", "custom": {"name": name, "input": given}}
    return _function(id_, name, as_json_text(f"{at}arguments", item.get("arguments")))


def call_of_legacy(function_call: dict[str, Any]) -> dict[str, Any]:
    """The `function_call` of a message, which has no id: its result names the function."""
    name = as_text("function_call.name", required("function_call.name", function_call.get("name")))
    arguments = as_json_text("function_call.arguments", function_call.get("arguments"))
    return _function(None, name, arguments)


def is_call_of(function_call: Any, calls: list[Any] | None) -> bool:
    """Whether the calls of a message are those of its `function_call` alone."""
    named = isinstance(function_call, dict) and isinstance(function_call.get("name"), str)
    return named and calls == [call_of_legacy(function_call)]


def id_of_legacy_call(name: str) -> str:
    """Links a `function_call` and the message of role `function` with its result."""
    return f"call_{name}"[:MAX_ID_CHARS]


def as_json_text(at: str, value: Any) -> str:
    """Text as it is; any other value as JSON, and "" for null."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise Malformed(at, TOO_DEEP) from None


def _function(id_: Any, name: Any, arguments: str) -> dict[str, Any]:
    given = id_ if isinstance(id_, str) and id_ else id_of_legacy_call(name)
    return {"id": given, "type": "function", "function": {"name": name, "arguments": arguments}}
