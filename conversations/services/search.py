"""Searching messages and titles for somebody who may see them."""

from __future__ import annotations

from dataclasses import dataclass

from conversations.models.rows import Row
from conversations.models.search import (
    SearchScope,
    compile_query,
    parse_query,
    search_rows,
)
from conversations.services.errors import InvalidValue
from conversations.services.snippets import snippet_of
from conversations.services.values import check_text

MAX_QUERY_CHARS = 500
EMPTY_QUERY = "Give something to search for."
LONG_QUERY = f"Longer than {MAX_QUERY_CHARS} characters."

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
    `OR` separates alternatives; `check_query` first. Nothing but stop words finds nothing.
    """
    query = parse_query(text)
    compiled = compile_query(query, scope)
    if compiled is None:
        return []
    return [
        Hit(row, snippet_of(row["title"] if row["kind"] == "title" else row["content"], query))
        for row in search_rows(compiled, scope, at, limit)
    ]


def check_query(text: str) -> None:
    """InvalidValue unless the text can be searched for."""
    check_text("q", text)
    if len(text) > MAX_QUERY_CHARS:
        raise InvalidValue(LONG_QUERY, field="q", code="max_length")
    if not text.strip():
        raise InvalidValue(EMPTY_QUERY, field="q", code="blank")
