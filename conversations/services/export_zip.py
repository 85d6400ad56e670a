"""Exports of many files as one zip archive, sent as it is made.

Python's zipfile writes to a stream that cannot seek: the sizes of a file follow it. In memory are a
piece of the text, and about half a kilobyte for each file, for the directory at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.db.models import QuerySet

from conversations.models import AccessContext, Conversation
from conversations.services.export import export_conversations, export_files

PIECE_BYTES = 64 * 1024
EVERYTHING = "conversations.jsonl"

Files = Iterable[tuple[str, Iterator[str]]]


def export_own(
    *, conversations: QuerySet[Conversation], file_format: str, access: AccessContext
) -> Iterator[bytes]:
    """A zip of the caller's own conversations: all of them in EVERYTHING, and in a folder of the
    name of `file_format` each in a file. Raises InvalidValue."""
    owner_id = access.caller.user.pk if access.caller else None
    given: dict[str, Any] = {
        "conversations": conversations,
        "access": access,
        "owner_id": owner_id,
    }
    whole = export_conversations(file_format="jsonl", **given)
    files = export_files(file_format=file_format, branches="all", **given)
    each = ((f"{file_format}/{name}", text) for name, text in files)
    return zipped(chain([(EVERYTHING, whole)], each))


def zipped(files: Files) -> Iterator[bytes]:
    """The archive in pieces of about PIECE_BYTES."""
    output = _Output()
    with ZipFile(output, "w", ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for name, text in files:
            info = ZipInfo(name, time.gmtime()[:6])
            info.compress_type, info.external_attr = ZIP_DEFLATED, 0o600 << 16
            with archive.open(info, "w", force_zip64=True) as file:
                for piece in _cut(text):
                    file.write(piece)
                    if output.size >= PIECE_BYTES:
                        yield output.take()
    yield output.take()


def _cut(text: Iterator[str]) -> Iterator[bytes]:
    for piece in text:
        data = piece.encode()
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]


class _Output:
    """What ZipFile writes to."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = b"".join(self._pieces)
        self._pieces, self.size = [], 0
        return taken
