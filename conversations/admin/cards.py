"""A stored message as the transcript shows it: cut texts, folded JSON, tool calls by name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from conversations.admin.reading import CUT_AT
from conversations.models import Message, Role, Status

PREVIEW_CHARS = 160

ICONS = {
    Role.USER: "person",
    Role.ASSISTANT: "smart_toy",
    Role.SYSTEM: "settings",
    Role.DEVELOPER: "code",
    Role.TOOL: "build",
}


@dataclass(frozen=True, slots=True)
class Fold:
    """Something shown on request: a line that says what it is, and the text."""

    label: str
    text: str
    name: str = ""
    id: str = ""
    cut: bool = False

    @property
    def preview(self) -> str:
        return " ".join(self.text[: PREVIEW_CHARS * 4].split())[:PREVIEW_CHARS]


@dataclass(frozen=True, slots=True)
class Card:
    """What the template of one message needs. `missing`: how many were deleted ahead of it."""

    message: Message
    icon: str
    text: str
    cut: bool
    error: str
    folds: list[Fold]
    facts: list[str]
    size: int
    missing: int = 0

    @property
    def is_cut(self) -> bool:
        return self.cut or any(fold.cut for fold in self.folds)

    @property
    def unfinished(self) -> bool:
        return self.message.status != Status.COMPLETE


def cards_of(messages: list[Message], *, follows: int | None) -> list[Card]:
    """The cards of one page; `follows` is the sequence it begins after, where that is known."""
    start = messages[0].sequence - 1 if messages and follows is None else follows or 0
    sequences = [start, *(message.sequence for message in messages)]
    gaps = [after - before - 1 for before, after in pairwise(sequences)]
    return [card_of(message, missing=gap) for message, gap in zip(messages, gaps, strict=True)]


def card_of(message: Any, *, whole: bool = False, missing: int = 0) -> Card:
    """`message` comes from `reading`, its texts beside it; `whole` cuts nothing."""
    limit = None if whole else CUT_AT
    content = message.content_text[:limit]
    result = None if whole else _result(message, content)
    return Card(
        message=message,
        icon=ICONS[Role(message.role)],
        text="" if result else content,
        cut=len(content) < len(message.content_text),
        error=(message.error_text or "")[:limit],
        folds=[*([result] if result else []), *_calls(message, limit), *_extras(message, limit)],
        facts=list(_facts(message)),
        size=message.size,
        missing=missing,
    )


def _result(message: Any, content: str) -> Fold | None:
    """What a tool answered, folded: its JSON laid out, anything else as it is."""
    if message.role != Role.TOOL or not content:
        return None
    laid_out = pretty(content)
    return Fold("Result", laid_out or content)


def _calls(message: Any, limit: int | None) -> Iterable[Fold]:
    text = message.tool_calls_text
    calls = None if text is None or _is_cut(text, limit) else _parsed(text)
    if not isinstance(calls, list):
        return [] if text is None else [_fold("Tool calls", text, limit)]
    return [_call(call) for call in calls]


def _call(call: Any) -> Fold:
    """One tool call in the form of OpenAI's chat messages; any other as the JSON that it is."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "name" not in function:
        return Fold("Tool call", dumped(call))
    arguments = function.get("arguments", "")
    text = arguments if isinstance(arguments, str) else dumped(arguments)
    return Fold(
        "Tool call", pretty(text) or text, name=str(function["name"]), id=str(call.get("id") or "")
    )


def _extras(message: Any, limit: int | None) -> Iterable[Fold]:
    for label, text in [
        ("Parts", message.parts_text),
        ("Sources", message.sources_text),
        ("Metadata", message.metadata_text),
    ]:
        if text not in (None, "[]", "{}"):
            yield _fold(label, text, limit)


def _fold(label: str, text: str, limit: int | None) -> Fold:
    if _is_cut(text, limit):
        return Fold(label, text[:limit], cut=True)
    return Fold(label, pretty(text) or text)


def _is_cut(text: str, limit: int | None) -> bool:
    return limit is not None and len(text) > limit


def _facts(message: Message) -> Iterable[str]:
    """What is known of an answer's making."""
    if message.model:  # without one the provider is only the column's default
        yield f"{message.provider} {message.model}".strip()
    if message.prompt_tokens is not None:
        yield f"{message.prompt_tokens:,} tokens in"
    if message.completion_tokens is not None:
        yield f"{message.completion_tokens:,} tokens out"
    if message.first_token_ms is not None:
        yield f"first token after {message.first_token_ms:,} ms"
    if message.latency_ms is not None:
        yield f"took {message.latency_ms:,} ms"
    if message.finish_reason:
        yield f"finish reason {message.finish_reason}"
    if message.detected_mode:
        yield f"mode {message.detected_mode}"


def pretty(text: str) -> str | None:
    """An object or array of JSON laid out; None for any other text."""
    value = _parsed(text)
    return dumped(value) if isinstance(value, dict | list) else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def dumped(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
