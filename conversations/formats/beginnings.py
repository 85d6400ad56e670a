"""The first values of a file, of which only the beginning is known.

A value that goes on after the beginning is read up to there: what it holds until then is enough to
tell its format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

VALUES = 20

# A string, one that goes on after the end, or a sign of JSON's structure.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|"(?:[^"\\]|\\.)*+\\?\Z|[][{},:]', re.DOTALL)
_PARTIAL_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CLOSING = {"{": "}", "[": "]"}
_SPACE = re.compile(r"[\s,]*")
_DEEPEST = 200

_decoder = json.JSONDecoder()


def first_values(beginning: bytes) -> list[dict[str, Any]]:
    """Up to VALUES objects: those of an array, of lines, or one; none for what is not JSON."""
    text = beginning.decode("utf-8-sig", errors="replace")
    at = _SPACE.match(text).end()  # type: ignore[union-attr]
    if text[at : at + 1] == "[":
        at += 1
    values: list[dict[str, Any]] = []
    for value in _values(text, at):
        values += [value] if isinstance(value, dict) else []
        if len(values) == VALUES:
            break
    return values


def _values(text: str, at: int) -> Iterator[Any]:
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] != "{":
            return
        try:
            value, at = _decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield _partial(text[at:])
            return
        yield value


def _partial(text: str) -> Any:
    """The value that a text begins with, as far as it goes; None for none."""
    ends: list[str] = []  # of what is open
    cut = 0, ""  # where the last complete part ends, and what closes the value there
    before = ""
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in _CLOSING and len(ends) < _DEEPEST:
            ends.append(_CLOSING[sign])
            cut = token.end(), "".join(ends)
        elif sign == "," and before != ",":
            cut = token.start(), "".join(ends)
        elif sign in ends[-1:]:
            ends.pop()
            cut = token.end(), "".join(ends)
        elif sign[0] == '"' and (before == ":" or ends[-1:] == ["]"]):
            end = token.end()
            if end == len(text) and not _is_whole(sign):
                text = _PARTIAL_ESCAPE.sub("", text) + '"'
                end = len(text)
            cut = end, "".join(ends)
        elif sign in "{[}]":
            break
        before = sign
    place, closing = cut
    try:
        return _decoder.decode(text[:place] + closing[::-1])
    except (ValueError, RecursionError):
        return None


def _is_whole(string: str) -> bool:
    try:
        json.loads(string)
    except ValueError:
        return False
    return True
