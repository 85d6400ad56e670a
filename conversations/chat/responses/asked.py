"""A request of the Responses API, as far as it has been read."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

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

    def kept(self) -> Json:
        """What the record keeps of the request: what a Response repeats of it, and how many
        messages its input is."""
        given = {name: self.body.get(name) for name in ("model", *REPEATED)}
        known = {name: value for name, value in given.items() if value is not None}
        return known | {"input": len(self.drafts)}
