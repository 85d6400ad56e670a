"""Messages as the transcript needs them: one page by keyset, texts cut in the database."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    Case,
    F,
    Func,
    IntegerField,
    JSONField,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Left, Length, Substr

from conversations.admin.conversation.opened import Opened
from conversations.admin.transcript.branches import PAGE_SIZE, ShownBranch
from conversations.admin.transcript.tool_links import tool_links
from conversations.formats.image_parts import LONGEST_URL
from conversations.models import Conversation, Message, Review, Role, as_read
from conversations.models.message import MessageQuerySet
from conversations.selectors.branches import BEGINNING, Place

# Characters of one text shown among others; a longer one has a page of its own.
CUT_AT = 20_000
# Characters of content on a page of its own: as much as a browser lays out at once.
PART_SIZE = 200_000
# Characters of a message in which a snippet is looked for first.
EXCERPT_CHARS = 20_000
# The messages that the totals cover. A conversation may have a million, and its page waits.
TOTALLED = 10_000

_WHOLE = 2**31 - 1
_TEXTS = ("content", "error", "rating_comment")
_JSON = ("tool_calls", "parts", "sources", "metadata", "extra")


@dataclass(frozen=True, slots=True)
class PageEnds:
    """Which messages a page shows: the access record names them before they are read.

    `first` and `last`: the sequences at its ends, None where it is empty. `branch`: the one that
    it is a page of, with the `places` of the messages, or None in a conversation without forks.
    """

    first: int | None
    last: int | None
    branch: ShownBranch | None = None
    places: Sequence[Place] = ()


@dataclass(frozen=True, slots=True)
class TranscriptPage:
    """Messages in order with what belongs to them. Each has its texts beside it, as
    `content_text`, `tool_calls_text` and so on.

    `first` and `last`: the sequences at the ends of the page; `last_of_all`: that of the last
    message of the conversation, or of the branch that is shown; `follows`: the one that the page
    begins after. `branch` as in PageEnds; `parents`: on a branch, the place that each message
    follows, by sequence. `results`: the sequence of each tool result by (sequence of the calling
    message, id of the call); `calls`: the sequence of the calling message by that of the result.
    """

    messages: list[Any]
    first: int | None
    last: int | None
    follows: int
    last_of_all: int
    has_previous: bool = False
    branch: ShownBranch | None = None
    parents: dict[int, Place] = field(default_factory=dict)
    results: dict[tuple[int, str], int] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)


def page_ends(
    conversation: Conversation, branch: ShownBranch | None, *, after: int, before: int | None
) -> PageEnds:
    """The page that ends ahead of the sequence `before` or else follows `after`."""
    if branch is not None:
        places = branch.page(after=after, before=before)
        first, last = (places[0][1], places[-1][1]) if places else (None, None)
        return PageEnds(first, last, branch, places)
    messages = _messages(conversation)
    if before is not None:
        page = messages.filter(sequence__lt=before).order_by("-sequence")
    else:
        page = messages.filter(sequence__gt=after).in_order()
    return PageEnds(**page[:PAGE_SIZE].aggregate(first=Min("sequence"), last=Max("sequence")))


def page_start(sequence: int) -> int:
    """The `after` of the page that holds this sequence, pages being whole hundreds."""
    return max(0, sequence - 1) // PAGE_SIZE * PAGE_SIZE


def read_page(conversation: Opened, ends: PageEnds, *, follows: int | None) -> TranscriptPage:
    """The messages of a page; `follows` of None is the sequence ahead of the first.

    Three queries, and a fourth where there are tool calls or results; on a branch at most four
    more.
    """
    branch = ends.branch
    has_previous, last_of_all, parents = _around(conversation, ends)
    messages: list[Any] = []
    if ends.first is not None:
        # One character beyond the cut tells that there is more.
        texts = {f"{name}_text": Left(name, CUT_AT + 1) for name in _TEXTS}
        texts |= {f"{name}_text": Left(text, CUT_AT + 1) for name, text in _json_texts()}
        messages = _rows(conversation, _within(conversation, ends).in_order(), texts)
    has_tools = any(message.role == Role.TOOL or message.tool_calls_text for message in messages)
    results, calls = tool_links(conversation, messages, branch) if has_tools else ({}, {})
    return TranscriptPage(
        messages=messages,
        first=messages[0].sequence if messages else None,
        last=messages[-1].sequence if messages else None,
        follows=follows if follows is not None else (ends.first or 1) - 1,
        last_of_all=last_of_all,
        has_previous=has_previous,
        branch=branch,
        parents=parents,
        results=results,
        calls=calls,
    )


def _within(conversation: Opened, ends: PageEnds) -> MessageQuerySet:
    messages = _messages(conversation)
    if ends.branch is None:
        return messages.filter(sequence__gte=ends.first, sequence__lte=ends.last)
    return messages.filter(sequence__in=[sequence for _, sequence in ends.places])


def _around(conversation: Opened, ends: PageEnds) -> tuple[bool, int, dict[int, Place]]:
    """`has_previous`, `last_of_all` and `parents` of a page."""
    if ends.branch is None:
        of_all = _messages(conversation).aggregate(first=Min("sequence"), last=Max("sequence"))
        is_first = ends.first is None or ends.first == of_all["first"]
        return not is_first, of_all["last"] or 0, {}
    if ends.first is None:
        return False, ends.branch.last, {}
    ahead = [ends.branch.parent_of(ends.first), *ends.places]
    parents = {sequence: ahead[at] for at, (_, sequence) in enumerate(ends.places)}
    return ahead[0] != BEGINNING, ends.branch.last, parents


def read_whole(
    conversation: Opened, branch: ShownBranch | None, message_id: uuid.UUID, *, part: int = 1
) -> TranscriptPage | None:
    """One message alone, its texts whole, the content in parts of PART_SIZE, counted from 1.

    `parts_in_all` beside the message says how many there are. None where there is no such message
    or part.
    """
    texts: dict[str, Any] = {f"{name}_text": F(name) for name in _TEXTS}
    texts |= {f"{name}_text": text for name, text in _json_texts()}
    texts["content_text"] = Substr("content", (part - 1) * PART_SIZE + 1, PART_SIZE)
    stored = _messages(conversation).filter(id=message_id)
    for message in _rows(conversation, stored.annotate(characters=Length("content")), texts):
        message.parts_in_all = max(1, -(-message.characters // PART_SIZE))
        if part <= message.parts_in_all:
            at = message.sequence
            return TranscriptPage([message], at, at, at - 1, at, branch=branch)
    return None


def read_image_url(conversation: Opened, message_id: uuid.UUID, number: int) -> str | None:
    """The URL in the image part of this number, counted from 1; None without one."""
    stored = _messages(conversation).filter(id=message_id)
    urls = stored.values_list(_image_urls(_WHOLE), flat=True).first() or []
    return urls[number - 1] if 0 < number <= len(urls) else None


def read_excerpts(
    conversation: Opened, sequences: Sequence[int]
) -> Iterable[tuple[int, int, str, str]]:
    """(branch, sequence, role, beginning of the content) of these messages, in order."""
    found = _messages(conversation).filter(sequence__in=sequences).in_order()
    return found.values_list("branch", "sequence", "role", Left("content", EXCERPT_CHARS))


def read_totals(conversation: Opened) -> dict[str, Any]:
    """The sums of the newest TOTALLED messages: `prompt_tokens`, `completion_tokens`,
    `cached_tokens`, `reasoning_tokens`, `total_cost` (None without any), `good` and `bad` ratings,
    the names of `models`, `first` and `last` time. One query."""
    newest = _messages(conversation).order_by("-sequence")[:TOTALLED]
    return newest.aggregate(
        prompt_tokens=Sum("prompt_tokens", default=0),
        completion_tokens=Sum("completion_tokens", default=0),
        cached_tokens=Sum("cached_tokens", default=0),
        reasoning_tokens=Sum("reasoning_tokens", default=0),
        total_cost=Sum("cost"),
        good=Sum(Case(When(rating=1, then=1), default=0), default=0),
        bad=Sum(Case(When(rating=-1, then=1), default=0), default=0),
        models=ArrayAgg("model", distinct=True, filter=~Q(model=""), default=Value([])),
        first=Min("created_at"),
        last=Max("created_at"),
    )


def first_since(conversation: Opened, branch: ShownBranch | None, moment: datetime) -> int | None:
    """The sequence of the first message at or after a moment; the last one's if there is none."""
    if branch is not None:
        return branch.first_since(moment)
    messages = _messages(conversation)
    later = messages.filter(created_at__gte=moment).in_order()
    found = later.values_list("sequence", flat=True).first()
    return messages.aggregate(last=Max("sequence"))["last"] if found is None else found


