"""A request of the Responses API, as far as it has been read."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from conversations.chat.responses.resent import as_answers
from conversations.chat.responses.response import REPEATED
from conversations.formats import MessageDraft

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: its `body` as it was sent, its input as items and as the messages that are to be
    stored, which conversation or which earlier answer it follows (one or none)."""

    body: Json
    items: list[Json] = field(default_factory=list)
    drafts: list[MessageDraft] = field(default_factory=list)
    conversation_id: uuid.UUID | None = None
    previous_id: uuid.UUID | None = None

    @property
    def stored(self) -> bool:
        return self.body.get("store") is not False

    @property
    def streams(self) -> bool:
        return self.body.get("stream") is True

    @property
    def background(self) -> bool:
        return self.body.get("background") is True

    @property
    def truncates(self) -> bool:
        return self.body.get("truncation") == "auto"

    @property
    def follows(self) -> bool:
        """Whether it says what it goes on from; else its items tell, if those are a history."""
        return self.conversation_id is not None or self.previous_id is not None

    @property
    def messages(self) -> list[MessageDraft]:
        """What is to be stored, as far as it is not yet."""
        return self.drafts if self.follows else as_answers(self.drafts)

    def kept(self) -> Json:
        """What the record keeps of the request: what a Response repeats of it, and how many
        messages its input is."""
        given = {name: self.body.get(name) for name in ("model", *REPEATED)}
        known = {name: value for name, value in given.items() if value is not None}
        return known | {"input": len(self.messages)}
