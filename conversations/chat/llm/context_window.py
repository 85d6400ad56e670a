"""What the model is shown of a conversation: its latest messages within a budget of tokens.

Fetching them reads CHAT_CONTEXT_MESSAGES rows from the end of an index, however long the
conversation is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings

from conversations.chat.llm.call_ids import unique_call_id
from conversations.models import Message, Role
from conversations.models.turn import ToolCall

# English text has about four characters a token; other scripts fewer, which the half that
# CHAT_CONTEXT_TOKENS leaves free of a model's window has to take up.
CHARS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4

_COLUMNS = ("sequence", "role", "content", "parts", "tool_calls", "tool_call_id")
Item = dict[str, Any]


def history_before(
    owner_id: int, conversation_id: uuid.UUID, *, last_sequence: int, tokens: int | None = None
) -> list[Item]:
    """The latest messages up to `last_sequence`, oldest first, as openai-agents takes them.

    Tool calls stay with their results: what the window or the budget splits is left out whole.
    The last message is always there, however long it is.
    """
    latest = (
        Message.objects.of(owner_id, conversation_id)
        .filter(sequence__lte=last_sequence)
        .order_by("-sequence")
        .only(*_COLUMNS)[: settings.CHAT_CONTEXT_MESSAGES]
    )
    messages = list(latest)[::-1]
    results, call_ids = _results_by_call(messages), set[str]()
    groups = [
        _items(message, results, call_ids) for message in messages if message.role != Role.TOOL
    ]
    kept = _within(groups, tokens or settings.CHAT_CONTEXT_TOKENS)
    return [item for group in _from_a_question(kept) for item in group]


def _results_by_call(messages: Sequence[Message]) -> dict[tuple[int, int], Message]:
    """What answers each call, by its message's sequence and its place there.

    A result belongs to the nearest call before it with its id; of several in one message each
    gets one, in their order.
    """
    unanswered: dict[str, list[tuple[int, int]]] = {}
    results = {}
    for message in messages:
        if message.role == Role.TOOL:
            if places := unanswered.get(message.tool_call_id or ""):
                results[places.pop(0)] = message
            continue
        calls = [ToolCall.from_json(call) for call in message.tool_calls or ()]
        for call_id in {call.id for call in calls if call.id}:
            places = [(message.sequence, at) for at, call in enumerate(calls) if call.id == call_id]
            unanswered[call_id] = places
    return results


def _items(
    message: Message, results: dict[tuple[int, int], Message], call_ids: set[str]
) -> list[Item]:
    """What the model is shown of a message: its text, its calls and their results."""
    items: list[Item] = []
    if text := message.content or _text_of(message.parts or ()):
        items.append({"role": message.role, "content": text})
    for place, call in enumerate(map(ToolCall.from_json, message.tool_calls or ())):
        result = results.get((message.sequence, place))
        if result is not None and call.tool:
            items += _call_and_result(call, unique_call_id(call.id, call_ids), result)
    return items


def _call_and_result(call: ToolCall, call_id: str, result: Message) -> list[Item]:
    return [
        {
            "type": "function_call",
            "call_id": call_id,
            "name": call.tool,
            "arguments": call.arguments or "{}",
        },
        {"type": "function_call_output", "call_id": call_id, "output": result.content},
    ]


def _text_of(parts: Iterable[Any]) -> str:
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _within(groups: list[list[Item]], tokens: int) -> list[list[Item]]:
    """The latest groups that fit."""
    kept: list[list[Item]] = []
    for group in filter(None, reversed(groups)):
        tokens -= sum(map(_size, group))
        if tokens < 0 and kept:
            break
        kept.insert(0, group)
    return kept


def _size(item: Item) -> int:
    text = "".join(str(item.get(name, "")) for name in ("content", "arguments", "output"))
    return TOKENS_PER_MESSAGE + len(text) // CHARS_PER_TOKEN


def _from_a_question(groups: list[list[Item]]) -> list[list[Item]]:
    """Without answers whose question is left out: many models refuse to begin with one."""
    for place, group in enumerate(groups):
        if group[0].get("role") in (Role.USER, Role.SYSTEM, Role.DEVELOPER):
            return groups[place:]
    return groups
