"""Search inside one conversation: which messages match, and links from one to the next."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from conversations.admin.conversation.opened import Opened
from conversations.admin.formatting import visible_html
from conversations.admin.transcript.branches import ShownBranch
from conversations.admin.transcript.navigation import FIND, HIT, TranscriptUrl
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
    """A message that matches. `branch` is the number of the branch that its URL leads to, where
    that is not the one that is shown."""

    sequence: int
    role: str
    snippet: SafeString
    url: str
    branch: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The result of a search, or why it was refused.

    `sequences`: those of the messages that match, and `total` how many there are, as text.
    `current`: the one that is looked at, and `number` its place among them, counted from 1.
    `pages`: the number of each page of matches, and its URL unless it is the one shown.
    `matches`: those of that page, on all branches.
    """

    text: str
    query: SearchQuery | None = None
    refusal: str = ""
    sequences: Sequence[int] = ()
    total: str = ""
    current: int | None = None
    number: int | None = None
    clear_url: str = ""
    previous_url: str | None = None
    next_url: str | None = None
    pages: Sequence[tuple[int, str | None]] = ()
    matches: Sequence[Match] = ()


def find_inside(
    url: TranscriptUrl, access: AccessContext, conversation: Opened, branch: ShownBranch | None
) -> Findings | None:
    """None where nothing is searched for. A search leaves an access record of its own."""
    if not (text := url.text(FIND)):
        return None
    try:
        check_query(text)
    except ServiceError as refusal:
        return Findings(text=text, refusal=refusal.detail)
    detail = {"query": text[:MAX_QUERY_CHARS]}
    owner_of(access, conversation.pk, action=AccessAction.SEARCH, detail=detail)
    scope = SearchScope(owner_id=conversation.user_id, conversation_id=conversation.pk)
    query = parse_query(text)
    sequences, bounded = matching_sequences(query, scope)
    current = url.sequence(HIT)
    number = sequences.index(current) + 1 if current in sequences else None
    last_page = max(1, -(-len(sequences) // A_PAGE))
    page = min(url.sequence("matches") or ((number or 1) - 1) // A_PAGE + 1, last_page)
    before, beyond = bisect_left(sequences, current or 0), bisect_right(sequences, current or 0)
    return Findings(
        text=text,
        query=query,
        sequences=sequences,
        total=f"{len(sequences):,}{'+' if bounded else ''}",
        current=current,
        number=number,
        clear_url=url.to(at=current, **{FIND: None}),
        previous_url=url.to(at=sequences[before - 1]) if before else None,
        next_url=url.to(at=sequences[beyond]) if beyond < len(sequences) else None,
        pages=[
            (other, None if other == page else url.to(matches=other, hit=current))
            for other in (range(1, last_page + 1) if last_page > 1 else ())
        ],
        matches=list(
            _matches(url, conversation, branch, query, sequences[(page - 1) * A_PAGE :][:A_PAGE])
        ),
    )


def _matches(
    url: TranscriptUrl,
    conversation: Opened,
    branch: ShownBranch | None,
    query: SearchQuery | None,
    sequences: Sequence[int],
) -> Iterator[Match]:
    """One query, one more for each message that matches beyond its first EXCERPT_CHARS, and one for
    those on other branches."""
    if query is None or not sequences:
        return
    rows = list(read_excerpts(conversation, sequences))
    elsewhere = (
        branch.elsewhere((number, sequence) for number, sequence, *_ in rows) if branch else {}
    )
    for number, sequence, role, beginning in rows:
        place = (conversation.user_id, conversation.pk, sequence)
        text = matching_excerpt(place, beginning, query, read=EXCERPT_CHARS)
        snippet = visible_html(snippet_of(text or beginning, query))
        on = elsewhere.get((number, sequence))
        yield Match(sequence, Role(role).label, snippet, url.to(at=sequence), on)
