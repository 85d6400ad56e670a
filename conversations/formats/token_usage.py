"""Numbers of tokens and the cost of an answer, as SDKs report them.

OpenAI's Chat Completions: https://platform.openai.com/docs/api-reference/chat/object (`usage`);
Responses: https://platform.openai.com/docs/api-reference/responses/object; Anthropic:
https://docs.anthropic.com/en/api/messages, where `input_tokens` leaves out what was read from or
written to the cache; LangChain: `usage_metadata` of an AIMessage. OpenRouter adds `cost`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from conversations.formats.message import MessageDraft

LARGEST_COUNT = 2**31 - 1  # of the columns

_WRITTEN_TO_CACHE = "cache_creation_input_tokens"
_READ_FROM_CACHE = "cache_read_input_tokens"
# Of all tokens of the prompt and of the completion: where those in question are counted.
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("input_token_details", "cache_read"),
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "thinking_tokens"),
    ("output_token_details", "reasoning"),
)


def usage_columns(message: dict[str, Any]) -> dict[str, Any]:
    """What a message says of its usage, by our columns; what it does not say is left out.

    Numbers that do not fit a column are left out too: the sender's own object is kept.
    """
    found: dict[str, Any] = {}
    for usage in _usages(message):
        counted = {
            "prompt_tokens": _prompt_tokens(usage),
            "completion_tokens": _first(usage, "completion_tokens", "output_tokens"),
            "cached_tokens": _detail(usage, _CACHED, _READ_FROM_CACHE),
            "reasoning_tokens": _detail(usage, _REASONING, "reasoning_tokens"),
            "cost": _cost(usage.get("cost")),
        }
        found = {name: count for name, count in counted.items() if count is not None} | found
    return found


def set_usage(draft: MessageDraft, usage: object) -> None:
    """Set the columns of an object with the usage of an answer; anything else says nothing."""
    for name, value in usage_columns({"usage": usage}).items():
        setattr(draft, name, Decimal(str(value)) if name == "cost" else value)


def _usages(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that say it, the one that counts most first."""
    metadata = message.get("response_metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for usage in (
        message.get("usage"),
        message.get("usage_metadata"),
        metadata.get("token_usage"),
        metadata.get("usage"),
    ):
        if isinstance(usage, dict):
            yield usage


def _prompt_tokens(usage: dict[str, Any]) -> int | None:
    if (total := _count(usage.get("prompt_tokens"))) is not None:
        return total
    uncached = _count(usage.get("input_tokens"))
    if uncached is None:
        return None
    cached = (_count(usage.get(name)) or 0 for name in (_READ_FROM_CACHE, _WRITTEN_TO_CACHE))
    return _count(uncached + sum(cached))


def _first(usage: dict[str, Any], *names: str) -> int | None:
    counts = (_count(usage.get(name)) for name in names)
    return next((count for count in counts if count is not None), None)


def _detail(usage: dict[str, Any], places: tuple[tuple[str, str], ...], flat: str) -> int | None:
    for name, key in places:
        details = usage.get(name)
        if isinstance(details, dict) and (count := _count(details.get(key))) is not None:
            return count
    return _count(usage.get(flat))


def _count(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= LARGEST_COUNT else None  # type: ignore[operator, return-value]


def _cost(value: object) -> int | float | str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and 0 <= value < 10**8 else None  # type: ignore[operator, return-value]
