"""Which format a file has, by its first values, or by the tables of a database.

A predicate of a format (`Format.looks_like`) gets one value: an object of the file. For a database
of SQLite it is `{"sqlite": [names of tables]}`, for HTML `{"html": its beginning}`.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from conversations.formats.beginnings import VALUES, first_values
from conversations.formats.files import File, on_disk
from conversations.formats.parquet import PARQUET_BEGINS, read_rows
from conversations.formats.registry import FORMATS, Format
from conversations.formats.sqlite import SQLITE_BEGINS, opened_database

_Object = dict[str, Any]


def is_read_on_disk(file: File) -> bool:
    """Whether it is read by a library that needs to go back and forth in it."""
    return file.beginning.startswith((SQLITE_BEGINS, PARQUET_BEGINS))


def values_of(file: File) -> list[_Object]:
    """What predicates are asked about. Raises Unreadable."""
    if file.beginning.startswith(SQLITE_BEGINS):
        with on_disk(file.stream) as path, opened_database(path) as database:
            return [{"sqlite": database.tables}]
    if file.beginning.startswith(PARQUET_BEGINS):
        with on_disk(file.stream) as path:
            return [row for _, row in islice(read_rows(path), VALUES)]
    if file.beginning[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return [{"html": file.beginning.decode(errors="replace")}]
    return first_values(file.beginning)


def format_of(values: list[_Object]) -> Format | None:
    """The first one in the order of FORMATS that the first of these values is of, else the next."""
    for value in values:
        for each in FORMATS.values():
            if each.looks_like(value):
                return each
    return None
