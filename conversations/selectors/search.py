"""Searching messages and titles for somebody who may see them."""

from __future__ import annotations

from dataclasses import dataclass

from conversations.db.bulk_rows import Row
from conversations.selectors.search_sql import (
    SearchScope,
    compile_query,
    parse_query,
    search_rows,
)
from conversations.selectors.snippets import snippet_of

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
        Hit(row, snippet_of(row["title"] if row["kind"] == "title" else row["content"], query))
        for row in search_rows(compiled, scope, at, limit)
    ]
