"""Read the conversations of an import, of any of the known formats.

    files = Files(path_or_stream)                  # OSError for a wrong path
    for found in read_files(files, "auto"):        # Chat or Rejected
        …                                          # files.position of files.size bytes are read

Each Chat and Rejected says which `file` of a folder or zip it is of, and each Chat the name of its
`format`: its id may depend on it. What has two names in FORMATS (`jsonl`, `json`) gets one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

from conversations.formats.chat import Chat, Rejected
from conversations.formats.files import File, Files, Wanted, copied_to_disk
from conversations.formats.recognition import format_of, is_read_on_disk, values_of
from conversations.formats.registry import AS_EXPORTED, EXPORTED, FORMATS, Format
from conversations.formats.unpacking import Unreadable

AUTO = "auto"

MAX_MESSAGE_CHARS = 16 * 1024 * 1024
# One after the other; a bomb of small values would have millions.
MAX_REFUSED = 100_000

_NO_VALUES = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\]\s*")

NOTHING_READ = "None of the last {limit:,} can be read."
LONG_MESSAGE = "Longer than {limit:,} characters."
LOOKS_LIKE = "This looks like {label} (format {found}), not like {name}."
UNKNOWN_FORMAT = "Not recognised as one of the formats that can be read."
EMPTY = "The file is empty: its format cannot be recognised."
REST_NOT_READ = "The rest of the file is not read."


def read_files(files: Files, format_name: str) -> Iterator[Chat | Rejected]:
    """The conversations of these files, one after the other, in the format of this name in FORMATS,
    or each file in the one that it is recognised as: "auto". AS_EXPORTED: each has its `exported`.

    A file that is recognised as another format than the named one is rejected as a whole, and so is
    the rest of a file that cannot be read on. KeyError for an unknown name.
    """
    named = None if format_name == AUTO else _format_of(format_name)
    for file in files.open(named.wanted if named else _wanted_of_all()):
        if isinstance(file, Rejected):
            yield file
        else:
            yield from _read_file(file, named)


def _format_of(name: str) -> Format:
    return EXPORTED if name == AS_EXPORTED else FORMATS[name]


def _wanted_of_all() -> Wanted:
    wanted = [each.wanted for each in FORMATS.values()]
    endings = {ending for each in wanted for ending in each.endings}
    names = {name for each in wanted for name in each.names}
    return Wanted(names=tuple(sorted(names)), endings=tuple(sorted(endings)))


def _read_file(file: File, named: Format | None) -> Iterator[Chat | Rejected]:
    line = 0
    if _NO_VALUES.fullmatch(file.beginning):
        return  # an export without conversations, of whichever format
    try:
        with copied_to_disk(file) if is_read_on_disk(file) else nullcontext(file) as opened:
            format_ = _format_for(opened, named)
            if isinstance(format_, str):
                yield Rejected.at(1, None, format_, file=file.name)
                return
            refused = 0
            for found in format_.read(opened.stream):
                line = max(line, found.line)
                yield _placed(found, file.name, format_.name)
                refused = refused + 1 if isinstance(found, Rejected) else 0
                if refused == MAX_REFUSED:
                    raise Unreadable(NOTHING_READ.format(limit=MAX_REFUSED))
    except Unreadable as error:
        rest = f" {REST_NOT_READ}" if line else ""
        yield Rejected.at(line + 1, None, f"{error.detail}{rest}", file=file.name)


def _placed(found: Chat | Rejected, file: str, format_name: str) -> Chat | Rejected:
    if isinstance(found, Rejected):
        return replace(found, file=file)
    for index, message in enumerate(found.messages):
        if len(message.content) > MAX_MESSAGE_CHARS:
            reason = LONG_MESSAGE.format(limit=MAX_MESSAGE_CHARS)
            return Rejected.at(found.line, f"messages.{index}.content", reason, file=file)
    return replace(found, file=file, format=format_name)


def _format_for(file: File, named: Format | None) -> Format | str:
    """The format to read a file in, or why it is not read. Raises Unreadable."""
    values = values_of(file)
    if named and (not values or any(map(named.may_be, values))):
        return named
    found = format_of(values)
    if named and found:
        return LOOKS_LIKE.format(label=found.label, found=found.name, name=named.name)
    if not named and not file.beginning.strip():
        file.stream.peek()  # raises what is wrong with it, if so
        return EMPTY
    return named or found or UNKNOWN_FORMAT
