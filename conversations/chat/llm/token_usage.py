"""The tokens that a model counted for one answer, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from conversations.chat.llm.providers import Provider
from conversations.formats import COST_PLACES
from conversations.formats.token_usage import usage_columns

_MILLION = 1_000_000
# Counts that columns hold, or that are the sum of others.
_PLAIN = {"prompt_tokens", "completion_tokens", "total_tokens", "cost"}
_IN_DETAILS = {
    "prompt_tokens_details": "cached_tokens",
    "completion_tokens_details": "reasoning_tokens",
}


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Cached tokens are part of the prompt's, reasoning tokens of the completion's. `cost` is what
    the provider says, in CHAT_COST_CURRENCY. `beyond` is the whole usage as it was sent, where it
    says more than this."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    beyond: dict[str, Any] | None = None


def usage_from(sent: dict[str, Any]) -> TokenUsage:
    """From `usage` of OpenAI's chat completions."""
    columns = usage_columns({"usage": sent})
    cost = columns.pop("cost", None)
    return TokenUsage(
        **columns,
        cost=None if cost is None else round(Decimal(str(cost)), COST_PLACES),
        beyond=sent if _says_more(sent) else None,
    )


def cost_of(usage: TokenUsage, provider: Provider, model: str) -> Decimal | None:
    """What the provider says that it cost, else what its prices make of it; None if unknown."""
    prices = provider.prices.get(model)
    if usage.cost is not None or prices is None:
        return usage.cost
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    price = {name: Decimal(str(amount)) for name, amount in prices.items()}
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
    cost = (
        (usage.prompt_tokens - cached) * price["input"]
        + cached * price.get("cached_input", price["input"])
        + usage.completion_tokens * price["output"]
    )
    return round(cost / _MILLION, COST_PLACES)


def _says_more(sent: dict[str, Any]) -> bool:
    for name, value in sent.items():
        known = {_IN_DETAILS[name]} if name in _IN_DETAILS else set()
        if isinstance(value, dict):
            value = [item for key, item in value.items() if key not in known]
        if name not in _PLAIN and _is_something(value):
            return True
    return False


def _is_something(value: object) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return any(map(_is_something, value)) if isinstance(value, list) else bool(value)
