"""JSON arrays, and values one after the other: read a file one value at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from conversations.formats.chat import Malformed, Rejected
from conversations.formats.lines import TOO_DEEP, UNREADABLE_NUMBER, not_json, unique_names

# With the conversation that is made of it, it has to fit into 300 MB.
MAX_VALUE_BYTES = 20 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024

NOT_AN_ARRAY = "Not a JSON array."
NOT_UTF8 = "Not UTF-8."
CUT_OFF = "The file ends before the end of the array."
LONG_VALUE = "Longer than {limit:,} bytes."
NO_COMMA = "No comma after the value before."
REST_NOT_READ = "The rest of the file is not read."

_BLANKS = re.compile(r"[ \t\r\n]*")


def read_array(file: IO[bytes]) -> Iterator[tuple[int, Any] | Rejected]:
    """Yield (place, value) for each value of the array of a file, counted from 1.

    Holds one value, of at most MAX_VALUE_BYTES. What is not JSON ends the file with a Rejected.
    """
    return _read(_Text(file), is_array=True)


def read_values(file: IO[bytes]) -> Iterator[tuple[int, Any] | Rejected]:
    """The same of a file that has an array or values one after the other, as in JSON Lines. A file
    with one object has one value."""
    return _read(_Text(file), is_array=False)


def _read(text: _Text, *, is_array: bool) -> Iterator[tuple[int, Any] | Rejected]:
    place = 1
    try:
        if is_array or text.next_character() == "[":
            text.expect("[", NOT_AN_ARRAY)
            while text.next_character() != "]":
                if place > 1:
                    text.expect(",", NO_COMMA)
                yield text.value(place)
                place += 1
            return
        while text.has_more():
            yield text.value(place)
            place += 1
    except Malformed as error:
        yield Rejected.at(place, None, f"{error.detail} {REST_NOT_READ}")


class _Text:
    """The part of a file from `at` on that is held in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._parser = json.JSONDecoder(object_pairs_hook=self._object)
        self._refusal: Malformed | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0

    def has_more(self) -> bool:
        """Whether anything but blanks is left."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._text):
                return True
            if not self._read_on():
                return False

    def next_character(self) -> str:
        """The next one that is not blank. Raises Malformed at the end of the file."""
        if not self.has_more():
            raise Malformed(None, CUT_OFF)
        return self._text[self._at]

    def expect(self, character: str, otherwise: str) -> None:
        if self.next_character() != character:
            raise Malformed(None, otherwise)
        self._at += 1

    def value(self, place: int) -> tuple[int, Any] | Rejected:
        """The next value; Rejected for a repeated name in it. Malformed: no JSON."""
        self.next_character()
        size = len(self._text) - self._at  # about: the rest of what was read in one piece
        while True:
            self._refusal, begin = None, self._at
            try:
                value, self._at = self._parser.raw_decode(self._text, begin)
            except json.JSONDecodeError as error:
                if size > MAX_VALUE_BYTES:
                    raise Malformed(None, self._why_not(error, begin)) from None
                if not (more := self._read_on(MAX_VALUE_BYTES + CHUNK_BYTES - size)):
                    raise Malformed(None, not_json(error, begin)) from None
                size += more
            except ValueError:  # Python's limit on the digits of an integer
                raise Malformed(None, UNREADABLE_NUMBER) from None
            except RecursionError:
                raise Malformed(None, TOO_DEEP) from None
            else:
                refusal = self._refusal
                return Rejected.at(place, None, refusal.detail) if refusal else (place, value)

    def _why_not(self, error: json.JSONDecodeError, begin: int) -> str:
        """Of a value of which MAX_VALUE_BYTES were read: whether it goes on, or is no JSON."""
        goes_on = error.pos == len(self._text) or error.msg.startswith("Unterminated string")
        return LONG_VALUE.format(limit=MAX_VALUE_BYTES) if goes_on else not_json(error, begin)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Goes on after a repeated name, to find the end of the value."""
        try:
            return unique_names(pairs)
        except Malformed as error:
            self._refusal = error
            return {}

    def _read_on(self, most: int = CHUNK_BYTES) -> int:
        """Read as much again as is held, so that a long value is parsed few times, and about `most`
        bytes at most; how many were read, 0 at the end of the file."""
        data = self._file.read(min(max(CHUNK_BYTES, len(self._text) - self._at), most))
        try:
            more = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError:
            raise Malformed(None, NOT_UTF8) from None
        self._text = self._text[self._at :] + more
        self._at = 0
        return len(data)