def _messages(conversation: Conversation) -> MessageQuerySet:
    return Message.objects.of(conversation.user_id, conversation.pk)


def _rows(conversation: Opened, messages: QuerySet[Message], texts: dict[str, Any]) -> list[Any]:
    """The messages with `texts` in place of the columns that they are made of, and beside them
    `size` (of the content in bytes, which PostgreSQL knows without reading it), `image_urls` and
    `staff_reviews` (oldest first). Two queries."""
    size = Func("content", function="octet_length", output_field=IntegerField())
    # A stored image is as long as it is; its beginning tells the format.
    image_urls = _image_urls(LONGEST_URL + 1)
    found: list[Any] = list(
        messages.defer(*_TEXTS, *_JSON).annotate(**texts, size=size, image_urls=image_urls)
    )
    reviews = Review.objects.filter(
        user_id=conversation.user_id,
        conversation=conversation,
        message_id__in=[message.id for message in found],
    )
    by_message: dict[uuid.UUID, list[Review]] = defaultdict(list)
    for review in reviews.order_by("created_at", "id"):
        by_message[review.message_id].append(review)
    for message in found:
        message.staff_reviews = by_message[message.id]
        stored = message.status
        if as_read(message).status != stored:  # an abandoned answer, whose error is then shown
            message.error_text = message.error
    return found


