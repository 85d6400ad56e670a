"""Look for traces of a person in every column of every table, by the catalogue of the database.

So a table that is added later, of this application or of another one, is looked at too. Each table
is read once. What is looked for is a sample where a person has much: some of their conversations
and messages, and word for word some of what they wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection, transaction
from psycopg2 import sql
from psycopg2.errors import QueryCanceled

from conversations.models import ApiToken, Conversation, Message
from conversations.models.user_names import NAMESPACE_SEPARATOR, namespace_of

# Ids that are looked for, of each kind, and excerpts of messages.
IDS, EXCERPTS = 50, 20
# A shorter name is only looked for as the whole value of a column.
MIN_NAME_CHARS = 3
# Four to seven words of one line, without characters that JSON escapes. Between blanks: part of a
# word or number, as of "2.5" or "fünf", is no word of the index, by which others' are looked at.
_EXCERPT = re.compile(r"(?<!\S)\w+(?: \w+){3,6}(?=[.,;:!?]?(?:\s|$))", re.ASCII)
_MIN_EXCERPT_CHARS = 20
# Kinds of traces.
NAME, ACCOUNT, IDENTIFIER, TOKEN, WORDS = "name", "account id", "id", "token", "words"


@dataclass(slots=True)
class Traces:
    """What is looked for. `account` is the id of the user's row; None where that is not known."""

    names: list[str]
    account: int | None = None
    ids: list[str] = field(default_factory=list)
    external_ids: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    excerpts: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return {
            NAME: len(self.names),
            ACCOUNT: int(self.account is not None),
            IDENTIFIER: len(self.ids) + len(self.external_ids),
            TOKEN: len(self.tokens),
            WORDS: len(self.excerpts),
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """Rows of a table with a trace of this kind in this column."""

    table: str
    column: str
    kind: str
    rows: int


@dataclass(slots=True)
class Search:
    """What was read, and what was found. `unread` are tables that would have taken too long."""

    tables: int = 0
    columns: int = 0
    rows: int = 0
    hits: list[Hit] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def traces_of(user: User) -> Traces:
    """Of a user who is about to be erased."""
    conversations = Conversation.objects.owned_by(user.pk)
    ids = [*_ends(conversations, "pk"), *_ends(_messages(user), "id")]
    external = conversations.exclude(external_id=None).values_list("external_id", flat=True)
    tokens = ApiToken.objects.filter(user=user).values_list("key", "digest")[:IDS]
    return Traces(
        names=names_of(user),
        account=user.pk,
        ids=list(dict.fromkeys(map(str, ids))),
        external_ids=[text for text in external[:IDS] if text and len(text) >= MIN_NAME_CHARS],
        tokens=[text for pair in tokens for text in pair],
        excerpts=_excerpts(user),
    )


def names_of(user: User) -> list[str]:
    """The username, with and without its namespace, the e-mail address and the full name.

    Without names that another account has too, or that are too short to mean a person.
    """
    name = user.username.partition(NAMESPACE_SEPARATOR)[2]
    bare = name if namespace_of(user.username) and not name.isdigit() else ""
    given = [user.username, bare, user.email, user.get_full_name()]
    others = User.objects.exclude(pk=user.pk)
    shared = set(others.filter(username__in=given).values_list("username", flat=True))
    shared |= set(others.filter(email__in=given).values_list("email", flat=True))
    kept = [text for text in given if text and text not in shared]
    return list(
        dict.fromkeys(text for text in kept if text == user.username or len(text) >= MIN_NAME_CHARS)
    )


def written_forms(name: str) -> list[str]:
    """A name as it is, as it stands in JSON, and in an address."""
    return list(dict.fromkeys([name, json.dumps(name, ensure_ascii=False)[1:-1], quote(name)]))


def _messages(user: User) -> Any:
    return Message.objects.filter(user_id=user.pk)


def _ends(rows: Any, column: str) -> list[Any]:
    """The first and the last."""
    found = rows.values_list(column, flat=True)
    half = IDS // 2
    return [*found.order_by("created_at")[:half], *found.order_by("-created_at")[:half]]


def _excerpts(user: User) -> list[str]:
    """Words of messages, one after the other, that are in nobody else's messages and titles."""
    found: list[str] = []
    texts = _messages(user).order_by("-created_at").values_list("content", flat=True)
    for text in texts[: 5 * EXCERPTS]:
        excerpt = max(_EXCERPT.findall(text[:10_000]), key=len, default="")
        if len(excerpt) >= _MIN_EXCERPT_CHARS and not _said_by_others(user, excerpt):
            found.append(excerpt)
        if len(found) == EXCERPTS:
            break
    return found


def _said_by_others(user: User, excerpt: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM conversations_message WHERE search @@"
            " (phraseto_tsquery('simple', %s) && !! %s::tsquery)) OR EXISTS (SELECT FROM"
            " conversations_conversation WHERE search @@ phraseto_tsquery('simple', %s)"
            " AND user_id <> %s)",
            [excerpt, f"'owner={user.pk}'", excerpt, user.pk],
        )
        return bool(cursor.fetchone()[0])


_COLUMNS = """
SELECT pg_class.relname, attname, format_type(atttypid, NULL), typcategory, EXISTS (
    SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = pg_class.oid
        AND confrelid = 'auth_user'::regclass AND conkey = ARRAY[attnum])
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_type ON pg_type.oid = atttypid
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
    AND NOT relispartition AND attnum > 0 AND NOT attisdropped
ORDER BY relname, attnum
"""
_OF_AN_ACCOUNT = re.compile(r"(?:^|_)(?:user|owner|staff|author|reviewer|account|created_by)_id$")
_NUMBERS = {"integer", "bigint", "smallint"}


def search_everywhere(traces: Traces, *, seconds: float | None = None) -> Search:
    """Read every table of the schema; those that take longer than `seconds` are left out."""
    found = Search()
    for table, columns in _tables():
        tests = [test for column in columns for test in _tests(table, traces, *column)]
        if tests:
            _read(found, table, tests, seconds)
    found.hits += _hits_in_sessions(traces)
    return found


def _tables() -> Iterator[tuple[str, list[tuple[str, str, str, bool]]]]:
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS)
        rows = cursor.fetchall()
    tables: dict[str, list[tuple[str, str, str, bool]]] = {}
    for table, *column in rows:
        tables.setdefault(table, []).append(tuple(column))
    yield from tables.items()


