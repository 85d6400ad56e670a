"""Full-text search over messages and titles: how a query is read, and the statement for it.

The vectors are kept by the database (migration 0003): English stems and exact words, folded
accents, pairs of characters for Chinese, Japanese and Korean.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from conversations.db.bulk_rows import Row
from conversations.models.access_context import AccessContext
from conversations.models.conversation import Conversation

MAX_TERMS = 32
# Of more matches the newest this many are ranked, so that a common word costs no more: in what one
# owner or conversation has, and in everybody's.
RANKED, RANKED_OF_ALL = 10_000, 2_000
# The index knows which words a message has, not where they stand: whether they make the phrase
# is looked up in the newest this many messages that have all words of a quoted phrase.
PHRASE_LOOKS = 10_000
# As much of a message as is read to cut a snippet from.
SNIPPET_SOURCE_CHARS = 100_000

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_cjk_run = re.compile(f"[{_CJK}]+")
_token = re.compile(r'(-?)"([^"]*)"?|(\S+)')
_marks = re.compile("[\u0300-\u036f]+")


@dataclass(frozen=True, slots=True)
class Term:
    """One word or "quoted phrase" of a query; `-` before it excludes what has it."""

    text: str
    phrase: bool = False
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """Groups of which one must match (`OR`); a group matches with all of its terms."""

    groups: tuple[tuple[Term, ...], ...]

    @property
    def wanted(self) -> list[Term]:
        return [term for group in self.groups for term in group if not term.excluded]


@dataclass(frozen=True, slots=True)
class SearchScope:
    """Where to search: one owner's or (None) everybody's, and what else must hold.

    `visible_to`: of everybody's, only what this caller may see; None where staff search.
    """

    owner_id: int | None
    visible_to: AccessContext | None = None
    conversation_id: uuid.UUID | None = None
    role: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A query as tsqueries: `matched` finds, `ranked` weighs (without the scope's narrowing).

    `likely` is `matched` with each wanted phrase as its words in any order: what the index can
    tell by itself. Both are equal where no phrase is asked for.
    """

    matched: str
    ranked: str
    likely: str

    @property
    def has_phrase(self) -> bool:
        return self.likely != self.matched


def fold(text: str) -> str:
    """Text without its accents, composed; as `conversations_fold` has it."""
    stripped = _marks.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", stripped)


def cjk_runs(text: str) -> list[str]:
    """The pieces of a text that are Chinese, Japanese or Korean."""
    return _cjk_run.findall(fold(text))


def parse_query(text: str) -> SearchQuery:
    """Read words, "phrases", -exclusions and OR, as search boxes take them."""
    groups: list[list[Term]] = [[]]
    for minus, quoted, word in _token.findall(text)[:MAX_TERMS]:
        if word == "OR":
            groups.append([])
        elif word:
            bare = word.removeprefix("-") if len(word) > 1 else word
            groups[-1].append(Term(bare, excluded=bare != word))
        elif quoted.strip():
            groups[-1].append(Term(quoted, phrase=True, excluded=bool(minus)))
    return SearchQuery(tuple(tuple(group) for group in groups if group))


def compile_query(
    query: SearchQuery, scope: SearchScope, owners: Mapping[str, Sequence[int]] | None = None
) -> CompiledQuery | None:
    """None when nothing is asked for.

    `owners` gives for a term's text the users whose name it may be: their chats match it too.
    """
    exact, values = _query_sql(query, owners or {})
    loose, loose_values = _query_sql(_words_of(query), owners or {})
    if not exact:
        return None
    narrowing = _narrowing(scope)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT numnode(terms), terms::text, (terms && %s::tsquery)::text, "  # noqa: S608
            f"(words && %s::tsquery)::text FROM (SELECT {exact} AS terms, {loose} AS words) asked",
            [narrowing, narrowing, *values, *loose_values],
        )
        nodes, ranked, matched, likely = cursor.fetchone()
    return CompiledQuery(matched, ranked, likely) if nodes else None


def _words_of(query: SearchQuery) -> SearchQuery:
    """The query with its phrases as mere words; an excluded phrase stays, or too much would go."""
    return SearchQuery(
        tuple(
            tuple(replace(term, phrase=term.phrase and term.excluded) for term in group)
            for group in query.groups
        )
    )


def _query_sql(
    query: SearchQuery, owners: Mapping[str, Sequence[int]]
) -> tuple[str, list[str | bool]]:
    """SQL for all groups and its values."""
    alternatives: list[str] = []
    values: list[str | bool] = []
    for group in query.groups:
        parts = [_term_sql(term, owners.get(term.text, ())) for term in group]
        alternatives.append("(" + " && ".join(sql for sql, _ in parts) + ")")
        values += [value for _, given in parts for value in given]
    return " || ".join(alternatives), values


