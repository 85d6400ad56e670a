"""A list of parts with the results of tools among them, as the messages that were exchanged.

An application shows an answer with its calls and their results as one message. Here the results
are messages of their own: what is said and called before a result is one message, the result is the
next one, and what follows it another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from conversations.formats.checks import as_text_or_none
from conversations.formats.content_parts import TEXT_TYPES, are_parts, text_of
from conversations.formats.message import MessageDraft
from conversations.formats.openai import as_draft
from conversations.formats.sdk_keys import RESULT_ITEMS
from conversations.formats.tool_calls import as_json_text, calls_in
from conversations.formats.unmapped import unmapped

_Part = dict[str, Any]


def drafts_of_parts(at: str, parts: list[_Part], role: str = "assistant") -> list[MessageDraft]:
    """The messages of these parts, of which those of a `role` have the calls in them.

    Results are parts `tool_result` of Anthropic and items of the Responses API. Parts that say
    nothing, as one text that is empty, make no message. `at` is the path of the list. Raises
    Malformed.
    """
    drafts: list[MessageDraft] = []
    for is_result, places in groupby(enumerate(parts), lambda place: _is_result(place[1])):
        run = list(places)
        if is_result:
            drafts += [_result(f"{at}.{index}", part) for index, part in run]
        else:
            drafts += _said(at, run[0][0], [part for _, part in run], role)
    return drafts


def last_said(drafts: Sequence[MessageDraft]) -> MessageDraft:
    """The last message that is not the result of a tool, or else the last one: that of which an
    application says how the answer ended."""
    return next((draft for draft in reversed(drafts) if draft.role != "tool"), drafts[-1])


def _is_result(part: _Part) -> bool:
    return part["type"] == "tool_result" or part["type"] in RESULT_ITEMS


def _said(at: str, start: int, parts: list[_Part], role: str) -> list[MessageDraft]:
    text, kept, rest = text_and_parts(parts)
    if not text and not kept:
        return []
    return [
        MessageDraft(
            role=role,
            content=text,
            parts=kept,
            tool_calls=calls_in(at, parts, start) or None,
            extra={"content": [rest]} if rest else None,
        )
    ]


def text_and_parts(parts: list[_Part]) -> tuple[str, list[_Part] | None, _Part]:
    """The text of parts; these themselves, or None if they are one text; and what this one text
    has beyond its text."""
    if len(parts) != 1 or parts[0]["type"] not in TEXT_TYPES:
        return text_of(parts), parts or None, {}
    rest = unmapped(parts[0], ("text",))
    return parts[0]["text"], None, {} if rest.keys() == {"type"} else rest


def _result(at: str, part: _Part) -> MessageDraft:
    if part["type"] != "tool_result":
        return as_draft(at, part)
    content, kept = part.get("content"), None
    rest = unmapped(part, ("type", "content", "tool_use_id", "name"))
    if isinstance(content, list) and are_parts(content) and not _has_strings(content):
        text, kept, more = text_and_parts(content)
        rest |= {"content": [more]} if more else {}
    else:
        text = as_json_text(f"{at}.content", content)
    return MessageDraft(
        role="tool",
        content=text,
        parts=kept,
        tool_call_id=as_text_or_none(f"{at}.tool_use_id", part.get("tool_use_id")),
        name=as_text_or_none(f"{at}.name", part.get("name")),
        extra=rest or None,
    )


def _has_strings(parts: list[Any]) -> bool:
    return any(isinstance(part, str) for part in parts)
