"""Items of OpenAI's Conversations and Responses APIs, and the messages that they are stored as.

One item that is sent is one message; one message reads as one or more items, in order: what the
model thought, what it said, and its calls of tools. An item that was sent reads as it was: a
message's content list is in `parts`, a call's and a result's keys are in `extra`, and any other
item is the only one of `parts`.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.checks import as_text, required
from conversations.formats.content_parts import text_of
from conversations.formats.item_content import (
    Part,
    check_content,
    content_part,
    output_part,
    spoken_part,
    text_part,
)
from conversations.formats.item_types import (
    Item,
    check_item,
    complete_item,
    is_item,
    prefix_of,
    sent_id,
)
from conversations.formats.message import MessageDraft
from conversations.formats.message_reader import as_own_fields
from conversations.formats.reasoning import reasoning_of, reasoning_part, sent_message
from conversations.formats.sdk_keys import CALL_ITEMS, RESULT_ITEMS, STATUSES
from conversations.formats.tool_calls import as_json_text, calls_in

UNKNOWN_ROLE = "A message of an item is by user, assistant, system or developer."
UNKNOWN_STATUS = "Must be in_progress, completed or incomplete."
UNKNOWN_KEY = "There is no such key in a message."
NOT_CONTENT = "Must be a string or a list."
REFERENCE = "item_reference"

_ROLES = ("user", "assistant", "system", "developer")
_ITEM_STATUSES = ("in_progress", "completed", "incomplete")
MESSAGE_KEYS = frozenset({"type", "id", "role", "content", "status", "phase"})
# Those of our fields whose names an item has too.
_OF_MESSAGES = frozenset({"id", "role", "content", "status"})
_OF_OTHERS = frozenset({"id", "status"})


def is_reference(item: Item) -> bool:
    """Whether it names another item; `type` may be left out of such a one."""
    kind = item.get("type")
    return kind == REFERENCE or (kind is None and "id" in item and "role" not in item)


def message_fields(item: Item) -> dict[str, Any]:
    """The fields of the message that an item is stored as. Raises Malformed, with the path of the
    value in the item."""
    kind = item.get("type")
    if kind is None or kind == "message":
        _check_message(item)
        fields = as_own_fields(_with_text({**item, "type": "message"}), own=_OF_MESSAGES)
        fields["extra"] = _told(fields.get("extra") or {}, fields.get("parts") or [])
    else:
        check_item(item)
        fields = as_own_fields(item, own=_OF_OTHERS)
    given = fields.pop("id", None)  # a UUID; not an identity, as the id of an item is none
    if given is not None and "parts" not in fields:
        fields["extra"] = {**(fields.get("extra") or {}), "id": given}
    return fields


def _check_message(item: Item) -> None:
    for key in item:
        if key not in MESSAGE_KEYS:
            raise Malformed(key, UNKNOWN_KEY)
    if required("role", item.get("role")) not in _ROLES:
        raise Malformed("role", UNKNOWN_ROLE)
    if item.get("status") is not None and item["status"] not in _ITEM_STATUSES:
        raise Malformed("status", UNKNOWN_STATUS)
    for key in ("id", "phase"):
        if item.get(key) is not None:
            as_text(key, item[key])
    content = required("content", item.get("content"))
    if isinstance(content, list):
        check_content("content", content)
    elif not isinstance(content, str):
        raise Malformed("content", NOT_CONTENT)


def _told(extra: Item, parts: list[Part]) -> Item | None:
    """Without what any message of an item has: that it is one is only of use to `_content`."""
    plain = {"status": "completed"}
    if not any(part["type"] == "text" for part in parts):
        plain["type"] = "message"
    return {
        key: value for key, value in extra.items() if value is not None and plain.get(key) != value
    } or None


def _with_text(item: Item) -> Item:
    """An answer without text is stored with a part that says so: a message has either."""
    is_said = item["content"] or item["role"] == "user"
    return item if is_said else {**item, "content": [text_part("", item["role"])]}


def path_in_item(draft: MessageDraft, path: str) -> str:
    """Where the item has what is at this path in its message."""
    column, _, rest = path.partition(".")
    content = "output" if draft.role == "tool" else "content"
    if column == "parts":
        is_whole = any(map(is_item, draft.parts or ()))
        return rest.partition(".")[2] if is_whole else f"{content}.{rest}"
    if column == "tool_calls":
        name = rest.rpartition(".")[2]
        return "call_id" if name == "id" else name
    return {"extra": rest, "tool_call_id": "call_id", "content": content}.get(column, path)


def items_of(row: Mapping[str, Any]) -> list[Item]:
    """The items that a stored message reads as, never none. `row` maps its columns to values.

    A single item other than a message keeps the id that it was sent with. Others have that of the
    message, from the second of a kind on with its number after it: so the id of an item stays while
    others are added to a running answer.
    """
    extra = row["extra"] or {}
    if row["role"] == "tool" and not any(map(is_item, row["parts"] or ())):
        items = [_result(row, extra)]
    elif row["tool_calls"] and extra.get("type") in tuple(CALL_ITEMS):
        items = [_call(row["tool_calls"][0], row, extra)]
    else:
        items = list(_said(row, extra))
    return _with_ids(items, row)


def _with_ids(items: Sequence[Item], row: Mapping[str, Any]) -> list[Item]:
    digits = uuid.UUID(str(row["id"])).hex
    counts: Counter[str] = Counter()
    shown = []
    for item in items:
        prefix = prefix_of(item)
        given = sent_id(item) if len(items) == 1 and item["type"] != "message" else None
        if given is not None:
            id_ = given
        else:
            place = counts[prefix]
            id_ = f"{prefix}_{digits}_{place}" if place else f"{prefix}_{digits}"
        counts[prefix] += 1
        shown.append({**item, "id": id_})
    return shown


def _status(row: Mapping[str, Any], sent: object) -> str:
    """As it was sent, as far as that is what is stored."""
    if isinstance(sent, str) and sent in _ITEM_STATUSES and STATUSES[sent] == row["status"]:
        return sent
    return {"complete": "completed", "streaming": "in_progress"}.get(row["status"], "incomplete")


def _result(row: Mapping[str, Any], extra: Item) -> Item:
    is_sent = extra.get("type") in tuple(RESULT_ITEMS)
    name = {} if row["name"] is None else {"name": row["name"]}
    return {
        **(extra if is_sent else {"type": "function_call_output", **name}),
        "call_id": row["tool_call_id"] or "",
        "output": _output(row, extra if is_sent else {}),
        "status": _status(row, extra.get("status")),
    }


def _output(row: Mapping[str, Any], sent: Item) -> str | list[Part]:
    if row["parts"]:
        return [output_part(part) for part in row["parts"]]
    return [] if sent.get("output") == [] else str(row["content"])


def _call(call: Item, row: Mapping[str, Any], sent: Item) -> Item:
    """A call of a tool; `sent` is what else the item had."""
    kind = "custom" if isinstance(call.get("custom"), dict) else "function"
    told = call.get(kind)
    told = told if isinstance(told, dict) else {}
    given = "input" if kind == "custom" else "arguments"
    return {
        **sent,
        "type": "custom_tool_call" if kind == "custom" else "function_call",
        "call_id": _text(call.get("id")),
        "name": _text(told.get("name")),
        given: _text(told.get(given)),
        "status": _status(row, sent.get("status")),
    }


def _text(value: object) -> str:
    return as_json_text("", value)


def _said(row: Mapping[str, Any], extra: Item) -> Iterator[Item]:
    """What a message of any role but a tool's holds."""
    calls = [call for call in row["tool_calls"] or () if isinstance(call, dict)]
    held = list(_held(row, extra))
    told = {item.get("call_id") for item in held}
    others = [_call(call, row, {}) for call in calls if _text(call.get("id")) not in told]
    if not held and not others:
        held = [_message(row, extra, [])]
    yield from held
    yield from others


