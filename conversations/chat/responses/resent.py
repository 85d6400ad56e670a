"""A history that is sent again as items: its answers as they are stored, one message each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conversations.formats import MessageDraft
from conversations.formats.content_parts import TEXT_TYPES
from conversations.models import Role


def as_answers(drafts: Iterable[MessageDraft]) -> list[MessageDraft]:
    """The messages of items with the items of each answer joined: what the model thought, said and
    called is one message of a turn."""
    found: list[MessageDraft] = []
    for draft in drafts:
        if found and draft.role == found[-1].role == Role.ASSISTANT:
            found[-1] = _joined(found[-1], draft)
        else:
            found.append(draft)
    return found


def _joined(one: MessageDraft, other: MessageDraft) -> MessageDraft:
    parts = [*(one.parts or ()), *(other.parts or ())]
    return MessageDraft(
        role=Role.ASSISTANT,
        content="\n".join(filter(None, [one.content, other.content])),
        parts=[_without_id(part) for part in parts if part.get("type") not in TEXT_TYPES] or None,
        tool_calls=[*(one.tool_calls or ()), *(other.tool_calls or ())] or None,
    )


def _without_id(item: dict[str, Any]) -> dict[str, Any]:
    """As an item of a stored answer is, which has the id of its message."""
    return {name: value for name, value in item.items() if name != "id"}
