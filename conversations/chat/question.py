"""What is asked in a turn, and what the request says about how it is to be answered."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from conversations.services.branch_placement import Parent

# The names in a request of what is said about the answer.
OPTIONS = ("system", "temperature", "max_tokens", "tools")
# Under which they are kept in the `extra` of the question's message, with the question's place; of
# an answer that is given again in that of the answer, with the id of the earlier one.
REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A text with images, and options for this turn alone; None is what is configured.

    `system` stands for CHAT_SYSTEM_PROMPT; `tools` are names of configured ones. `parent` is the
    message that the question follows, or "root"; None is the end of the active branch. Where the
    question was asked before, `regenerate` is the id of an answer to it.
    """

    text: str
    parent: Parent = None
    regenerate: uuid.UUID | None = None
    parts: list[Any] | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tools: list[str] | None = None

    def as_extra(self) -> dict[str, Any] | None:
        """What was given, for the record; None without any."""
        given = {name: getattr(self, name) for name in OPTIONS}
        ids = {"parent_id": self.parent, "regenerate": self.regenerate}
        given |= {name: None if id_ is None else str(id_) for name, id_ in ids.items()}
        known = {name: value for name, value in given.items() if value is not None}
        return {REQUEST: known} if known else None
