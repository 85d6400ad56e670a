"""Databases of SQLite as files to read: opened read-only, whatever is in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from conversations.formats.lines import MAX_LINE_BYTES
from conversations.formats.unpacking import Unreadable

SQLITE_BEGINS = b"SQLite format 3\x00"

NOT_A_DATABASE = "Not a database of SQLite that can be read: {reason}."

# The format of a database says in these two bytes that it has a write-ahead log.
_WAL_AT = slice(18, 20)


@contextmanager
def opened_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Rows are read by name; a value is at most MAX_LINE_BYTES. Raises Unreadable, also for what
    goes wrong in the context."""
    try:
        connection = sqlite3.connect(_uri(path), uri=True)
        try:
            connection.row_factory = sqlite3.Row
            connection.text_factory = _text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_LINE_BYTES)
            connection.execute("PRAGMA trusted_schema = OFF")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unreadable(NOT_A_DATABASE.format(reason=error)) from None


def table_names(path: Path) -> list[str]:
    with opened_database(path) as connection:
        return tables_of(connection)


def tables_of(connection: sqlite3.Connection) -> list[str]:
    """Without views, which could be anything."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [row["name"] for row in rows]


def _uri(path: Path) -> str:
    """A database whose log is empty can be read in a folder that nobody may write to."""
    with path.open("rb") as file:
        has_log = file.read(_WAL_AT.stop)[_WAL_AT] == b"\x02\x02"
    log = path.with_name(f"{path.name}-wal")
    is_still = has_log and not (log.exists() and log.stat().st_size)
    return f"file:{quote(str(path.absolute()))}?mode=ro" + ("&immutable=1" if is_still else "")


def _text(value: bytes) -> str:
    """Bytes that are not UTF-8 become lone surrogates, which validators name."""
    return value.decode(errors="surrogateescape")
