"""Searching messages and titles for somebody who may see them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from conversations.db.bulk_rows import Row
from conversations.selectors.excerpts import matching_excerpt
from conversations.selectors.search_sql import (
    SNIPPET_SOURCE_CHARS,
    SearchQuery,
    SearchScope,
    compile_query,
    parse_query,
    search_rows,
)
from conversations.selectors.snippets import snippet_of

# Of more matches in one conversation the first this many are counted and led through.
MOST_INSIDE = 1_000
_INSIDE = """
    SELECT sequence FROM conversations_message
    WHERE conversation_id = %s AND search @@ %s::tsquery ORDER BY sequence LIMIT %s
"""

Position = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Hit:
    """A match: a row of `search_rows` and the snippet (safe HTML) that shows it."""

    row: Row
    snippet: str


def search_conversations(
    *, text: str, scope: SearchScope, limit: int, at: Position | None = None
) -> list[Hit]:
    """At most `limit` matches, best first, after the position (rank, key) `at`.

    Words are found stemmed as English and as they stand, "phrases" in order, `-word` excludes,
    `OR` separates alternatives; `services.validators.check_query` first. Nothing but stop words
    finds nothing.
    """
    query = parse_query(text)
    compiled = compile_query(query, scope)
    if compiled is None:
        return []
    return [
        Hit(row, snippet_of(_excerpt(row, query), query))
        for row in search_rows(compiled, scope, at, limit)
    ]


def _excerpt(row: Row, query: SearchQuery) -> str:
    if row["kind"] == "title":
        return str(row["title"])
    beginning: str = row["content"]
    found = matching_excerpt(
        row["conversation_id"], row["sequence"], beginning, query, read=SNIPPET_SOURCE_CHARS
    )
    return found or beginning


@dataclass(frozen=True, slots=True)
class HitsInside:
    """The messages of one conversation that match, by sequence; `bounded`: there are more."""

    query: SearchQuery
    sequences: list[int]
    bounded: bool


def hits_inside(*, text: str, scope: SearchScope) -> HitsInside:
    """All that match within `scope.conversation_id`, in order, at most MOST_INSIDE. Two queries."""
    query = parse_query(text)
    compiled = compile_query(query, scope)
    if compiled is None:
        return HitsInside(query, [], bounded=False)
    with connection.cursor() as cursor:
        cursor.execute(_INSIDE, [scope.conversation_id, compiled.matched, MOST_INSIDE + 1])
        sequences = [sequence for (sequence,) in cursor.fetchall()]
    return HitsInside(query, sequences[:MOST_INSIDE], bounded=len(sequences) > MOST_INSIDE)