def _held(row: Mapping[str, Any], extra: Item) -> Iterator[Item]:
    """Its parts and its text: items where they are some, and between them messages."""
    content: list[Part] = []
    for part in _parts_and_text(row, extra):
        item = _item_of(part, row)
        if item is None:
            content.append(_content(part, row["role"], extra))
            continue
        if content:
            yield _message(row, extra, content)
            content = []
        yield item
    if content:
        yield _message(row, extra, content)


def _parts_and_text(row: Mapping[str, Any], extra: Item) -> list[Any]:
    """The parts in order, with the reasoning and the text that they do not hold."""
    parts: list[Any] = row["parts"] or []
    text = row["content"]
    lacks_text = bool(text) and text_of(parts) != text
    thought = reasoning_of(None, extra) if row["role"] == "assistant" else ""
    if not (lacks_text or thought):
        return parts
    begin = next((place for place, part in enumerate(parts) if not _is_reasoning(part)), len(parts))
    before = [reasoning_part(thought)] if thought and begin == 0 else parts[:begin]
    said = [_text_with(text, row["role"], extra)] if lacks_text else []
    return [*before, *said, *parts[begin:]]


def _text_with(text: str, role: str, extra: Item) -> Part:
    message = sent_message(extra)
    if role == "assistant" and message.get("refusal") == text:
        return {"type": "refusal", "refusal": text}
    return text_part(text, role, message.get("annotations"))


