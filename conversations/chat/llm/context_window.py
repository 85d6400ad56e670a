"""What the model is shown of a conversation: the latest messages of one path within a budget of
tokens.

Fetching them reads CHAT_CONTEXT_MESSAGES rows from the end of an index, however long the
conversation is and however deep its branches are nested.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import IntegerField
from django.db.models.expressions import RawSQL

from conversations.chat.llm.call_ids import unique_call_id
from conversations.chat.llm.custom_tools import arguments_of
from conversations.chat.llm.media_parts import UNREAD, content_of, size_of
from conversations.models import Message, Role
from conversations.models.branch_path import FIRST_LINE
from conversations.models.turn import ToolCall
from conversations.selectors.branches import Place, latest_up_to

# English text has about four characters a token; other scripts fewer, which the half that
# CHAT_CONTEXT_TOKENS leaves free of a model's window has to take up.
CHARS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4

# Parts with images are long: so many bytes of them, as stored, are read for one turn.
BYTES_OF_PARTS = 20_000_000

_COLUMNS = ("sequence", "role", "content", "tool_calls", "tool_call_id")
Item = dict[str, Any]


def history_before(
    owner_id: int,
    conversation_id: uuid.UUID,
    *,
    last_sequence: int,
    branch: int = FIRST_LINE,
    tokens: int | None = None,
    vision: bool = False,
) -> list[Item]:
    """The latest messages up to `last_sequence`, oldest first, as openai-agents takes them.

    They are those on the path to a message with this `branch` (`models/branch_path.py`).
    Tool calls stay with their results: what the window or the budget splits is left out whole.
    The last message is always there, however long it is. Images and files of users are there with
    `vision`; a line stands for each message's others. One statement on the first line, at most
    four on another branch, and one more where there are parts.
    """
    messages = messages_before(
        owner_id, conversation_id, (branch, last_sequence), limit=settings.CHAT_CONTEXT_MESSAGES
    )
    results, call_ids = _results_by_call(messages), set[str]()
    groups = [
        _items(message, results, call_ids, vision=vision)
        for message in messages
        if message.role != Role.TOOL
    ]
    kept = within(groups, tokens or settings.CHAT_CONTEXT_TOKENS)
    return [item for group in from_a_question(kept) for item in group]


def messages_before(
    owner_id: int,
    conversation_id: uuid.UUID,
    place: Place,
    *,
    limit: int,
    columns: Sequence[str] = _COLUMNS,
    thoughts: bool = False,
) -> list[Message]:
    """The latest messages on the path to a place, inclusive, oldest first, with these columns and
    with their `parts`: `[UNREAD]` where those of all are too long, None where they are nothing but
    reasoning, unless `thoughts`."""
    rows = Message.objects.of(owner_id, conversation_id).only(*columns)
    latest = latest_up_to(
        rows.annotate(bytes_of_parts=_BYTES_OF_ALL_PARTS if thoughts else _BYTES_OF_PARTS),
        owner_id,
        conversation_id,
        place,
        limit=limit,
    )
    messages: list[Any] = list(latest)[::-1]
    _read_parts(owner_id, conversation_id, messages)
    return messages


# Of messages with parts that the model is shown: with others than its reasoning. PostgreSQL knows
# their size without reading them.
_BYTES_OF_PARTS = RawSQL(
    """CASE WHEN jsonb_path_exists(parts, '$[*] ? (!(@.type == "reasoning"
        || @.type == "thinking" || @.type == "redacted_thinking"))')
    THEN pg_column_size(parts) END""",
    (),
    output_field=IntegerField(),
)
_BYTES_OF_ALL_PARTS = RawSQL("pg_column_size(parts)", (), output_field=IntegerField())


def _read_parts(owner_id: int, conversation_id: uuid.UUID, messages: Sequence[Any]) -> None:
    """Read the parts of those that have any, as far as BYTES_OF_PARTS allows, the newest first."""
    bytes_left, wanted = BYTES_OF_PARTS, set[int]()
    for message in reversed(messages):
        message.parts = None if message.bytes_of_parts is None else [UNREAD]
        bytes_left -= message.bytes_of_parts or 0
        if message.parts and (bytes_left >= 0 or not wanted):
            wanted.add(message.sequence)
    if not wanted:
        return
    stored = Message.objects.of(owner_id, conversation_id).filter(sequence__in=wanted)
    parts = dict(stored.values_list("sequence", "parts"))
    for message in messages:
        message.parts = parts.get(message.sequence, message.parts)


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
    message: Message,
    results: dict[tuple[int, int], Message],
    call_ids: set[str],
    *,
    vision: bool,
) -> list[Item]:
    """What the model is shown of a message: its text and parts, its calls and their results."""
    calls: list[Item] = []
    outputs: list[Item] = []
    for place, call in enumerate(map(ToolCall.from_json, message.tool_calls or ())):
        result = results.get((message.sequence, place))
        if result is not None and call.tool:
            call_id = unique_call_id(call.id, call_ids)
            calls.append(_call(call, call_id))
            outputs.append(_output(result, call_id))
    # In chat completions only a user's message may have other parts than text.
    sees = vision and message.role == Role.USER
    content = content_of(message.content, message.parts or (), sees=sees)
    said = []
    if content and calls and message.role == Role.ASSISTANT:
        said = [_said_with_calls(str(message.id), content)]
    elif content:
        said = [{"role": message.role, "content": content}]
    return [*said, *calls, *outputs]


def _said_with_calls(id_: str, text: str | list[Item]) -> Item:
    """Text that the library sends in one message with the calls that follow, as it was said."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"type": "message", "id": id_, "role": "assistant", "status": "completed"}
    return message | {"content": content}


def _call(call: ToolCall, call_id: str) -> Item:
    named = {"type": "function_call", "call_id": call_id, "name": call.tool}
    arguments = arguments_of(call.arguments) if call.is_custom else call.arguments or "{}"
    return named | {"arguments": arguments}


def _output(result: Message, call_id: str) -> Item:
    output = content_of(result.content, result.parts or (), sees=False)
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def within(groups: list[list[Item]], tokens: int) -> list[list[Item]]:
    """The latest groups that fit."""
    kept: list[list[Item]] = []
    for group in filter(None, reversed(groups)):
        tokens -= sum(map(_size, group))
        if tokens < 0 and kept:
            break
        kept.insert(0, group)
    return kept


def _size(item: Item) -> int:
    content = item.get("content", "")
    parts = content if isinstance(content, list) else [{"type": "input_text", "text": content}]
    text = "".join(str(item.get(name, "")) for name in ("arguments", "output"))
    text += "".join(part.get("text", "") for part in parts)
    return TOKENS_PER_MESSAGE + len(text) // CHARS_PER_TOKEN + sum(map(size_of, parts))


def from_a_question(groups: list[list[Item]]) -> list[list[Item]]:
    """Without answers whose question is left out: many models refuse to begin with one."""
    for place, group in enumerate(groups):
        if group[0].get("role") in (Role.USER, Role.SYSTEM, Role.DEVELOPER):
            return groups[place:]
    return groups
