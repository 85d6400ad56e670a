"""What a model thought before it answered: where SDKs put it, and the text of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# The keys of a message that hold it as text: of vLLM and DeepSeek, OpenRouter, and Ollama.
_TEXT_KEYS = ("reasoning_content", "reasoning", "thinking")


def reasoning_of(parts: list[Any] | None, extra: dict[str, Any] | None) -> str:
    """The reasoning in a stored message, by its `parts` and `extra`; "" if there is none.

    Parts are those of Anthropic (`thinking`), items of the Responses API (`reasoning`, of which
    the summary counts if the text is not there) and LangChain's. Without any in them, it is what
    the message has in `reasoning_content`, `reasoning` or `thinking_blocks`.
    """
    if texts := [text for part in parts or () if (text := _text_of(part))]:
        return "\n\n".join(texts)
    return _in_message(sent_message(extra or {}))


def reasoning_part(text: str) -> dict[str, Any]:
    """A part that holds reasoning: an item of the Responses API."""
    content = [{"type": "reasoning_text", "text": text}]
    return {"type": "reasoning", "summary": [], "content": content}


def sent_message(extra: dict[str, Any]) -> dict[str, Any]:
    """What `extra` keeps of the message itself, which may be inside another object: the choice of
    a completion, or LangChain's `data` or `kwargs`."""
    inside = extra.get("data") or extra.get("kwargs")
    choices = extra.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        inside = choices[0].get("message")
    return inside if isinstance(inside, dict) else extra


def _text_of(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    kind = part.get("type")
    if kind == "thinking":
        return _text(part.get("thinking"))
    if kind == "reasoning":
        texts = _texts(part.get("content")) or _texts(part.get("summary"))
        return "\n".join(texts) or _text(part.get("reasoning")) or _text(part.get("text"))
    return ""


def _texts(parts: object) -> list[str]:
    found: Iterable[Any] = parts if isinstance(parts, list) else ()
    return [text for part in found if isinstance(part, dict) and (text := _text(part.get("text")))]


def _in_message(message: dict[str, Any]) -> str:
    said = [_text(message.get(key)) for key in _TEXT_KEYS]
    blocks = message.get("thinking_blocks")
    said.append(
        "\n\n".join(filter(None, map(_text_of, blocks if isinstance(blocks, list) else ())))
    )
    more = message.get("additional_kwargs")
    if isinstance(more, dict):
        said += [_text(more.get(key)) for key in _TEXT_KEYS]
    return next(filter(None, said), "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
