"""What a model thought before it answered, among the parts of a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any


def reasoning_part(text: str) -> dict[str, Any]:
    """A reasoning item as OpenAI's Responses API has it."""
    content = [{"type": "reasoning_text", "text": text}]
    return {"type": "reasoning", "summary": [], "content": content}


def reasoning_text(parts: Sequence[Any] | None) -> str:
    """The text of the reasoning items of OpenAI's Responses API and of Anthropic's thinking
    blocks, one paragraph each; "" without any."""
    return "\n\n".join(filter(None, _texts(parts or ())))


def _texts(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "thinking":
            yield _text(part.get("thinking"))
        elif kind == "reasoning":
            items = [*_list(part.get("summary")), *_list(part.get("content"))]
            yield from (_text(item.get("text")) for item in items if isinstance(item, dict))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
