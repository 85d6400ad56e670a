"""A turn as one value: a question's answer as far as it has come. No table of its own.

The same value is filled by the process that runs the turn and built from rows for everybody else
(`selectors/turn_log.py`). `turn_ids.py` says which rows belong to a turn.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from conversations.models.branch_path import FIRST_LINE, number_of
from conversations.models.message import Status

# The primary key of a turn's first assistant message: owner, conversation, id. An id is unique
# within its conversation alone: a client may give its own messages the ids of somebody else's.
TurnPk = tuple[int, uuid.UUID, uuid.UUID]
# What a step counts: columns of its message.
USAGE = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model calls, with `arguments` as the model wrote them: JSON for a function,
    any text for a custom tool."""

    id: str
    tool: str
    arguments: str
    is_custom: bool = False

    @classmethod
    def from_json(cls, value: object) -> ToolCall:
        """From OpenAI's shape; of another shape, which older rows may hold, what fits it."""
        call = value if isinstance(value, dict) else {}
        is_custom = call.get("type") == "custom"
        said = call.get("custom" if is_custom else "function")
        said = said if isinstance(said, dict) else {}
        arguments = _text(said.get("input" if is_custom else "arguments"))
        return cls(_text(call.get("id")), _text(said.get("name")), arguments, is_custom)

    def as_json(self) -> dict[str, Any]:
        """OpenAI's shape, in which calls are stored."""
        if self.is_custom:
            custom = {"name": self.tool, "input": self.arguments}
            return {"id": self.id, "type": "custom", "custom": custom}
        function = {"name": self.tool, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned, as text."""

    tool_call_id: str
    tool: str
    content: str


@dataclass(slots=True)
class Step:
    """One answer of the model, stored as an assistant message: what it thought and said, the tools
    it calls, what those returned so far. `first_token_ms` belongs to the step with the turn's first
    text. `parts` is what was said that is no text, of a stored step also its reasoning; `extra`,
    which has what the model said beyond all of these, is not read back from rows."""

    message_id: uuid.UUID
    content: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list, compare=False)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    first_token_ms: int | None = None
    extra: dict[str, Any] | None = field(default=None, compare=False)


@dataclass(slots=True)
class Turn:
    """Grows only: text is appended, steps and results are added, and at last it ends.

    `id` is that of the first assistant message. Milliseconds count from the turn's begin.
    `place` is the `branch` and the `sequence` of its first message, `created_at` is when that was
    made; `silent_for` is how long ago its last row changed, by the database's clock, where it was
    read from rows. One that is not `stored` has no rows, and its own id in the place of its
    conversation's.
    """

    id: uuid.UUID
    owner_id: int
    conversation_id: uuid.UUID
    user_message_id: uuid.UUID | None
    provider: str
    model: str
    steps: list[Step]
    sources: list[Any] | None = None
    mode: str | None = None
    status: str = Status.STREAMING.value
    finish_reason: str | None = None
    error: str | None = None
    latency_ms: int | None = None
    place: tuple[int, int] = field(default=(FIRST_LINE, 0), compare=False)
    created_at: datetime | None = field(default=None, compare=False)
    silent_for: timedelta | None = field(default=None, compare=False)
    stored: bool = True

    @property
    def pk(self) -> TurnPk:
        return self.owner_id, self.conversation_id, self.id

    @property
    def branch(self) -> int:
        """The number of the branch on which all of its messages are."""
        return number_of(self.place[0])

    @property
    def last(self) -> Step:
        """The step that holds the answer, or will."""
        return self.steps[-1]

    @property
    def ended(self) -> bool:
        return self.status != Status.STREAMING

    @property
    def succeeded(self) -> bool:
        return self.status in (Status.COMPLETE, Status.STOPPED)

    @property
    def first_token_ms(self) -> int | None:
        known = (step.first_token_ms for step in self.steps)
        return next((value for value in known if value is not None), None)

    @property
    def usage(self) -> dict[str, Any]:
        """The sums of what is known of the steps, by the names of USAGE."""
        return {name: _sum(getattr(step, name) for step in self.steps) for name in USAGE}

    def copy(self) -> Turn:
        """The turn as it is now, whatever is added to this one afterwards."""
        return replace(self, steps=[*self.steps[:-1], replace(self.last)])


def _sum(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _text(value: object) -> str:
    """Text as it is, anything else as its JSON: some clients send arguments as an object."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
