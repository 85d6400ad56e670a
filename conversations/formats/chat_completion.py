"""A stored answer as OpenAI's chat.completion, as it was answered when it was made.

https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conversations.formats.reasoning import reasoning_of

FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
# The columns of an answer that it is made of.
COLUMNS = (
    *("id", "content", "parts", "tool_calls", "model", "status", "finish_reason", "metadata"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
    *("extra", "created_at", "conversation_id", "branch", "sequence"),
)
# Keys of `extra` that a message, its choice and the completion have.
_OF_MESSAGE = ("refusal", "annotations", "audio", "images", "function_call", "reasoning_details")
_OF_CHOICE = ("logprobs",)
_OF_COMPLETION = ("system_fingerprint", "service_tier", "citations")

Json = dict[str, Any]


def completion_of(row: Mapping[str, Any]) -> Json:
    """The row of an assistant message, by COLUMNS."""
    extra = row["extra"] or {}
    choice: Json = {
        "index": 0,
        "message": _message(row, extra),
        "finish_reason": _finish_reason(row),
        "logprobs": None,
    }
    found = {
        "id": f"chatcmpl-{row['id'].hex}",
        "object": "chat.completion",
        "created": int(row["created_at"].timestamp()),
        "model": extra.get("model") or row["model"],
        "choices": [choice | _named(extra, _OF_CHOICE), *_others(extra)],
        "metadata": row["metadata"],
        "conversation_id": f"conv_{row['conversation_id'].hex}",
    }
    usage = _usage(row, extra)
    return found | _named(extra, _OF_COMPLETION) | ({"usage": usage} if usage else {})


def stored_message_of(row: Mapping[str, Any]) -> Json:
    """One of the messages that an answer was given to, as OpenAI lists them."""
    parts = row["parts"]
    shown = [
        part
        for part in parts or ()
        if isinstance(part, dict) and part.get("type") in ("text", "image_url")
    ]
    found: Json = {
        "id": f"msg_{row['id'].hex}",
        "role": row["role"],
        "content": None if not row["content"] and row["tool_calls"] else row["content"],
        "refusal": (row["extra"] or {}).get("refusal"),
        "content_parts": shown or None,
    }
    return found | {
        name: row[name] for name in ("name", "tool_calls", "tool_call_id") if row[name] is not None
    }


def _message(row: Mapping[str, Any], extra: Json) -> Json:
    content = row["content"]
    beside = _named(extra, _OF_MESSAGE)
    if content == beside.get("refusal") or (not content and row["tool_calls"]):
        content = None
    found = {"role": "assistant", "content": content, "refusal": None} | beside
    if row["tool_calls"]:
        found["tool_calls"] = row["tool_calls"]
    if reasoning := reasoning_of(row["parts"], None):
        found["reasoning_content"] = reasoning
    return found


def _finish_reason(row: Mapping[str, Any]) -> str:
    """One that the format has: what was cut off had no room."""
    if row["finish_reason"] in FINISH_REASONS:
        return str(row["finish_reason"])
    return "stop" if row["status"] in ("complete", "stopped") else "length"


def _others(extra: Json) -> list[Json]:
    """The other answers to the same request, which are kept as they were streamed."""
    return [_other(choice) for choice in _objects(extra.get("other_choices"))]


def _other(choice: Json) -> Json:
    delta = choice.get("delta")
    said = dict(delta) if isinstance(delta, dict) else {}
    calls = [
        {name: value for name, value in call.items() if name != "index"}
        for call in _objects(said.pop("tool_calls", None))
    ]
    message: Json = {"role": "assistant", "content": None, "refusal": None} | said
    if calls:
        message["tool_calls"] = calls
    rest = {name: value for name, value in choice.items() if name != "delta"}
    return {"finish_reason": "stop", "logprobs": None} | rest | {"message": message}


def _objects(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _usage(row: Mapping[str, Any], extra: Json) -> Json | None:
    prompt, completion = row["prompt_tokens"], row["completion_tokens"]
    if prompt is None or completion is None:
        return None
    found: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if row["cached_tokens"] is not None:
        found["prompt_tokens_details"] = {"cached_tokens": row["cached_tokens"]}
    if row["reasoning_tokens"] is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": row["reasoning_tokens"]}
    sent = extra.get("usage")
    return found | sent if isinstance(sent, dict) else found


def _named(extra: Json, names: tuple[str, ...]) -> Json:
    return {name: extra[name] for name in names if extra.get(name) is not None}
