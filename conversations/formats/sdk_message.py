"""A message with SDKs' keys beside or instead of ours: what our fields take, what `extra` keeps."""

from __future__ import annotations

import uuid
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.content_parts import are_parts, check_parts, text_of
from conversations.formats.reasoning import reasoning_of, reasoning_part
from conversations.formats.sdk_keys import ID_PREFIXES, KNOWN_KEYS, LANGCHAIN_ROLES, STATUSES
from conversations.formats.token_usage import usage_columns
from conversations.formats.tool_calls import (
    as_json_text,
    as_openai_calls,
    call_of_legacy,
    calls_in,
    id_of_legacy_call,
)

NOT_CONTENT = "Must be a string, null or a list of parts."
SAID_TWICE = "The content is given twice: here, and in `content` or `parts`."
UNKNOWN_TYPE = "Not a known type of message or item; a message has a `role`."

_NEVER_NULL = frozenset({"provider", "model", "status", "metadata", "created_at"})
_INSTEAD_OF_CONTENT = ("audio", "images")
# Of the columns: what an SDK says beyond them is only in `extra`.
MAX_CHARS = {"finish_reason": 50, "model": 255, "provider": 100}

Values = dict[str, Any]
# The fields as far as they are read, and what `extra` is to keep.
Split = tuple[Values, Values]


def read_message(message: Values, own: frozenset[str], *, keeps_all: bool = False) -> Split:
    fields, extra = split_fields(message, own, keeps_all=keeps_all)
    _set_role(message, fields, extra)
    _set_content(fields, extra)
    _set_calls(message, fields, extra)
    derive_fields(message, fields)
    _fill_empty(message, fields, extra)
    return fields, extra


def split_fields(message: Values, own: frozenset[str], *, keeps_all: bool) -> Split:
    """What our fields hold as it was sent, with the unknown keys, and what `extra` keeps.

    `keeps_all`: the object says what it is, so that every key in it is known.
    """
    fields: Values = {}
    extra: Values = {}
    from_sdk = keeps_all or not KNOWN_KEYS.isdisjoint(message)
    for key, value in message.items():
        if key in own:
            kept = not fits(key, value, from_sdk=from_sdk)
        else:
            kept = keeps_all or key in KNOWN_KEYS
        (extra if kept else fields)[key] = value
    return fields, extra


def fits(key: str, value: Any, *, from_sdk: bool) -> bool:
    """Whether a value under one of our names is ours. `from_sdk`: the message has an SDK's keys."""
    if key == "id":
        return is_uuid(value) or not (from_sdk or _is_sdk_id(value))
    if key == "status" and isinstance(value, str):
        return value not in STATUSES
    if not from_sdk:
        return True
    if value is None:
        return key not in _NEVER_NULL
    if key == "error":
        return not isinstance(value, dict)
    return not (key == "created_at" and isinstance(value, int | float))


def _is_sdk_id(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(ID_PREFIXES)


def is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(uuid.UUID(value))
    except ValueError:
        return False


def _set_role(message: Values, fields: Values, extra: Values) -> None:
    role, kind = fields.get("role"), message.get("type")
    if role == "function":
        fields["role"], extra["role"] = "tool", role
    elif "role" not in fields and kind is not None and kind != "message":
        fields["role"] = role_of_type("type", kind)
    if "function" in (role, kind) and isinstance(message.get("name"), str):
        fields.setdefault("tool_call_id", id_of_legacy_call(message["name"]))


def role_of_type(at: str, kind: Any) -> str:
    role = LANGCHAIN_ROLES.get(kind.removesuffix("Chunk")) if isinstance(kind, str) else None
    if role is None:
        raise Malformed(at, UNKNOWN_TYPE)
    return role


def _set_content(fields: Values, extra: Values) -> None:
    content = fields.get("content", "")
    if isinstance(content, str):
        return
    if content is None:
        fields["content"], extra["content"] = "", None
    elif fields.get("role") == "tool" and not are_parts(content):
        fields["content"], extra["content"] = as_json_text("content", content), content
    elif isinstance(content, list):
        set_parts("content", content, fields)
    else:
        raise Malformed("content", NOT_CONTENT)


def set_parts(at: str, parts: list[Any], fields: Values) -> None:
    if fields.get("parts") is not None:
        raise Malformed(at, SAID_TWICE)
    check_parts(at, parts)
    fields["parts"], fields["content"] = parts, text_of(parts)


def _set_calls(message: Values, fields: Values, extra: Values) -> None:
    given = fields.get("tool_calls")
    if given is None or given == []:
        calls = _calls_elsewhere(message)
        if not calls:
            return
    elif isinstance(given, list):
        calls = as_openai_calls("tool_calls", given)
    else:
        return
    if "tool_calls" in fields and calls != given:
        extra["tool_calls"] = given
    fields["tool_calls"] = calls


def _calls_elsewhere(message: Values) -> list[Any]:
    """The calls that a message has in `function_call`, or among the parts of its content."""
    legacy, content = message.get("function_call"), message.get("content")
    if isinstance(legacy, dict):
        return [call_of_legacy(legacy)]
    return calls_in("content", content) if isinstance(content, list) else []


def derive_fields(message: Values, fields: Values) -> None:
    """The fields that an SDK says by other names, unless the sender says them by ours."""
    more = message.get("response_metadata")
    more = more if isinstance(more, dict) else {}
    details = message.get("incomplete_details")
    error = message.get("error")
    status = message.get("status")
    said = {
        "finish_reason": (
            message.get("stop_reason")
            or more.get("finish_reason")
            or more.get("stop_reason")
            or (details.get("reason") if isinstance(details, dict) else None)
        ),
        "model": more.get("model_name") or more.get("model"),
        "provider": more.get("model_provider"),
        "error": error.get("message") if isinstance(error, dict) else None,
        "status": STATUSES.get(status) if isinstance(status, str) else None,
    }
    texts = {
        name: text
        for name, text in said.items()
        if isinstance(text, str) and 0 < len(text) <= MAX_CHARS.get(name, len(text))
    }
    for name, value in (usage_columns(message) | texts).items():
        fields.setdefault(name, value)


def _fill_empty(message: Values, fields: Values, extra: Values) -> None:
    """A message that says nothing but what an SDK has a key for: the text of it, or a part.

    `extra` keeps its empty content, if it has one.
    """
    if any(fields.get(name) for name in ("content", "parts", "tool_calls")):
        return
    audio = message.get("audio")
    text = message.get("refusal") or (audio.get("transcript") if isinstance(audio, dict) else None)
    found: Values = {}
    if isinstance(text, str) and text:
        found["content"] = text
    elif parts := _parts_from_keys(message, extra):
        found["parts"] = parts
    if found and "content" in message:
        extra.setdefault("content", message["content"])
    fields.update(found)


def _parts_from_keys(message: Values, extra: Values) -> list[Any]:
    reasoning = reasoning_of(None, extra)
    others = [key for key in _INSTEAD_OF_CONTENT if message.get(key)]
    parts = [reasoning_part(reasoning)] if reasoning else []
    return parts + [{"type": key, key: message[key]} for key in others]
