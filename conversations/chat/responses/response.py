"""A turn as a Response of OpenAI's API.

What a Response repeats of its request is kept in the `extra` of the turn's first message, under one
key; all else follows from the turn. Any turn can be shown so, whoever asked for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from conversations.formats.response_items import items_of
from conversations.models import Role, Status
from conversations.models.turn import Step, ToolResult, Turn
from conversations.models.turn_ids import result_id
from conversations.services.turns import parts_of

Json = dict[str, Any]

# Under which `extra` keeps what a Response repeats of its request.
REQUEST = "response"
# What it repeats, and what it says of each where the request said nothing.
REPEATED: Json = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}

_STATUSES = {
    Status.STREAMING: "in_progress",
    Status.COMPLETE: "completed",
    Status.STOPPED: "cancelled",
    Status.FAILED: "failed",
    Status.INTERRUPTED: "failed",
}
# Answers that are complete for the provider and not for their reader, by why they ended.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# Why a Response is incomplete, in the words of chat completions.
CHAT_REASONS = {reason: name for name, reason in _INCOMPLETE.items()}
# What a provider's Response has that columns hold, or the same in all of them.
_IN_COLUMNS = frozenset(
    {
        *("object", "created_at", "completed_at", "status", "error", "incomplete_details"),
        *("model", "output", "output_text", "usage", "conversation"),
    }
)
# OpenAI has a closed list of codes.
_ERRORS = {"provider_busy": "rate_limit_exceeded", "provider_rejected": "invalid_prompt"}
_SERVER_ERROR = "server_error"


def response_name(turn_id: uuid.UUID) -> str:
    return f"resp_{turn_id.hex}"


def response_of(turn: Turn, request: Mapping[str, Any]) -> Json:
    """The Response as far as the turn has come; `request` is what `extra` keeps of it."""
    return (
        empty_response(turn, request)
        | {"status": status_of(turn), "output": output_of(turn), "usage": _usage(turn)}
        | _end(turn)
    )


def empty_response(turn: Turn, request: Mapping[str, Any]) -> Json:
    """The Response before anything has come of it."""
    created = turn.created_at
    stored = {"id": f"conv_{turn.conversation_id.hex}"} if turn.stored else None
    repeated = {name: request.get(name, default) for name, default in REPEATED.items()}
    return {
        "id": response_name(turn.id),
        "object": "response",
        "created_at": int(created.timestamp()) if created else 0,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": request.get("model") or turn.model,
        "output": [],
        "usage": None,
        "conversation": stored,
        **repeated,
        "store": turn.stored,
    }


def status_of(turn: Turn) -> str:
    if turn.status == Status.COMPLETE and turn.finish_reason in _INCOMPLETE:
        return "incomplete"
    return _STATUSES[Status(turn.status)]


def output_of(turn: Turn) -> list[Json]:
    """The items that the model gave, in order, and what the server's own tools returned."""
    return [item for number in range(len(turn.steps)) for item in _items_of_step(turn, number)]


def beyond(response: Json) -> Json:
    """What a provider's own Response says beyond columns and what it repeats of the request."""
    known = _IN_COLUMNS | REPEATED.keys()
    return {name: value for name, value in response.items() if name not in known and value}


def _items_of_step(turn: Turn, number: int) -> Iterator[Json]:
    step = turn.steps[number]
    is_last = number == len(turn.steps) - 1
    row = _row(turn, step, turn.status if is_last else Status.COMPLETE.value)
    if row["content"] or row["parts"] or row["tool_calls"]:
        yield from items_of(row)
    calls = [call.id for call in step.calls]
    for result in step.results:
        place = calls.index(result.tool_call_id)
        yield from items_of(_result_row(turn, result, result_id(turn.id, number + 1, place)))


def _row(turn: Turn, step: Step, status: str) -> Json:
    """The columns of a step's message, as they are or would be stored."""
    return {
        "id": step.message_id,
        "role": Role.ASSISTANT.value,
        "content": step.content,
        "parts": parts_of(step),
        "tool_calls": [call.as_json() for call in step.calls] or None,
        "tool_call_id": None,
        "name": None,
        "sources": None,
        "status": status,
        "extra": step.extra,
    }


def _result_row(turn: Turn, result: ToolResult, id_: uuid.UUID) -> Json:
    return {
        "id": id_,
        "role": Role.TOOL.value,
        "content": result.content,
        "parts": None,
        "tool_calls": None,
        "tool_call_id": result.tool_call_id,
        "name": result.tool,
        "sources": None,
        "status": Status.COMPLETE.value,
        "extra": None,
    }


def _usage(turn: Turn) -> Json | None:
    usage = turn.usage
    given, made = usage["prompt_tokens"], usage["completion_tokens"]
    if given is None and made is None:
        return None
    given, made = given or 0, made or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": usage["cached_tokens"] or 0,
            "cache_write_tokens": 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": usage["reasoning_tokens"] or 0},
        "total_tokens": given + made,
    }


def _end(turn: Turn) -> Json:
    status = status_of(turn)
    if status == "failed":
        code = _ERRORS.get(turn.finish_reason or "", _SERVER_ERROR)
        return {"error": {"code": code, "message": turn.error or turn.finish_reason or ""}}
    if status == "incomplete":
        return {"incomplete_details": {"reason": _INCOMPLETE[turn.finish_reason or ""]}}
    if status == "completed" and turn.created_at and turn.latency_ms is not None:
        ended = turn.created_at.timestamp() + turn.latency_ms / 1000
        return {"completed_at": int(ended)}
    return {}
