"""The tools of a request of the Responses API, as those of chat completions.

A chat model calls functions alone. A custom tool, which takes text, is shown to it as a function
with one text; its calls are stored, and shown to the client, as those of a custom tool. What a
provider's own servers would have to run (web search, code interpreter and the like) is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conversations.chat.llm.custom_tools import INPUT, text_in
from conversations.models.turn import ToolCall
from conversations.services import InvalidValue

NOT_HERE = "The model's server cannot run a tool of the type {type}: only function and custom."
NO_GRAMMAR = "The model's server takes custom tools as plain text, not with a grammar."
NO_SUCH_TOOL = "None of `tools` has this name."
NOT_A_CHOICE = "The model's server takes none, auto, required, or one of `tools` by its name."

Json = dict[str, Any]
CUSTOM = "custom"
_OPTIONS = ("none", "auto", "required")


def chat_tools(tools: Sequence[Json]) -> list[Json]:
    """Each as chat completions have it. Raises InvalidValue, naming the tool's type."""
    return [_chat_tool(place, tool) for place, tool in enumerate(tools)]


def _chat_tool(place: int, tool: Json) -> Json:
    kind = tool.get("type")
    if kind == "function":
        names = ("name", "description", "parameters", "strict")
        return _function({name: tool[name] for name in names if tool.get(name) is not None})
    if kind == CUSTOM:
        if (tool.get("format") or {}).get("type", "text") != "text":
            raise InvalidValue(NO_GRAMMAR, field=f"tools.{place}.format", code="unsupported_value")
        return _custom_as_function(tool)
    text = NOT_HERE.format(type=str(kind)[:100])
    raise InvalidValue(text, field=f"tools.{place}.type", code="unsupported_value")


def _custom_as_function(tool: Json) -> Json:
    parameters = {
        "type": "object",
        "properties": {INPUT: {"type": "string"}},
        "required": [INPUT],
        "additionalProperties": False,
    }
    described = {"description": tool["description"]} if tool.get("description") else {}
    return _function({"name": tool.get("name"), **described, "parameters": parameters})


def _function(function: Json) -> Json:
    return {"type": "function", "function": function}


def chat_tool_choice(choice: Any, tools: list[Json]) -> tuple[Any, list[Json]]:
    """The choice, and those of the (chat) tools that it leaves. Raises InvalidValue."""
    if choice in _OPTIONS:
        return choice, tools
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("function", CUSTOM):
        name = _name_of(choice, tools, "tool_choice.name")
        return _function({"name": name}), tools
    if kind == "allowed_tools" and choice.get("mode") in ("auto", "required"):
        allowed = [
            _name_of(tool, tools, f"tool_choice.tools.{place}.name")
            for place, tool in enumerate(choice.get("tools") or ())
        ]
        return choice["mode"], [tool for tool in tools if tool["function"].get("name") in allowed]
    raise InvalidValue(NOT_A_CHOICE, field="tool_choice", code="unsupported_value")


def _name_of(named: Any, tools: list[Json], field: str) -> Any:
    name = named.get("name") if isinstance(named, dict) else None
    if name not in [tool["function"].get("name") for tool in tools]:
        raise InvalidValue(NO_SUCH_TOOL, field=field, code="invalid_value")
    return name


def as_called(call: ToolCall, tools: Sequence[Json]) -> ToolCall:
    """The call as that of a custom tool, where the request's tool of this name is one."""
    named = [tool for tool in tools if tool.get("name") == call.tool]
    if not named or named[0].get("type") != CUSTOM:
        return call
    return ToolCall(call.id, call.tool, text_in(call.arguments), is_custom=True)
