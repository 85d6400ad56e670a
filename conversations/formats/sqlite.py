"""Databases of SQLite as files to read: opened read-only, whatever is in them."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.lines import MAX_LINE_BYTES
from conversations.formats.unpacking import Unreadable

SQLITE_BEGINS = b"SQLite format 3\x00"

LARGE_VALUE = "A value is longer than {limit:,} bytes."
NOT_ITS_TYPE = "A column has no value, or one of another type."
NOT_A_DATABASE = "Not a database of SQLite that can be read: {reason}."

Row = dict[str, Any]

# The format of a database says in these two bytes that it has a write-ahead log.
_WAL_AT = slice(18, 20)


class Database:
    """Rows come as dicts without nulls, so that a column that an older release of an application
    has not is like one without a value. A value is at most MAX_LINE_BYTES."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[str, dict[Any, list[Any]]] = {}
        # Without views, which could be anything.
        query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        self.tables: list[str] = [row["name"] for row in self.rows(query)]

    def rows(self, query: str, *values: object) -> list[Row]:
        found = self._connection.execute(query, values)
        return [
            {name: row[name] for name in row.keys() if row[name] is not None}  # noqa: SIM118
            for row in found
        ]

    def row(self, query: str, *values: object) -> Row:
        """The first one; {} for none."""
        return next(iter(self.rows(query, *values)), {})

    def ids_by(self, table: str, key: str, id_: str, *, order: str) -> dict[Any, list[Any]]:
        """The values of the column `id_` by those of `key`, in order: an index that the database
        may not have. {} without such a table."""
        if table not in self.tables:
            return {}
        query = f'SELECT {key} AS key, {id_} AS id FROM "{table}" ORDER BY {order}'  # noqa: S608
        if query not in self._ids:
            found: dict[Any, list[Any]] = defaultdict(list)
            for row in self.rows(query):
                found[row.get("key")].append(row.get("id"))
            self._ids[query] = dict(found)
        return self._ids[query]


@contextmanager
def opened_database(path: Path) -> Iterator[Database]:
    """Raises Unreadable, also for what goes wrong in the context."""
    try:
        connection = sqlite3.connect(_uri(path), uri=True)
        try:
            connection.row_factory = sqlite3.Row
            connection.text_factory = _text
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_LINE_BYTES)
            connection.execute("PRAGMA trusted_schema = OFF")
            yield Database(connection)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # a message may quote what is damaged
        raise Unreadable(NOT_A_DATABASE.format(reason=error)) from None


def chat_or_rejected(
    read: Callable[..., Chat], database: Database, place: int, *which: object
) -> Chat | Rejected:
    """What `read` makes of a conversation; Rejected for one that is malformed, has too large a
    value or none that fits: SQLite does not check the types of values."""
    try:
        return read(database, place, *which)
    except Malformed as error:
        return Rejected.at(place, error.field, error.detail)
    except sqlite3.DataError:
        return Rejected(place, LARGE_VALUE.format(limit=MAX_LINE_BYTES))
    except (TypeError, KeyError, AttributeError):
        return Rejected(place, NOT_ITS_TYPE)


def from_json(value: object) -> Any:
    """Of a text in JSON the value, else the text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


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
