"""A stored message as the transcript shows it: its text laid out or cut, and what belongs to it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from django.utils.safestring import SafeString

from conversations.admin.formatting import seconds, visible_html
from conversations.admin.transcript.collapsible import (
    Collapsible,
    call_collapsibles,
    json_collapsible,
    result_collapsible,
    source_collapsible,
)
from conversations.admin.transcript.markdown import as_html, reads_as_markdown
from conversations.admin.transcript.queries import CUT_AT
from conversations.admin.transcript.tool_links import ToolLinks
from conversations.models import Message, Review, Role, Status
from conversations.selectors.search_sql import SearchQuery
from conversations.selectors.snippets import has_match

# Characters laid out as Markdown on one page, so that no page takes a second to make.
LAID_OUT_A_PAGE = 100_000

ICONS = {
    Role.USER: "person",
    Role.ASSISTANT: "smart_toy",
    Role.SYSTEM: "settings",
    Role.DEVELOPER: "code",
    Role.TOOL: "build",
}


@dataclass(slots=True)
class Budget:
    """How many characters may still be laid out; none for those who want them raw."""

    left: int = LAID_OUT_A_PAGE

    def takes(self, text: str) -> bool:
        if len(text) > self.left or not reads_as_markdown(text):
            return False
        self.left -= len(text)
        return True


@dataclass(frozen=True, slots=True)
class Card:
    """What the template of one message needs. `missing`: how many were deleted ahead of it;
    `joined`: it is a result of the call right above it.

    `html` is the text laid out, or None where it is shown as it stands. `own_review` is that of
    who looks at it, one of `reviews`.
    """

    message: Message
    icon: str
    text: str
    html: SafeString | None
    cut: bool
    error: str
    collapsibles: list[Collapsible]
    facts: list[str]
    size: int
    missing: int = 0
    joined: bool = False
    answers: int | None = None
    results: dict[str, int] = field(default_factory=dict)
    reviews: Sequence[Review] = ()
    own_review: Review | None = None

    @property
    def is_cut(self) -> bool:
        return self.cut or any(collapsible.cut for collapsible in self.collapsibles)

    @property
    def unfinished(self) -> bool:
        return self.message.status != Status.COMPLETE

    @property
    def linked_collapsibles(self) -> list[tuple[Collapsible, int | None]]:
        """Each collapsible, and the sequence of the message that holds its result."""
        return [
            (collapsible, self.results.get(collapsible.call) if collapsible.call else None)
            for collapsible in self.collapsibles
        ]


def cards_of(
    messages: list[Message],
    *,
    follows: int | None,
    links: ToolLinks,
    reviews: Mapping[uuid.UUID, Sequence[Review]],
    reviewer: int | None,
    raw: bool = False,
) -> list[Card]:
    """The cards of one page; `follows` is the sequence it begins after, where that is known."""
    start = messages[0].sequence - 1 if messages and follows is None else follows or 0
    sequences = [start, *(message.sequence for message in messages)]
    gaps = [after - before - 1 for before, after in pairwise(sequences)]
    budget = Budget(0 if raw else LAID_OUT_A_PAGE)
    return [
        card_of(
            message,
            budget,
            links=links,
            missing=gap,
            joined=not gap and links.calls.get(message.sequence) == call,
            reviews=reviews.get(message.id, ()),
            reviewer=reviewer,
        )
        for message, gap, call in zip(messages, gaps, _calls_above(messages), strict=True)
    ]


def _calls_above(messages: Iterable[Message]) -> Iterable[int]:
    """For each message the sequence of the last one above it that is no result of a tool."""
    above = 0
    for message in messages:
        yield above
        if message.role != Role.TOOL:
            above = message.sequence


def open_matches(cards: Iterable[Card], query: SearchQuery | None, *, hit: int | None) -> None:
    """Open what holds a match: results of tools, whose text is searched, on the whole page, and
    everything of the message that is looked at."""
    if query is None:
        return
    for card in cards:
        if card.message.role == Role.TOOL or card.message.sequence == hit:
            card.collapsibles[:] = [
                replace(one, open=any(has_match(text, query) for text in one.texts))
                for one in card.collapsibles
            ]


def card_of(
    message: Any,
    budget: Budget,
    *,
    links: ToolLinks | None = None,
    whole: bool = False,
    missing: int = 0,
    joined: bool = False,
    reviews: Sequence[Review] = (),
    reviewer: int | None = None,
) -> Card:
    """`message` comes from `reading`, its texts beside it; `whole` cuts nothing."""
    limit = None if whole else CUT_AT
    links = links or ToolLinks()
    content = message.content_text[:limit]
    result = message.role == Role.TOOL and bool(content) and not whole
    laid_out = not result and not whole and budget.takes(content)
    return Card(
        message=message,
        icon=ICONS[Role(message.role)],
        text="" if result else content,
        html=visible_html(as_html(content)) if laid_out else None,
        cut=len(content) < len(message.content_text),
        error=(message.error_text or "")[:limit],
        collapsibles=list(_collapsibles(message, content if result else "", limit)),
        facts=list(_facts(message)),
        size=message.size,
        missing=missing,
        joined=joined,
        answers=links.calls.get(message.sequence),
        results=links.results_of(message.sequence),
        reviews=reviews,
        own_review=next((one for one in reviews if one.reviewer_id == reviewer), None),
    )


def _collapsibles(message: Any, result: str, limit: int | None) -> Iterable[Collapsible]:
    if result:
        yield result_collapsible(result)
    yield from call_collapsibles(message.tool_calls_text, limit)
    if message.parts_text not in (None, "[]"):
        yield json_collapsible("Parts", message.parts_text, limit)
    yield from source_collapsible(message.sources_text, limit)
    if message.metadata_text not in (None, "{}"):
        yield json_collapsible("Metadata", message.metadata_text, limit)


def _facts(message: Message) -> Iterable[str]:
    """What is known of an answer's making."""
    if message.model:  # without one the provider is only the column's default
        yield f"{message.provider} {message.model}".strip()
    if message.prompt_tokens is not None:
        yield f"{message.prompt_tokens:,} tokens in"
    if message.completion_tokens is not None:
        yield f"{message.completion_tokens:,} tokens out"
    if message.first_token_ms is not None:
        yield f"first token {seconds(message.first_token_ms)}"
    if message.latency_ms is not None:
        yield f"duration {seconds(message.latency_ms)}"
    if message.finish_reason:
        yield f"finish reason {message.finish_reason}"
    if message.detected_mode:
        yield f"mode {message.detected_mode}"
