"""JSON Lines: read a file with one JSON object per line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.chat import Malformed, Rejected

# With the conversation that is made of it, it has to fit into 300 MB.
MAX_LINE_BYTES = 20 * 1024 * 1024

LONG_LINE = "The line is longer than {limit:,} bytes."
NOT_UTF8 = "Not UTF-8 at byte {position:,}."
NOT_JSON = "Not JSON: {reason} at character {position:,}."
UNREADABLE_NUMBER = "Not JSON: a number with too many digits."
TOO_DEEP = "Nested too deeply."
NOT_AN_OBJECT = "Not an object."
REPEATED_NAME = "An object has the name {name!r} more than once."

_BOM = b"\xef\xbb\xbf"
_SKIP_BYTES = 1024 * 1024


def not_json(error: json.JSONDecodeError, begin: int = 0) -> str:
    """What is wrong, and where: from 1 on, in the value that begins at `begin` of the text."""
    reason = error.msg.removesuffix(" at")  # as some of Python's messages end
    return NOT_JSON.format(reason=reason, position=error.pos - begin + 1)


def read_lines(
    file: BinaryIO, *, max_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes] | Rejected]:
    """Yield (line number from 1, line) for each line that is not blank.

    A line longer than `max_bytes` yields a Rejected, without being read into memory.
    """
    number = 0
    while line := file.readline(max_bytes + 1):
        number += 1
        if len(line) > max_bytes and not line.endswith(b"\n"):
            _skip_rest_of_line(file)
            yield Rejected(number, LONG_LINE.format(limit=max_bytes))
            continue
        if number == 1:
            line = line.removeprefix(_BOM)
        if line and not line.isspace():
            yield number, line


def parse_object(line: bytes) -> dict[str, Any]:
    """Parse a line as a JSON object. Raises Malformed.

    Accepts NaN, Infinity and lone surrogates, which the validators of the services reject with
    their path.
    """
    try:
        value = json.loads(line.decode(), object_pairs_hook=unique_names)
    except UnicodeDecodeError as error:
        raise Malformed(None, NOT_UTF8.format(position=error.start + 1)) from None
    except json.JSONDecodeError as error:
        raise Malformed(None, not_json(error)) from None
    except ValueError:  # Python's limit on the digits of an integer
        raise Malformed(None, UNREADABLE_NUMBER) from None
    except RecursionError:
        raise Malformed(None, TOO_DEEP) from None
    if not isinstance(value, dict):
        raise Malformed(None, NOT_AN_OBJECT)
    return value


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict; Malformed for a repeated name, of which json.loads would keep only the last value."""
    value = dict(pairs)
    if len(value) < len(pairs):
        ((name, _times),) = Counter(name for name, _ in pairs).most_common(1)
        raise Malformed(None, REPEATED_NAME.format(name=name))
    return value


def _skip_rest_of_line(file: BinaryIO) -> None:
    while (rest := file.readline(_SKIP_BYTES)) and not rest.endswith(b"\n"):
        pass
