"""Searching inside one conversation: which messages match, and the way from one to the next."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from django.http import HttpRequest
from django.utils.safestring import SafeString

from conversations.admin.conversation.opened import Opened
from conversations.admin.formatting import visible_html
from conversations.admin.transcript.navigation import FIND, HIT, Place
from conversations.admin.transcript.queries import EXCERPT_CHARS, read_excerpts
from conversations.models import AccessAction, AccessContext, Role
from conversations.selectors.excerpts import matching_excerpt
from conversations.selectors.search import matching_sequences
from conversations.selectors.search_sql import SearchQuery, SearchScope, parse_query
from conversations.selectors.snippets import snippet_of
from conversations.services import ServiceError, owner_of
from conversations.services.validators import MAX_QUERY_CHARS, check_query

A_PAGE = 50


@dataclass(frozen=True, slots=True)
class Match:
    """One message that matches."""

    sequence: int
    role: str
    snippet: SafeString
    url: str


@dataclass(frozen=True)
class Findings:
    """What was looked for, and the sequences of the messages that match, or why none.

    `current` is the sequence of the one that is looked at; `matches` a page of them.
    """

    text: str
    place: Place
    query: SearchQuery | None = None
    sequences: tuple[int, ...] = ()
    bounded: bool = False
    current: int | None = None
    matches: tuple[Match, ...] = ()
    refusal: str = ""

    @property
    def total(self) -> str:
        return f"{len(self.sequences):,}{'+' if self.bounded else ''}"

    @property
    def number(self) -> int | None:
        """Which of them is looked at, counted from 1."""
        if self.current not in self.sequences:
            return None
        return self.sequences.index(self.current) + 1

    @property
    def clear_url(self) -> str:
        """The same place without the search."""
        return self.place.url(at=self.current, **{FIND: None})

    @cached_property
    def previous_url(self) -> str | None:
        before = bisect_left(self.sequences, self.current or 0)
        return self._url(before - 1) if before else None

    @cached_property
    def next_url(self) -> str | None:
        beyond = bisect_right(self.sequences, self.current or 0)
        return self._url(beyond) if beyond < len(self.sequences) else None

    @cached_property
    def pages(self) -> list[tuple[int, str | None]]:
        """The number of each page of matches, and its URL unless it is this one."""
        if len(self.sequences) <= A_PAGE:
            return []
        shown = self._page_shown
        return [
            (number, None if number == shown else self.place.url(matches=number, hit=self.current))
            for number in range(1, -(-len(self.sequences) // A_PAGE) + 1)
        ]

    @property
    def page_sequences(self) -> tuple[int, ...]:
        start = (self._page_shown - 1) * A_PAGE
        return self.sequences[start : start + A_PAGE]

    @property
    def _page_shown(self) -> int:
        """The page that was asked for, or else that of the current match."""
        last = max(1, -(-len(self.sequences) // A_PAGE))
        number = (self.number or 1) - 1
        return min(self.place.sequence("matches") or number // A_PAGE + 1, last)

    def _url(self, place: int) -> str:
        return self.place.url(at=self.sequences[place])


def find_inside(
    request: HttpRequest, access: AccessContext, conversation: Opened
) -> Findings | None:
    """None when nothing is asked for. A look into others' chats leaves its record."""
    place = Place(request)
    if not (text := place.text(FIND)):
        return None
    try:
        check_query(text)
    except ServiceError as refusal:
        return Findings(text, place, refusal=refusal.detail)
    detail = {"query": text[:MAX_QUERY_CHARS]}
    owner_of(access, conversation.pk, action=AccessAction.SEARCH, detail=detail)
    scope = SearchScope(owner_id=conversation.user_id, conversation_id=conversation.pk)
    query = parse_query(text)
    sequences, bounded = matching_sequences(query, scope)
    findings = Findings(text, place, query, tuple(sequences), bounded, place.sequence(HIT))
    return replace(findings, matches=tuple(_matches(findings, conversation)))


def _matches(findings: Findings, conversation: Opened) -> Iterable[Match]:
    """Those of the page shown, each with its snippet. One query."""
    if findings.query is None or not findings.sequences:
        return
    for sequence, role, beginning in read_excerpts(conversation, findings.page_sequences):
        text = matching_excerpt(
            conversation.pk, sequence, beginning, findings.query, read=EXCERPT_CHARS
        )
        yield Match(
            sequence=sequence,
            role=Role(role).label,
            snippet=visible_html(snippet_of(text or beginning, findings.query)),
            url=findings.place.url(at=sequence),
        )
