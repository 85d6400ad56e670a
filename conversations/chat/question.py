"""What is asked in a turn, and what the request says about how it is to be answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The names in a request of what is said about the answer.
OPTIONS = ("system", "temperature", "max_tokens", "tools")
# Under which the question's message keeps them, in its `extra`.
REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A text with images, and options for this turn alone; None is what is configured.

    `system` stands for CHAT_SYSTEM_PROMPT; `tools` are names of configured ones.
    """

    text: str
    parts: list[Any] | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tools: list[str] | None = None

    def as_extra(self) -> dict[str, Any] | None:
        """The options that were given, for the record; None without any."""
        given = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        return {REQUEST: given} if given else None
