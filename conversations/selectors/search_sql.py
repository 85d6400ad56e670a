"""Full-text search over messages and titles: parse a query, compile it to tsqueries, run it.

Triggers maintain the tsvector columns (migration 0003): English stems and exact words without
accents, and bigrams of Chinese, Japanese and Korean characters.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from conversations.db.bulk_rows import Row
from conversations.db.owners import is_distributed
from conversations.db.replicas import read_connection
from conversations.models.access_context import AccessContext
from conversations.models.conversation import Conversation, is_user_of
from conversations.selectors.rare_words import are_rare

MAX_TERMS = 32
# Only the newest messages and titles that match are ranked, so many of each, so that the cost of
# a common word is bounded: the first number within one owner or conversation, the second over all.
MAX_RANKED, MAX_RANKED_OF_ALL = 10_000, 2_000
# The GIN index has no positions: a phrase is rechecked against the tsvectors of the newest this
# many messages that contain all of its words.
MAX_PHRASE_RECHECKS = 10_000
# Snippets are cut from the first this many characters of a message, where these match.
SNIPPET_SOURCE_CHARS = 100_000

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_cjk_run = re.compile(f"[{_CJK}]+")
_token = re.compile(r'(-?)"([^"]*)"?|(\S+)')
_marks = re.compile("[\u0300-\u036f]+")


@dataclass(frozen=True, slots=True)
class Term:
    """One word or "quoted phrase" of a query; `excluded` if a `-` precedes it."""

    text: str
    phrase: bool = False
    excluded: bool = False


# A disjunction (`OR`) of conjunctions of terms.
SearchQuery = tuple[tuple[Term, ...], ...]


@dataclass(frozen=True, slots=True)
class SearchScope:
    """The filters of a search: `owner_id` (None: all owners), and those below where not None.

    `visible_to` restricts a search over all owners to what this caller may read. `conversations`
    are those that are searched, `rating` is that of a message.
    """

    owner_id: int | None
    visible_to: AccessContext | None = None
    conversation_id: uuid.UUID | None = None
    role: str | None = None
    rating: int | None = None
    conversations: QuerySet[Conversation] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def included_terms(query: SearchQuery) -> list[Term]:
    """The terms that a match may contain: all but the excluded ones."""
    return [term for group in query for term in group if not term.excluded]


def fold(text: str) -> str:
    """Text without accents, in NFC; the same as the database function `conversations_fold`."""
    stripped = _marks.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", stripped)


def cjk_runs(text: str) -> list[str]:
    """The longest runs of Chinese, Japanese or Korean characters in a text."""
    return _cjk_run.findall(fold(text))


def parse_query(text: str) -> SearchQuery:
    """Parse words, "phrases", -exclusions and OR; at most MAX_TERMS of them."""
    groups: list[list[Term]] = [[]]
    for minus, quoted, word in _token.findall(text)[:MAX_TERMS]:
        if word == "OR":
            groups.append([])
        elif word:
            bare = word.removeprefix("-") if len(word) > 1 else word
            groups[-1].append(Term(bare, excluded=bare != word))
        elif quoted.strip():
            groups[-1].append(Term(quoted, phrase=True, excluded=bool(minus)))
    return tuple(tuple(group) for group in groups if group)


def compile_query(
    query: SearchQuery, scope: SearchScope, owners: Mapping[str, Sequence[int]] | None = None
) -> dict[str, str] | None:
    """The tsqueries that the search statements take as parameters; None for an empty query.

    `matched` finds rows within the scope; `ranked` is the query alone, for `ts_rank`; `likely` is
    `matched` with each phrase as its words in any order, which the index answers without a
    recheck. `likely` equals `matched` where the query has no phrase.

    `owners` maps the text of a term to ids of users with such a name; their conversations match
    the term too.
    """
    exact, values = _query_sql(query, owners or {})
    loose, loose_values = _query_sql(_without_phrases(query), owners or {})
    if not exact:
        return None
    filters = _scope_tsquery(scope)
    with read_connection().cursor() as cursor:
        cursor.execute(
            "SELECT numnode(terms), terms::text, (terms && %s::tsquery)::text, "  # noqa: S608
            f"(words && %s::tsquery)::text FROM (SELECT {exact} AS terms, {loose} AS words) query",
            [filters, filters, *values, *loose_values],
        )
        nodes, ranked, matched, likely = cursor.fetchone()
    return {"matched": matched, "ranked": ranked, "likely": likely} if nodes else None


def newest_first(tsqueries: Mapping[str, str], scope: SearchScope, *, limit: int) -> str:
    """The SQL by which at most `limit` messages that are `likely` are ordered: for common words by
    the index on created_at, for rare ones so that they are found by the GIN index, and sorted. One
    query, where messages of all owners are searched.
    """
    if _scope_tsquery(scope) or is_distributed():
        return "created_at"
    return "created_at + interval '0'" if are_rare(tsqueries["likely"], limit) else "created_at"


def has_phrase(tsqueries: Mapping[str, str]) -> bool:
    return tsqueries["likely"] != tsqueries["matched"]


def _without_phrases(query: SearchQuery) -> SearchQuery:
    """The query with its phrases as single words. Excluded phrases stay: excluding their words
    would exclude more."""
    return tuple(
        tuple(replace(term, phrase=term.phrase and term.excluded) for term in group)
        for group in query
    )


def _query_sql(
    query: SearchQuery, owners: Mapping[str, Sequence[int]]
) -> tuple[str, list[str | bool]]:
    """An SQL expression of type tsquery, and its parameters."""
    alternatives: list[str] = []
    values: list[str | bool] = []
    for group in query:
        parts = [_term_sql(term, owners.get(term.text, ())) for term in group]
        alternatives.append("(" + " && ".join(sql for sql, _ in parts) + ")")
        values += [value for _, given in parts for value in given]
    return " || ".join(alternatives), values


def search_rows(
    tsqueries: Mapping[str, str], scope: SearchScope, at: tuple[float, str] | None, limit: int
) -> list[Row]:
    """Matches, best first, after position `at` (rank and key of the last row seen).

    A row has kind ("message" or "title"), rank, key, conversation_id, created_at, title, username
    (the owner's) and, for a message (else None), message_id, sequence, role, and content: its
    first SNIPPET_SOURCE_CHARS characters.
    """
    values: dict[str, Any] = {
        **tsqueries,
        "max_rechecks": MAX_PHRASE_RECHECKS,
        "rank": at[0] if at else None,
        "key": at[1] if at else None,
        "limit": limit,
        "max_ranked": MAX_RANKED if _scope_tsquery(scope) else MAX_RANKED_OF_ALL,
        "snippet_source_chars": SNIPPET_SOURCE_CHARS,
        "owner": scope.owner_id,
        "role": scope.role,
        "rating": scope.rating,
        "after": scope.created_after,
        "before": scope.created_before,
    }
    most = MAX_PHRASE_RECHECKS if has_phrase(tsqueries) else MAX_RANKED_OF_ALL
    newest = newest_first(tsqueries, scope, limit=most)
    visible, visible_values = _visible(scope)
    among, among_values = _among(scope)
    with read_connection().cursor() as cursor:
        statement = _statement(tsqueries, scope, newest, visible, among, positioned=at is not None)
        cursor.execute(statement, values | visible_values | among_values)
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _visible(scope: SearchScope) -> tuple[str, dict[str, Any]]:
    """SQL that selects the ids of the owners whose conversations a trusted client may read, and its
    parameters; "" where there is no restriction beside `owner_id`."""
    access = scope.visible_to
    if access is None or access.caller is None or access.caller.reader:
        return "", {}
    caller = access.caller
    allowed = Q(pk=caller.user.pk)
    if caller.trusted:
        allowed |= is_user_of(caller.namespace)
    return _as_sql(User.objects.filter(allowed).values("pk"), "visible")


def _among(scope: SearchScope) -> tuple[str, dict[str, Any]]:
    """The same for the keys of the conversations that are searched; "" for all."""
    if scope.conversations is None:
        return "", {}
    return _as_sql(scope.conversations.values_list("user_id", "pk"), "among")


def _as_sql(queryset: QuerySet[Any, Any], prefix: str) -> tuple[str, dict[str, Any]]:
    """A subquery with named parameters that begin with `prefix`."""
    sql, parameters = queryset.order_by().query.sql_with_params()
    names = [f"{prefix}_{place}" for place in range(len(parameters))]
    placeholders = tuple(f"%({name})s" for name in names)
    return sql % placeholders, dict(zip(names, parameters, strict=True))


def _statement(
    tsqueries: Mapping[str, str],
    scope: SearchScope,
    newest: str,
    visible: str,
    among: str,
    *,
    positioned: bool,
) -> str:
    """Match by index, rank the newest matches, take one page, and read only that page's text."""
    bounds = {
        "owner": "" if scope.owner_id is None else "AND user_id = %(owner)s",
        "after": "AND created_at >= %(after)s" if scope.created_after else "",
        "before": "AND created_at < %(before)s" if scope.created_before else "",
        "visible": f"AND user_id IN ({visible})" if visible else "",
    }
    of = [
        "AND role = %(role)s" if scope.role else "",
        "AND rating = %(rating)s" if scope.rating else "",
        f"AND (user_id, conversation_id) IN ({among})" if among else "",
    ]
    matches = _PHRASES if has_phrase(tsqueries) else _WORDS
    titles = "" if scope.role or scope.rating else _TITLES
    among = f"AND (user_id, id) IN ({among})" if among else ""
    return _SEARCH.format(
        matches=matches.format(**bounds, of=" ".join(of), newest=newest),
        titles=titles.format(**bounds, among=among),
        of_owner="" if scope.owner_id is None else "AND conversation.user_id = %(owner)s",
        message_owner="conversation.user_id" if is_distributed() else "page.message_owner",
        position="WHERE (rank, key) < (%(rank)s, %(key)s)" if positioned else "",
    )


# {newest} is `newest_first`.
_WORDS = """
        SELECT user_id, conversation_id, sequence, id, created_at, search
        FROM conversations_message
        WHERE search @@ %(matched)s::tsquery {owner} {of} {after} {before} {visible}
        ORDER BY {newest} DESC LIMIT %(max_ranked)s
"""
_PHRASES = """
        SELECT * FROM (
            SELECT user_id, conversation_id, sequence, id, created_at, search
            FROM conversations_message
            WHERE search @@ %(likely)s::tsquery {owner} {of} {after} {before} {visible}
            ORDER BY {newest} DESC LIMIT %(max_rechecks)s
        ) likely
        WHERE search @@ %(matched)s::tsquery LIMIT %(max_ranked)s
"""
# A title has twice the rank of a message.
_TITLES = """
    UNION ALL
    SELECT 'title', 2 * ts_rank(search, %(ranked)s::tsquery)::float8, id::text, user_id, id, NULL,
        NULL, NULL, NULL, created_at
    FROM (
        SELECT user_id, id, created_at, search FROM conversations_conversation
        WHERE search @@ %(matched)s::tsquery {owner} {among} {after} {before} {visible}
        ORDER BY created_at DESC LIMIT %(max_ranked)s
    ) titles
"""
# Rows of the page are found by their whole keys. Where the planner may take a part of a key from
# another table (the owner from users, both from conversations), it does, and reads all of the
# owner's conversations or messages: it does not know that these columns depend on each other. So
# users are a subquery, and a message's owner and conversation are columns of their own. Only a
# cluster has to be told that both tables are joined by the owner.
_SEARCH = """
    WITH matches AS MATERIALIZED (
        {matches}
    ), hits AS (
        SELECT 'message' AS kind, ts_rank(search, %(ranked)s::tsquery)::float8 AS rank,
            id::text AS key, user_id, conversation_id, id AS message_id, user_id AS message_owner,
            conversation_id AS message_conversation, sequence, created_at
        FROM matches
        {titles}
    ), page AS (
        SELECT * FROM hits {position} ORDER BY rank DESC, key DESC LIMIT %(limit)s
    )
    SELECT page.kind, page.rank, page.key, page.user_id, page.conversation_id, page.created_at,
        conversation.title,
        (SELECT username FROM auth_user WHERE auth_user.id = page.user_id) AS username,
        page.message_id, page.sequence,
        message.role, left(message.content, %(snippet_source_chars)s) AS content
    FROM page
    JOIN conversations_conversation conversation
        ON conversation.user_id = page.user_id AND conversation.id = page.conversation_id {of_owner}
    LEFT JOIN conversations_message message ON message.user_id = {message_owner}
        AND message.conversation_id = page.message_conversation AND message.sequence = page.sequence
    ORDER BY page.rank DESC, page.key DESC
"""


def _scope_tsquery(scope: SearchScope) -> str:
    """A tsquery of the lexemes that every tsvector has for its owner and conversation."""
    entries = []
    if scope.owner_id is not None:
        entries.append(f"'owner={scope.owner_id}'")
    if scope.conversation_id is not None:
        entries.append(f"'conversation={scope.conversation_id}'")
    return " & ".join(entries)


def _term_sql(term: Term, owners: Sequence[int] = ()) -> tuple[str, list[str | bool]]:
    """SQL for one term and its parameters: words by a database function, CJK text by bigrams."""
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
