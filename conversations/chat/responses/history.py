"""What a model is shown of a conversation in the words of the Responses API: its stored items.

With `truncation: auto` they are the latest within the provider's window, as for the project's own
turns; else all of them, and the provider refuses what is too long for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from conversations.chat.errors import FAILURES, TurnFailed
from conversations.chat.llm.call_ids import unique_call_id
from conversations.chat.llm.context_window import from_a_question, messages_before, within
from conversations.chat.llm.media_parts import content_of
from conversations.chat.llm.providers import Provider
from conversations.chat.responses.output import PROVIDER_ID
from conversations.formats.response_items import items_of
from conversations.models import Message
from conversations.selectors.branches import Place

Json = dict[str, Any]

# So many are read of one conversation that is not truncated.
MAX_MESSAGES = 2_000
_COLUMNS = (
    *("sequence", "role", "content", "tool_calls", "tool_call_id", "name", "status", "extra"),
    *("sources", "created_at"),
)
_CALLS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}
_OUTPUTS = frozenset(_CALLS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The messages of one conversation up to a place, inclusive, on the path to it."""

    owner_id: int
    conversation_id: uuid.UUID
    place: Place


def items_before(context: Context, provider: Provider, *, truncates: bool) -> list[Json]:
    """The items of the messages up to a place, oldest first, with the calls whose results are
    missing. Raises TurnFailed."""
    limit = settings.CHAT_CONTEXT_MESSAGES if truncates else MAX_MESSAGES + 1
    groups = _groups(context, limit)
    if not truncates and len(groups) > MAX_MESSAGES:
        raise TurnFailed(FAILURES["history_too_long"])
    if truncates:
        tokens = provider.context_tokens or settings.CHAT_CONTEXT_TOKENS
        groups = from_a_question(within(groups, tokens))
    return [item for group in groups for item in group]


def items_at(context: Context, *, limit: int) -> list[Json]:
    """The items of so many messages up to a place."""
    return [item for group in _groups(context, limit) for item in group]


def _groups(context: Context, limit: int) -> list[list[Json]]:
    """The items of each of the latest messages up to a place, oldest first."""
    messages = messages_before(
        context.owner_id,
        context.conversation_id,
        context.place,
        limit=limit,
        columns=_COLUMNS,
        thoughts=True,
    )
    return [items_of(_row(message)) for message in messages]


def _row(message: Message) -> Json:
    return {name: getattr(message, name) for name in ("id", "parts", *_COLUMNS)}


def answered(items: Sequence[Json]) -> list[Json]:
    """Without calls that nothing answers and results of no call: providers refuse both.

    A result belongs to the nearest call before it with its id.
    """
    waiting: dict[Any, list[int]] = {}
    kept = set[int]()
    for place, item in enumerate(items):
        call_id, kind = item.get("call_id"), item.get("type")
        if kind in _CALLS:
            waiting.setdefault(call_id, []).append(place)
        elif kind not in _OUTPUTS:
            kept.add(place)
        elif waiting.get(call_id):
            kept |= {waiting[call_id].pop(), place}
    return [item for place, item in enumerate(items) if place in kept]


def output_without_call(given: Sequence[Json], items: Sequence[Json]) -> int | None:
    """The place of the first of the given items that is the result of a call that is not among all
    items; None without any."""
    calls = {item.get("call_id") for item in items if item.get("type") in _CALLS}
    places = (place for place, item in enumerate(given) if item.get("type") in _OUTPUTS)
    return next((place for place in places if given[place].get("call_id") not in calls), None)


def with_unique_calls(items: Iterable[Json]) -> list[Json]:
    """With ids of calls that do not repeat: some models count theirs from zero in each answer.

    Each of `items` is answered.
    """
    taken, renamed, found = set[str](), dict[Any, str](), []
    for item in items:
        kind, call_id = item.get("type"), item.get("call_id")
        if kind in _CALLS:
            renamed[call_id] = unique_call_id(str(call_id), taken)
        if kind in _CALLS or kind in _OUTPUTS:
            item = item | {"call_id": renamed[call_id]}
        found.append(item)
    return found


def for_chat(items: Iterable[Json], *, vision: bool) -> list[Json]:
    """Stored items as a chat model can be shown them: a line stands for what it cannot see."""
    return [_for_chat(item, vision) for item in items if item.get("type") != "reasoning"]


def _for_chat(item: Json, vision: bool) -> Json:
    parts = item.get("content")
    if item.get("role") in (None, "assistant") or not isinstance(parts, list):
        return item
    sees = vision and item["role"] == "user"
    return item | {"content": content_of("", parts, sees=sees)}


def for_responses(items: Iterable[Json]) -> list[Json]:
    """Without reasoning that only the provider which stored it could read; other reasoning by the
    provider's own id."""
    found = []
    for item in items:
        if item.get("type") == "reasoning":
            if not item.get("encrypted_content"):
                continue
            rest = {name: value for name, value in item.items() if name != PROVIDER_ID}
            item = rest | {"id": item.get(PROVIDER_ID) or item["id"]}
        found.append(item)
    return found