def search_rows(
    compiled: CompiledQuery, scope: SearchScope, at: tuple[float, str] | None, limit: int
) -> list[Row]:
    """Matches, best first, beyond position `at` (rank and key of the last one seen).

    A row has rank, key, kind ("message" or "title"), the conversation's id, title and owner's name
    and, for a message, its id, sequence, role, created_at and the beginning of its content.
    """
    values: dict[str, Any] = {
        "matched": compiled.matched,
        "likely": compiled.likely,
        "looks": PHRASE_LOOKS,
        "ranked": compiled.ranked,
        "rank": at[0] if at else None,
        "key": at[1] if at else None,
        "limit": limit,
        "most": RANKED if _narrowing(scope) else RANKED_OF_ALL,
        "source": SNIPPET_SOURCE_CHARS,
        "role": scope.role,
        "after": scope.created_after,
        "before": scope.created_before,
    }
    visible, visible_values = _visible(scope)
    with connection.cursor() as cursor:
        statement = _statement(compiled, scope, visible, positioned=at is not None)
        cursor.execute(statement, values | visible_values)
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _visible(scope: SearchScope) -> tuple[str, dict[str, Any]]:
    """SQL for the ids of the conversations that may be searched, and its values; "" for all."""
    access = scope.visible_to
    if access is None or access.caller is None or access.caller.reader:
        return "", {}
    allowed = Conversation.objects.visible_to(access).order_by().values("pk")
    sql, parameters = allowed.query.sql_with_params()
    names = [f"visible_{place}" for place in range(len(parameters))]
    placeholders = tuple(f"%({name})s" for name in names)
    return sql % placeholders, dict(zip(names, parameters, strict=True))


def _statement(
    compiled: CompiledQuery, scope: SearchScope, visible: str, *, positioned: bool
) -> str:
    """Match by index, rank the newest, cut a page, and read only that page's text."""
    bounds = {
        "after": "AND created_at >= %(after)s" if scope.created_after else "",
        "before": "AND created_at < %(before)s" if scope.created_before else "",
        "visible": f"AND {{column}} IN ({visible})" if visible else "",
    }
    in_messages = bounds | {"visible": bounds["visible"].format(column="conversation_id")}
    in_titles = bounds | {"visible": bounds["visible"].format(column="id")}
    matches = _PHRASES if compiled.has_phrase else _WORDS
    return _SEARCH.format(
        matches=matches.format(**in_messages, role="AND role = %(role)s" if scope.role else ""),
        titles="" if scope.role else _TITLES.format(**in_titles),
        position="WHERE (rank, key) < (%(rank)s, %(key)s)" if positioned else "",
    )


# Ordered and cut by age, so that the planner may walk the index of ages for common words and the
# index of words for rare ones: neither reads the table.
_WORDS = """
        SELECT id, conversation_id, created_at, search FROM conversations_message
        WHERE search @@ %(matched)s::tsquery {role} {after} {before} {visible}
        ORDER BY created_at DESC LIMIT %(most)s
"""
_PHRASES = """
        SELECT * FROM (
            SELECT id, conversation_id, created_at, search FROM conversations_message
            WHERE search @@ %(likely)s::tsquery {role} {after} {before} {visible}
            ORDER BY created_at DESC LIMIT %(looks)s
        ) likely
        WHERE search @@ %(matched)s::tsquery LIMIT %(most)s
"""
# Titles weigh double. The text of messages is joined to the page alone.
_TITLES = """
    UNION ALL
    SELECT 'title', 2 * ts_rank(search, %(ranked)s::tsquery)::float8, id::text, id, NULL, created_at
    FROM conversations_conversation
    WHERE search @@ %(matched)s::tsquery {after} {before} {visible}
"""
_SEARCH = """
    WITH matches AS MATERIALIZED (
        {matches}
    ), hits (kind, rank, key, conversation_id, message_id, created_at) AS (
        SELECT 'message', ts_rank(search, %(ranked)s::tsquery)::float8, id::text,
            conversation_id, id, created_at
        FROM matches
        {titles}
    ), page AS (
        SELECT * FROM hits {position} ORDER BY rank DESC, key DESC LIMIT %(limit)s
    )
    SELECT page.kind, page.rank, page.key, page.conversation_id, page.created_at,
        conversation.title, owner.username, page.message_id, message.sequence,
        message.role, left(message.content, %(source)s) AS content
    FROM page
    JOIN conversations_conversation conversation ON conversation.id = page.conversation_id
    JOIN auth_user owner ON owner.id = conversation.user_id
    LEFT JOIN conversations_message message
        ON message.conversation_id = page.conversation_id AND message.id = page.message_id
    ORDER BY page.rank DESC, page.key DESC
"""


def _narrowing(scope: SearchScope) -> str:
    """The entries of the vector that keep a search within one owner or conversation."""
    entries = []
    if scope.owner_id is not None:
        entries.append(f"'owner={scope.owner_id}'")
    if scope.conversation_id is not None:
        entries.append(f"'conversation={scope.conversation_id}'")
    return " & ".join(entries)


def _term_sql(term: Term, owners: Sequence[int] = ()) -> tuple[str, list[str | bool]]:
    """SQL for one term and its values: words by the database's functions, CJK by pairs."""
    folded = fold(term.text)
    parts: list[str] = []
    values: list[str | bool] = []
    for run in _cjk_run.findall(folded):
        if len(run) == 1:
            parts.append("to_tsquery('pg_catalog.simple', %s)")
            values.append(f"'{run}':*")
        else:
            parts.append("plainto_tsquery('pg_catalog.simple', %s)")
            values.append(" ".join(run[i : i + 2] for i in range(len(run) - 1)))
    words = _cjk_run.sub(" ", folded)
    if words.strip():
        parts.append("conversations_search_term(%s, %s)")
        values += [words, term.phrase]
    sql = " && ".join(parts) or "''::tsquery"
    if owners:
        sql = f"({sql}) || %s::tsquery"
        values.append(" | ".join(f"'owner={owner}'" for owner in owners))
    return (f"!!({sql})" if term.excluded else f"({sql})"), values