def _json_texts() -> Iterator[tuple[str, Any]]:
    """The JSON columns as text, and as `reasoning` the text of the parts that hold reasoning,
    which `parts` is then without, or else what `extra` has of it."""
    for name in _JSON:
        yield name, Cast(_OTHER_PARTS if name == "parts" else name, TextField())
    yield "reasoning", Coalesce(_REASONING, _REASONING_IN_EXTRA)


# The types of parts that hold reasoning, and the text of such a part: Anthropic's, else OpenAI's,
# of which the summary counts where the text is not there (as in formats/reasoning.py).
_IS_REASONING = "part ->> 'type' IN ('reasoning', 'thinking', 'redacted_thinking')"
_TEXTS_OF = (
    "(SELECT string_agg(item ->> 'text', E'\\n' ORDER BY at) FROM jsonb_path_query(part, "
    "'$.{}[*] ? (@.text != \"\")') WITH ORDINALITY AS items(item, at))"
)
_REASONING = Func(
    F("parts"),
    template=(
        "(SELECT string_agg(coalesce(part ->> 'thinking', "  # noqa: S608 (only constants)
        f"{_TEXTS_OF.format('content')}, {_TEXTS_OF.format('summary')}), "
        "E'\\n\\n' ORDER BY place) "
        "FROM jsonb_array_elements(%(expressions)s) WITH ORDINALITY AS list(part, place) "
        f"WHERE {_IS_REASONING})"
    ),
    output_field=TextField(),
)
# The keys of a message that hold it as text, at the places where `extra` keeps the message.
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_MESSAGES_IN_EXTRA = ("$", "$.choices[0].message", "$.data", "$.kwargs")
_REASONING_IN_EXTRA = Coalesce(
    *(
        Func(
            F("extra"),
            template=(
                f"(jsonb_path_query_first(%(expressions)s, '{message}{more}.{key} "
                """? (@.type() == "string" && @ != "")') #>> '{}')"""
            ),
            output_field=TextField(),
        )
        for message in _MESSAGES_IN_EXTRA
        for more in ("", ".additional_kwargs")
        for key in _REASONING_KEYS
    )
)
_OTHER_PARTS = Func(
    F("parts"),
    template=(
        "(SELECT jsonb_agg(part ORDER BY place) "  # noqa: S608 (only constants)
        "FROM jsonb_array_elements(%(expressions)s) WITH ORDINALITY AS list(part, place) "
        f"WHERE NOT coalesce({_IS_REASONING}, false))"
    ),
    output_field=JSONField(),
)


def _image_urls(characters: int) -> Func:
    """The URLs of the image parts, in order, each cut after so many characters. Reads the forms of
    OpenAI's Chat Completions (`image_url` with a `url`) and Responses (`input_image`)."""
    return Func(
        F("parts"),
        template=(
            "ARRAY(SELECT left(coalesce(part #>> '{image_url,url}', part ->> 'image_url', ''), "
            "%(characters)s) "
            "FROM jsonb_array_elements(%(expressions)s) WITH ORDINALITY AS list(part, place) "
            "WHERE part ->> 'type' IN ('image_url', 'input_image') ORDER BY place)"
        ),
        characters=characters,
        output_field=ArrayField(TextField()),
    )