@dataclass(frozen=True, slots=True)
class _Test:
    column: str
    kind: str
    condition: sql.Composable


def _tests(
    table: str, traces: Traces, column: str, type_: str, category: str, refers: bool
) -> Iterator[_Test]:
    """What a column of this type is compared with; nothing for times, truth values and sizes."""
    name = sql.Identifier(column)
    if type_ in _NUMBERS:
        is_account = refers or _OF_AN_ACCOUNT.search(column) or (table, column) == _USERS
        if traces.account is not None and is_account:
            yield _Test(column, ACCOUNT, _sql("{} = {}", name, traces.account))
    elif type_ == "uuid":
        if traces.ids:
            ids = _sql("{} = ANY ({}::uuid[])", name, traces.ids)
            yield _Test(column, IDENTIFIER, ids)
    elif type_ == "tsvector":
        yield from _tests_of_vector(traces, column, name)
    elif category in {"S", "A"} or type_ in {"json", "jsonb", "xml", "inet", "bytea"}:
        yield from _tests_of_text(traces, column, name)


_USERS = ("auth_user", "id")


def _tests_of_text(traces: Traces, column: str, name: sql.Identifier) -> Iterator[_Test]:
    long = [
        re.escape(form)
        for text in traces.names
        if len(text) >= MIN_NAME_CHARS
        for form in written_forms(text)
    ]
    short = [text for text in traces.names if len(text) < MIN_NAME_CHARS]
    text = sql.SQL("{}::text").format(name)
    if long:
        pattern = f"(?<![[:alnum:]_])(?:{'|'.join(long)})(?![[:alnum:]_])"
        yield _Test(column, NAME, _sql("{} ~* {}", text, pattern))
    if short:
        yield _Test(column, NAME, _sql("{} = ANY ({})", text, short))
    for kind, texts in [
        (IDENTIFIER, [*traces.ids, *traces.external_ids]),
        (TOKEN, traces.tokens),
        (WORDS, traces.excerpts),
    ]:
        if texts:
            likes = [f"%{_unlike(one)}%" for one in texts]
            yield _Test(column, kind, _sql("{} LIKE ANY ({})", text, likes))


def _unlike(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _tests_of_vector(traces: Traces, column: str, name: sql.Identifier) -> Iterator[_Test]:
    lexemes = [f"'conversation={id_}'" for id_ in traces.ids]
    if lexemes:
        ids = _sql("{} @@ {}::tsquery", name, " | ".join(lexemes))
        yield _Test(column, IDENTIFIER, ids)
    if traces.account is not None:
        owner = _sql("{} @@ {}::tsquery", name, f"'owner={traces.account}'")
        yield _Test(column, ACCOUNT, owner)
    if traces.excerpts:
        phrases = sql.SQL(" OR ").join(
            _sql("{} @@ phraseto_tsquery('simple', {})", name, text) for text in traces.excerpts
        )
        yield _Test(column, WORDS, phrases)


def _sql(text: str, name: sql.Composable, value: Any) -> sql.Composable:
    return sql.SQL(text).format(name, sql.Literal(value))


def _read(found: Search, table: str, tests: Sequence[_Test], seconds: float | None) -> None:
    counts = sql.SQL(", ").join(
        sql.SQL("count(*) FILTER (WHERE {})").format(test.condition) for test in tests
    )
    statement = sql.SQL("SELECT count(*), {} FROM {}").format(counts, sql.Identifier(table))
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            limit = round((seconds or 0) * 1000)
            cursor.execute(f"SET LOCAL statement_timeout = {limit}")
            cursor.execute(statement.as_string(cursor.cursor))
            rows, *hits = cursor.fetchone()
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        found.unread.append(table)
        return
    found.tables += 1
    found.rows += rows
    found.columns += len({test.column for test in tests})
    found.hits += [
        Hit(table, test.column, test.kind, count)
        for test, count in zip(tests, hits, strict=True)
        if count
    ]


def _hits_in_sessions(traces: Traces) -> list[Hit]:
    """Their data is packed and signed, so that the database cannot look into it."""
    if traces.account is None:
        return []
    count = len(sessions_of(traces.account))
    return [Hit(Session._meta.db_table, "session_data", ACCOUNT, count)] if count else []


def sessions_of(account: int) -> list[str]:
    """The keys of the sessions in which this user is logged in."""
    return [
        session.session_key
        for session in Session.objects.iterator(chunk_size=1_000)
        if session.get_decoded().get("_auth_user_id") == str(account)
    ]
