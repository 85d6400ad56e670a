"""Messages as the transcript needs them: one page by keyset, texts cut in the database."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import (
    Case,
    F,
    Func,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Left, Length, Substr

from conversations.admin.conversation.opened import Opened
from conversations.models import Message, Review, as_read

PAGE_SIZE = 100
# Characters of one text shown among others; more is a page of its own.
CUT_AT = 20_000
# Characters of content on a page of its own: as much as a browser lays out at once.
PART_SIZE = 200_000

_TEXTS = ("content", "error", "rating_comment")
_JSON = ("tool_calls", "parts", "sources", "metadata")


@dataclass(frozen=True, slots=True)
class Span:
    """The sequences of one page, None where it holds no message."""

    first: int | None
    last: int | None


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


def span_of(
    conversation_id: uuid.UUID, *, after: int | None = None, before: int | None = None
) -> Span:
    """The page that follows sequence `after`, or ends ahead of `before`: numbers alone, which the
    record of the look at them names before they are read."""
    messages = Message.objects.filter(conversation_id=conversation_id)
    if before is not None:
        page = messages.filter(sequence__lt=before).order_by("-sequence")
    else:
        page = messages.filter(sequence__gt=after or 0).in_order()
    return Span(**page[:PAGE_SIZE].aggregate(first=Min("sequence"), last=Max("sequence")))


def read_page(conversation: Opened, span: Span) -> Page:
    """The messages of this span. Two queries."""
    messages = Message.objects.of(conversation)
    ends = messages.aggregate(first=Min("sequence"), last=Max("sequence"))
    rows: list[Message] = []
    if span.first is not None:
        within = messages.filter(sequence__gte=span.first, sequence__lte=span.last)
        rows = [_as_read(row) for row in _with_cut_texts(within.in_order())]
    return Page(rows, first_of_all=ends["first"] or 0, last_of_all=ends["last"] or 0)


def reviews_of(conversation: Opened, messages: list[Message]) -> dict[uuid.UUID, list[Review]]:
    """By message, what staff think of these, oldest first. One query."""
    reviews = Review.objects.filter(
        conversation=conversation, message_id__in=[message.id for message in messages]
    )
    found: dict[uuid.UUID, list[Review]] = {}
    for review in reviews.order_by("created_at", "id"):
        found.setdefault(review.message_id, []).append(review)
    return found


def read_whole(conversation: Opened, message_id: uuid.UUID, *, part: int = 1) -> Message | None:
    """One message with all of its text, the content in parts of PART_SIZE, counted from 1.

    `parts_in_all` beside it says how many there are.
    """
    texts: dict[str, Any] = {f"{name}_text": F(name) for name in _TEXTS}
    json = {f"{name}_text": Cast(name, TextField()) for name in _JSON}
    texts["content_text"] = Substr("content", (part - 1) * PART_SIZE + 1, PART_SIZE)
    stored = Message.objects.of(conversation).filter(id=message_id)
    found = stored.defer(*_TEXTS, *_JSON).annotate(
        **texts, **json, **_size(), characters=Length("content")
    )
    message: Any = found.first()
    if message is not None:
        message = _as_read(message)
        message.parts_in_all = max(1, -(-message.characters // PART_SIZE))
    return message  # type: ignore[no-any-return]


# As much of a message as a snippet is looked for in first.
EXCERPT_CHARS = 20_000


def read_excerpts(conversation: Opened, sequences: Sequence[int]) -> Iterable[tuple[int, str, str]]:
    """(sequence, role, beginning of the content) of these messages, in order."""
    found = Message.objects.of(conversation).filter(sequence__in=sequences).in_order()
    return found.values_list("sequence", "role", Left("content", EXCERPT_CHARS))


@dataclass(frozen=True, slots=True)
class Totals:
    """What the newest TOTALLED messages of a conversation sum up to."""

    prompt_tokens: int
    completion_tokens: int
    good: int
    bad: int
    models: list[str]
    seconds: float
    bounded: bool


# A conversation may have a million messages, and its page waits for the sum.
TOTALLED = 10_000


def read_totals(conversation: Opened) -> Totals:
    """One query, bounded by TOTALLED."""
    newest = Message.objects.of(conversation).order_by("-sequence")[:TOTALLED]
    sums = newest.aggregate(
        prompt_tokens=Sum("prompt_tokens", default=0),
        completion_tokens=Sum("completion_tokens", default=0),
        good=Sum(Case(When(rating=1, then=1), default=0), default=0),
        bad=Sum(Case(When(rating=-1, then=1), default=0), default=0),
        models=ArrayAgg("model", distinct=True, filter=~Q(model=""), default=Value([])),
        first=Min("created_at"),
        last=Max("created_at"),
    )
    first, last = sums.pop("first"), sums.pop("last")
    seconds = (last - first).total_seconds() if first else 0.0
    bounded = conversation.message_count > TOTALLED
    return Totals(**sums, seconds=seconds, bounded=bounded)


def _as_read(message: Any) -> Any:
    """An abandoned answer as `interrupted`, which is the error that its texts show."""
    stored = message.status
    if as_read(message).status != stored:
        message.error_text = message.error
    return message


def first_since(conversation: Opened, moment: datetime) -> int | None:
    """The sequence of the first message at or after a moment; the last one's if there is none."""
    messages = Message.objects.of(conversation)
    later = messages.filter(created_at__gte=moment).in_order()
    found = later.values_list("sequence", flat=True).first()
    return messages.aggregate(last=Max("sequence"))["last"] if found is None else found


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


# Tool results stand close to their calls; further away they are not looked for.
NEAR = 200


def tool_events(conversation: Opened, page: Page) -> Any:
    """(sequence, call answered, ids of calls made) of the messages with tools, in order, on
    the page and NEAR either side of it."""
    if page.first is None or page.last is None:
        return []
    ids = Func(
        F("tool_calls"),
        Value("$[*].id"),
        function="jsonb_path_query_array",
        template="%(function)s(%(expressions)s::jsonpath)",
    )
    near = Message.objects.of(conversation).filter(
        sequence__gte=page.first - NEAR, sequence__lte=page.last + NEAR
    )
    with_tools = near.exclude(tool_calls=None, tool_call_id=None).in_order()
    return with_tools.annotate(call_ids=Cast(ids, TextField())).values_list(
        "sequence", "tool_call_id", "call_ids"
    )