def _is_reasoning(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("reasoning", "thinking")


def _content(part: Any, role: str, extra: Item) -> Part:
    """Verbatim where the message is an item that was sent."""
    is_sent = extra.get("type") == "message"
    return content_part(part, role) if is_sent else spoken_part(part, role)


def _message(row: Mapping[str, Any], extra: Item, content: list[Part]) -> Item:
    item = {
        "type": "message",
        "role": row["role"],
        "status": _status(row, extra.get("status")),
        "content": content,
    }
    if extra.get("phase") in ("commentary", "final_answer"):
        item["phase"] = extra["phase"]
    if row["sources"]:
        item["sources"] = row["sources"]
    return item


def _item_of(part: Any, row: Mapping[str, Any]) -> Item | None:
    """The item that a part is or holds; None for content."""
    if not isinstance(part, dict):
        return None
    kind = part.get("type")
    if is_item(part):
        shown = complete_item(part)
        return {**shown, "output": _parts_or_text(part["output"])} if _is_result(part) else shown
    if _is_reasoning(part) or kind == "redacted_thinking":
        return _reasoning(part)
    if kind == "message" and isinstance(part.get("content"), list):
        role = part["role"] if part.get("role") in _ROLES else row["role"]
        content = [spoken_part(one, role) for one in part["content"]]
        return _message({**row, "role": role}, part, content)
    if kind == "tool_result":
        called = {"call_id": _text(part.get("tool_use_id")), "status": "completed"}
        output = _parts_or_text(part.get("content"))
        return {"type": "function_call_output", **called, "output": output}
    return _call_in(part, row)


def _is_result(part: Item) -> bool:
    return part["type"] in RESULT_ITEMS


def _parts_or_text(output: Any) -> str | list[Part]:
    return [output_part(one) for one in output] if isinstance(output, list) else _text(output)


def _call_in(part: Item, row: Mapping[str, Any]) -> Item | None:
    """The call that a part of Anthropic or LangChain is."""
    try:
        calls = calls_in("", [part])
    except Malformed:
        return None
    return _call(calls[0], row, {}) if calls else None


def _reasoning(part: Item) -> Item:
    """What the model thought, in the form of another SDK; `data` is what Anthropic encrypts."""
    if isinstance(part.get("data"), str):
        return {"type": "reasoning", "summary": [], "encrypted_content": part["data"]}
    text = reasoning_of([part], None)
    return reasoning_part(text) if text else {"type": "reasoning", "summary": []}
