"""Full-text search over all conversations of a scope, and inside one conversation."""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from conversations.db.bulk_rows import Row
from conversations.db.replicas import read_connection
from conversations.models import Conversation
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

# At most this many matches of one conversation are found.
MAX_IN_CONVERSATION = 1_000
_IN_CONVERSATION = """
    SELECT sequence FROM conversations_message
    WHERE user_id = %s AND conversation_id = %s AND search @@ %s::tsquery
    ORDER BY sequence LIMIT %s
"""

_ALL_MATCHES = """
    SELECT conversation_id FROM conversations_message WHERE search @@ %s::tsquery
    UNION SELECT id FROM conversations_conversation WHERE search @@ %s::tsquery
"""

Position = tuple[float, str]


def search_conversations(
    *, text: str, scope: SearchScope, limit: int, at: Position | None = None
) -> list[Row]:
    """At most `limit` matches, best first, after the position (rank, key) `at`.

    The rows of `search_rows`, each with `snippet` (safe HTML). Words match by their English stem
    or exactly, "phrases" in order; `-word` excludes, `OR` separates alternatives. A query of only
    stop words has no matches. `text` must have passed `services.validators.check_query`.
    """
    query = parse_query(text)
    tsqueries = compile_query(query, scope)
    if tsqueries is None:
        return []
    rows = search_rows(tsqueries, scope, at, limit)
    return [row | {"snippet": snippet_of(_snippet_source(row, query), query)} for row in rows]


def _snippet_source(row: Row, query: SearchQuery) -> str:
    if row["kind"] == "title":
        return str(row["title"])
    beginning: str = row["content"]
    place = (row["user_id"], row["conversation_id"], row["sequence"])
    found = matching_excerpt(place, beginning, query, read=SNIPPET_SOURCE_CHARS)
    return found or beginning


def matching_sequences(query: SearchQuery, scope: SearchScope) -> tuple[list[int], bool]:
    """The sequences of the matching messages of one conversation of one owner, in order, and
    whether there are more than the MAX_IN_CONVERSATION returned. Two SQL queries."""
    tsqueries = compile_query(query, scope)
    if tsqueries is None:
        return [], False
    limit = MAX_IN_CONVERSATION
    with read_connection().cursor() as cursor:
        values = [scope.owner_id, scope.conversation_id, tsqueries["matched"], limit + 1]
        cursor.execute(_IN_CONVERSATION, values)
        sequences = [sequence for (sequence,) in cursor.fetchall()]
    return sequences[:limit], len(sequences) > limit


def conversations_matching(
    conversations: QuerySet[Conversation], text: str
) -> QuerySet[Conversation]:
    """Those of which the title or a message matches, all of them, however many there are."""
    tsqueries = compile_query(parse_query(text), SearchScope(owner_id=None))
    if tsqueries is None:
        return conversations.none()
    found = RawSQL(_ALL_MATCHES, [tsqueries["matched"]] * 2)  # noqa: S611 (no text is put into it)
    return conversations.filter(pk__in=found)
