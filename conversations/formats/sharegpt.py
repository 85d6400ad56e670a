"""ShareGPT's form of conversations, as data sets for fine-tuning have it.

Source: https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered, and for `system`
and tools https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md. An array, lines or rows

    {"id", "conversations": [{"from": "human" | "gpt" | …, "value"}, …], "system", "tools"}

How a conversation is stored:

- By `from`, or by `role` where a message has that: ROLES. What `from` says is in `extra`, if it is
  none of the usual names.
- A `function_call` whose value is an object with a name and arguments, in JSON, is a tool call,
  with its value in `extra`. Results (`observation`, `tool`) answer the calls before them in order.
  Calls have no ids here: "call_3" is that of the message 3.
- A `system` of the conversation is its first message. Its `tools` and all else is metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import as_id, as_list, as_object, as_text, required
from conversations.formats.drafts import kept, not_empty, tool_call, with_parts_if_empty
from conversations.formats.message import MessageDraft
from conversations.formats.values import read_chats

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
UNKNOWN_SENDER = "None of {names}."

_USUAL = {"human", "gpt", "system", "tool"}
_CALL = "function_call"

_Object = dict[str, Any]


def looks_like_sharegpt(value: _Object) -> bool:
    messages = value.get("conversations")
    first = messages[0] if isinstance(messages, list) and messages else None
    return isinstance(first, dict) and ("from" in first or "role" in first)


def read_sharegpt(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, one conversation at a time."""
    return read_chats(file, _chat)


def _chat(number: int, data: _Object) -> Chat:
    listed = as_list("conversations", required("conversations", data.get("conversations")))
    drafts = []
    unanswered: list[str] = []
    for index, item in enumerate(not_empty("conversations", listed)):
        drafts.append(_draft(f"conversations.{index}", item, index, unanswered))
    if isinstance(system := data.get("system"), str) and system:
        drafts.insert(0, MessageDraft(role="system", content=system))
    system_too = ("system",) if isinstance(system, str) else ()
    return Chat(
        line=number,
        file_id=as_id("id", data.get("id")),
        messages=tuple(drafts),
        metadata=kept(data, "id", "conversations", *system_too),
    )


def _draft(at: str, item: object, index: int, unanswered: list[str]) -> MessageDraft:
    """`unanswered` are the ids of the calls without a result so far."""
    data = as_object(at, item)
    sender_key, text_key = ("from", "value") if "from" in data else ("role", "content")
    sender = as_text(f"{at}.{sender_key}", required(f"{at}.from", data.get(sender_key)))
    if sender not in ROLES:
        names = ", ".join(f"`{name}`" for name in ROLES)
        raise Malformed(f"{at}.{sender_key}", UNKNOWN_SENDER.format(names=names))
    text = as_text(f"{at}.{text_key}", required(f"{at}.{text_key}", data.get(text_key)))
    extra = kept(data, text_key, *([sender_key] if sender in _USUAL | {ROLES[sender]} else []))
    draft = MessageDraft(role=ROLES[sender], content=text, extra=extra or None)
    if sender == _CALL and (calls := _calls(text, index)):
        draft.content, draft.tool_calls = "", calls
        draft.extra = extra | {text_key: text}
        unanswered += [call["id"] for call in calls]
    elif draft.role == "tool" and unanswered:
        draft.tool_call_id = unanswered.pop(0)
    return with_parts_if_empty(draft)


def _calls(text: str, index: int) -> list[_Object]:
    """The calls that a value in JSON is; none if it is something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        return []
    ids = [f"call_{index}" if len(calls) == 1 else f"call_{index}_{at}" for at in range(len(calls))]
    return [
        tool_call(id_, call["name"], _arguments(call.get("arguments")))
        for id_, call in zip(ids, calls, strict=True)
    ]


def _arguments(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value or {}, ensure_ascii=False)
