"""Objects of a file in any of the usual forms: JSON Lines, an array, objects over several lines, or
rows in parquet.

JSON Lines are read line by line, so that a line that is not JSON costs no other. What begins with a
bracket is an array; what begins with an object over several lines is read as values one after the
other.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO

from conversations.formats.arrays import read_values
from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.files import on_disk
from conversations.formats.lines import NOT_AN_OBJECT, parse_object, read_lines
from conversations.formats.parquet import PARQUET_BEGINS, read_rows
from conversations.formats.unpacking import buffered

# The first line of an object over several lines, and what the next one begins with.
_GOES_ON = re.compile(rb'\{(?:[^\n]*[{,])?[ \t\r]*\n\s*"|\{[^\n]*\[[ \t\r]*\n')

_Object = dict[str, Any]


def read_objects(file: BinaryIO) -> Iterator[tuple[int, _Object] | Rejected]:
    """Yield (place, object): the number of its line, or its place in the array, from 1.
    Raises Unreadable."""
    stream = file if isinstance(file, io.BufferedReader) else buffered(file)
    beginning = stream.peek().removeprefix(codecs.BOM_UTF8).lstrip()
    if beginning.startswith(PARQUET_BEGINS):
        yield from _rows(stream)
    elif beginning.startswith(b"[") or _GOES_ON.match(beginning):
        yield from only_objects(read_values(stream))
    else:
        yield from _lines(stream)


def read_chats(
    file: BinaryIO, chat_of: Callable[[int, _Object], Chat]
) -> Iterator[Chat | Rejected]:
    """A conversation of each object. `chat_of` raises Malformed."""
    return chats_of(read_objects(file), chat_of)


def chats_of(
    objects: Iterator[tuple[int, _Object] | Rejected], chat_of: Callable[[int, _Object], Chat]
) -> Iterator[Chat | Rejected]:
    """The same of objects that were found in another way."""
    for found in objects:
        if isinstance(found, Rejected):
            yield found
            continue
        try:
            yield chat_of(*found)
        except Malformed as error:
            yield Rejected.at(found[0], error.field, error.detail)


def _rows(file: BinaryIO) -> Iterator[tuple[int, _Object] | Rejected]:
    with on_disk(file) as path:
        yield from read_rows(path)


def add_lines(
    file: BinaryIO, add: Callable[[int, _Object], None]
) -> Generator[Rejected, None, bool]:
    """Call `add` with the number and the object of each line, and yield the lines that are refused;
    at the end, whether there were any. `add` raises Malformed."""
    is_empty = True
    for found in _lines(file):
        is_empty = False
        if isinstance(found, Rejected):
            yield found
            continue
        try:
            add(*found)
        except Malformed as error:
            yield Rejected.at(found[0], error.field, error.detail)
    return not is_empty


def only_objects(
    values: Iterator[tuple[int, Any] | Rejected],
) -> Iterator[tuple[int, _Object] | Rejected]:
    """Rejects the other values."""
    for found in values:
        if isinstance(found, Rejected) or isinstance(found[1], dict):
            yield found
        else:
            yield Rejected(found[0], NOT_AN_OBJECT)


def _lines(file: BinaryIO) -> Iterator[tuple[int, _Object] | Rejected]:
    for line in read_lines(file):
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            yield line[0], parse_object(line[1])
        except Malformed as error:
            yield Rejected.at(line[0], error.field, error.detail)
