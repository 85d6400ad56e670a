"""Databases beside Django's on the same server: a scratch one, and what two of them have in
common."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from django.core.management.base import CommandError
from django.db import connection
from psycopg2 import sql

from conversations.management.arguments import USAGE_ERROR

# Rows of each table whose contents are compared, those with the highest keys.
NEWEST_ROWS = 1_000

DIFFERENT = "{table}: {theirs} instead of {ours}"
NO_SCRATCH = (
    "The scratch database cannot be made: {reason} To compare, the role needs CREATEDB: "
    'ALTER ROLE "{role}" CREATEDB.'
)


@dataclass(frozen=True, slots=True)
class TableState:
    """The number of rows, and a digest of the newest."""

    rows: int
    newest: str

    def __str__(self) -> str:
        return f"{self.rows:,} rows ({self.newest[:8]})"


State = dict[str, TableState]


@contextmanager
def scratch_database(prefix: str) -> Iterator[str]:
    """An empty database with the encoding and the locale of Django's, which is dropped at the end
    of the block if it still has this name.

    Raises CommandError.
    """
    name = f"{prefix}_{uuid.uuid4().hex[:12]}"
    try:
        on_server(_creation(name))
    except psycopg2.Error as error:
        reason, role = str(error).strip(), connection.settings_dict["USER"]
        text = NO_SCRATCH.format(reason=reason, role=role)
        raise CommandError(text, returncode=USAGE_ERROR) from error
    try:
        yield name
    finally:
        drop_database(name)


def _creation(name: str) -> sql.Composable:
    """From template0, as pg_dump leaves out what that has."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCALE)
        encoding, collate, ctype, provider, locale = cursor.fetchone()
    options = {"ENCODING": encoding, "LC_COLLATE": collate, "LC_CTYPE": ctype}
    options |= {"LOCALE_PROVIDER": provider}
    if provider != "libc":
        options[f"{provider.upper()}_LOCALE"] = locale
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(
        sql.Identifier(name),
        sql.SQL(" ").join(
            sql.SQL(f"{option} {{}}").format(sql.Literal(value))
            for option, value in options.items()
        ),
    )


def drop_database(name: str) -> None:
    on_server(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def on_server(*statements: sql.Composable) -> None:
    """Run these on the server, outside of all its databases of ours; more than one in one
    transaction. Raises psycopg2.Error."""
    with closing(connect("postgres")) as raw:
        raw.autocommit = len(statements) == 1
        with raw.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        if not raw.autocommit:
            raw.commit()


def connect(database: str) -> Any:
    """psycopg2's connection to another database of the server, which runs. Raises
    psycopg2.Error."""
    return psycopg2.connect(**(connection.get_connection_params() | {"dbname": database}))


def state_of(cursor: Any) -> State:
    """Of all tables of the current schema, as the transaction of this cursor sees them."""
    found = {}
    for table, key in tables_of(cursor).items():
        names = sql.SQL(", ").join(map(sql.Identifier, key))
        newest = sql.SQL(_NEWEST if key else _COUNT_ALONE).format(
            table=sql.Identifier(table),
            descending=sql.SQL(", ").join(
                sql.SQL("{} DESC").format(sql.Identifier(name)) for name in key
            ),
            names=names,
            limit=sql.Literal(NEWEST_ROWS),
        )
        cursor.execute(newest)
        found[table] = TableState(*cursor.fetchone())
    return found


def tables_of(cursor: Any) -> dict[str, list[str]]:
    """The columns of their primary keys, by the names of the tables of the current schema."""
    cursor.execute(_TABLES)
    return dict(cursor.fetchall())


def state_of_database(name: str) -> State:
    with closing(connect(name)) as raw, raw.cursor() as cursor:
        return state_of(cursor)


def differences(ours: State, theirs: State) -> list[str]:
    return [
        DIFFERENT.format(table=table, ours=ours.get(table), theirs=theirs.get(table))
        for table in sorted(ours.keys() | theirs.keys())
        if ours.get(table) != theirs.get(table)
    ]


# The name of `datlocale` before PostgreSQL 17 was `daticulocale`.
_LOCALE = """
    SELECT pg_encoding_to_char(encoding), datcollate, datctype,
        CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
        coalesce(to_jsonb(ours) ->> 'datlocale', to_jsonb(ours) ->> 'daticulocale')
    FROM pg_database ours WHERE datname = current_database()
"""
_TABLES = """
    SELECT table_.relname, coalesce((
        SELECT array_agg(attname::text ORDER BY place)
        FROM unnest(index.indkey::int2[]) WITH ORDINALITY AS key(number, place)
        JOIN pg_attribute ON attrelid = table_.oid AND attnum = number
    ), '{}')
    FROM pg_class table_
    LEFT JOIN pg_index index ON index.indrelid = table_.oid AND index.indisprimary
    WHERE table_.relkind IN ('r', 'p') AND table_.relnamespace = current_schema()::regnamespace
        AND NOT table_.relispartition
    ORDER BY 1
"""
_NEWEST = """
    SELECT (SELECT count(*) FROM {table}), (
        SELECT coalesce(md5(string_agg(row_, E'\n' ORDER BY {names})), '')
        FROM (SELECT newest::text AS row_, {names} FROM {table} AS newest
            ORDER BY {descending} LIMIT {limit}) found
    )
"""
_COUNT_ALONE = "SELECT count(*), '' FROM {table}"


def database_name() -> str:
    return str(connection.settings_dict["NAME"])
