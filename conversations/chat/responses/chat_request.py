"""A request of the Responses API as one of chat completions, for providers that speak only those.

openai-agents turns the items into messages. What is translated is listed in `_TRANSLATED`; keys
that are not known here are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conversations.chat.llm.agent_loop import library
from conversations.chat.llm.custom_tools import arguments_of
from conversations.chat.llm.providers import Provider
from conversations.chat.responses.tools import chat_tool_choice, chat_tools
from conversations.services import InvalidValue

UNSUPPORTED = "The model's server, which speaks chat completions, has nothing of this kind."
NO_SUCH_PART = "The model's server cannot be shown this: {why}"
NOT_A_FORMAT = "One of text, json_object, json_schema."
_WHY_CHARS = 200

Json = dict[str, Any]

# What chat completions have under another name or nowhere.
_TRANSLATED = frozenset(
    {
        *("model", "input", "instructions", "tools", "tool_choice", "text", "reasoning"),
        *("max_output_tokens", "stream", "parallel_tool_calls"),
        # The state is ours.
        *("conversation", "conversation_id", "previous_response_id", "store", "background"),
        *("metadata", "truncation", "include"),
        # Of tools that the provider runs, of OpenAI's prices, caches and transport.
        *("max_tool_calls", "top_logprobs", "stream_options", "background_options", "image"),
        *("prompt_cache_options", "prompt_cache_retention", "access_programs"),
    }
)
# What a client must not believe to be in force.
_REFUSED = ("prompt", "moderation", "context_management")


def check_chat_request(asked: Json) -> None:
    """Raise InvalidValue, naming the field, for what of a request no chat model can do; its items
    are looked at when they are asked about."""
    for name in _REFUSED:
        if asked.get(name):
            raise InvalidValue(UNSUPPORTED, field=name, code="unsupported_parameter")
    _tools(asked)
    _text(asked.get("text") or {})


def as_chat_request(asked: Json, items: Sequence[Json], provider: Provider, model: str) -> Json:
    """The body for `/chat/completions`, streamed; `items` are all that the model is shown.

    Raises InvalidValue, naming the field of the request, which `check_chat_request` has passed.
    """
    unknown = {name: value for name, value in asked.items() if name not in _TRANSLATED}
    return (
        {name: value for name, value in unknown.items() if value is not None}
        | {"model": model, "messages": _messages(asked, items, provider, model)}
        | _tools(asked)
        | _text(asked.get("text") or {})
        | _limits(asked)
        | {"stream": True}
    )


def _messages(asked: Json, items: Sequence[Json], provider: Provider, model: str) -> list[Json]:
    instructions = asked.get("instructions")
    first = [{"role": "system", "content": instructions}] if instructions else []
    return [*first, *as_messages(items, provider, model)]


def as_messages(items: Sequence[Json], provider: Provider, model: str) -> list[Json]:
    """Items as messages. Raises InvalidValue for what a chat model cannot be shown."""
    library()
    from agents.exceptions import AgentsException
    from agents.models.chatcmpl_converter import Converter

    shown: Any = [form for item in items if (form := as_library_item(item))]
    try:
        messages: Any = Converter.items_to_messages(shown, model=model, base_url=provider.base_url)
    except AgentsException as error:
        text = NO_SUCH_PART.format(why=str(error)[:_WHY_CHARS])
        raise InvalidValue(text, field="input", code="unsupported_value") from None
    return list(messages)


def as_library_item(item: Json) -> Json | None:
    """The item in the form that the library reads; None for what a chat model is not shown: calls
    that another provider has run itself, and what they gave."""
    kind = item.get("type", "message")
    if kind == "message":
        return _message(item)
    if kind == "function_call":
        return {name: item.get(name) for name in ("type", "call_id", "name", "arguments")}
    if kind == "custom_tool_call":
        called = {"type": "function_call", "call_id": item.get("call_id"), "name": item.get("name")}
        return called | {"arguments": arguments_of(item.get("input") or "")}
    if kind in ("function_call_output", "custom_tool_call_output"):
        output = {"type": "function_call_output", "call_id": item.get("call_id")}
        return output | {"output": item.get("output")}
    return item if kind == "reasoning" else None


def _message(item: Json) -> Json | None:
    role, content = item.get("role"), item.get("content")
    if content in (None, "", []):
        return None
    if role != "assistant":
        return {"type": "message", "role": role, "content": content}
    parts = [{"type": "output_text", "text": content}] if isinstance(content, str) else content
    said = [part for part in map(_said, parts) if part]
    # The id is what the library tells an answer from a question by.
    message = {"type": "message", "id": "", "role": role, "status": "completed", "content": said}
    return message if said else None


def _said(part: Json) -> Json | None:
    """A part of an answer, text or a refusal."""
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal") or ""}
    text = part.get("text")
    return {"type": "output_text", "text": text, "annotations": []} if text else None


def _tools(asked: Json) -> Json:
    tools = chat_tools(asked.get("tools") or ())
    found: Json = {}
    if (choice := asked.get("tool_choice")) is not None and tools:
        found["tool_choice"], tools = chat_tool_choice(choice, tools)
    if not tools:
        return {}
    if asked.get("parallel_tool_calls") is not None:
        found["parallel_tool_calls"] = asked["parallel_tool_calls"]
    return found | {"tools": tools}


def _text(text: Json) -> Json:
    wanted = text.get("format") or {"type": "text"}
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise InvalidValue(NOT_A_FORMAT, field="text.format.type", code="invalid_choice")
    found: Json = {"verbosity": text["verbosity"]} if text.get("verbosity") else {}
    if kind == "json_object":
        found["response_format"] = {"type": kind}
    if kind == "json_schema":
        names = ("name", "description", "schema", "strict")
        schema = {name: wanted[name] for name in names if wanted.get(name) is not None}
        found["response_format"] = {"type": kind, "json_schema": schema}
    return found


def _limits(asked: Json) -> Json:
    found: Json = {}
    if asked.get("max_output_tokens") is not None:
        found["max_tokens"] = asked["max_output_tokens"]
    if effort := (asked.get("reasoning") or {}).get("effort"):
        found["reasoning_effort"] = effort
    return found
