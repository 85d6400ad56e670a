"""Messages as the transcript needs them: one page by keyset, texts cut in the database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Func, IntegerField, Max, Min, QuerySet, TextField
from django.db.models.functions import Cast, Left

from conversations.models import Conversation, Message

PAGE_SIZE = 100
# Characters of one text shown among others; more is a page of its own.
CUT_AT = 20_000

_TEXTS = ("content", "error", "rating_comment")
_JSON = ("tool_calls", "parts", "sources", "metadata")


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in order, and whether there are more on either side of them."""

    messages: list[Message]
    first_of_all: int
    last_of_all: int

    @property
    def first(self) -> int | None:
        return self.messages[0].sequence if self.messages else None

    @property
    def last(self) -> int | None:
        return self.messages[-1].sequence if self.messages else None

    @property
    def has_previous(self) -> bool:
        return self.first is not None and self.first > self.first_of_all

    @property
    def has_next(self) -> bool:
        return self.last is not None and self.last < self.last_of_all


def read_page(
    conversation: Conversation, *, after: int | None = None, before: int | None = None
) -> Page:
    """The page that follows sequence `after`, or ends ahead of `before`. Two queries."""
    messages = Message.objects.of(conversation)
    ends = messages.aggregate(first=Min("sequence"), last=Max("sequence"))
    found = _with_cut_texts(messages)
    if before is not None:
        rows = list(found.filter(sequence__lt=before).order_by("-sequence")[:PAGE_SIZE])[::-1]
    else:
        rows = list(found.filter(sequence__gt=after or 0).in_order()[:PAGE_SIZE])
    return Page(rows, first_of_all=ends["first"] or 0, last_of_all=ends["last"] or 0)


def read_whole(conversation: Conversation, message_id: uuid.UUID) -> Message | None:
    """One message with all of its text."""
    texts = {f"{name}_text": F(name) for name in _TEXTS}
    json = {f"{name}_text": Cast(name, TextField()) for name in _JSON}
    stored = Message.objects.of(conversation).filter(id=message_id)
    return stored.defer(*_TEXTS, *_JSON).annotate(**texts, **json, **_size()).first()


def page_start(sequence: int) -> int:
    """The `after` of the page that holds this sequence, pages being whole hundreds."""
    return max(0, sequence - 1) // PAGE_SIZE * PAGE_SIZE


def _with_cut_texts(messages: QuerySet[Message]) -> Any:
    """One character beyond the cut tells that there is more."""
    texts = {f"{name}_text": Left(name, CUT_AT + 1) for name in _TEXTS}
    json = {f"{name}_text": Left(Cast(name, TextField()), CUT_AT + 1) for name in _JSON}
    return messages.defer(*_TEXTS, *_JSON).annotate(**texts, **json, **_size())


def _size() -> dict[str, Func]:
    """The content's size in bytes, which PostgreSQL knows without reading it."""
    return {"size": Func("content", function="octet_length", output_field=IntegerField())}
