"""Compressed files as streams of their contents, bounded against bombs and with reasons for damage.

A stream that cannot be read on raises Unreadable, through the reader that reads it: what the reader
has yielded before stays, and a conversation that is not whole is never taken for a whole one.
"""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

DAMAGED = "Cannot be unpacked: {reason}."
TOO_LARGE = "Unpacked, the files are larger than {limit:,} bytes."
TOO_DENSE = "Unpacked, the file is more than {limit:,} times as large."
NOT_UTF16 = "Not UTF-16, as its first bytes say."

BUFFER_BYTES = 64 * 1024
GZIP_BEGINS = b"\x1f\x8b"
_UTF16_BEGINS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Any file may be unpacked to so many bytes.
_ANY_RATIO_BYTES = 16 * 1024 * 1024
DAMAGE = (
    *(EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    *(RuntimeError, NotImplementedError),  # encrypted; of a compression unknown here
)

_Source = IO[bytes] | io.BufferedIOBase


class Unreadable(Exception):
    """The rest of a file cannot be read; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Limits:
    """What compressed files may be unpacked to: bytes of all files of an import together, times
    the size of the compressed file, and files in one zip."""

    unpacked_bytes: int = 256 * 1024**3
    ratio: int = 250
    members: int = 50_000


class Budget:
    """What is left of the limits of an import."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._unpacked = 0

    def meter(self, packed: Callable[[], int]) -> Callable[[int], None]:
        """Counts the bytes that a file of `packed` bytes is unpacked to; raises Unreadable."""
        of_file = 0

        def count(size: int) -> None:
            nonlocal of_file
            of_file += size
            self._unpacked += size
            if self._unpacked > self.limits.unpacked_bytes:
                raise Unreadable(TOO_LARGE.format(limit=self.limits.unpacked_bytes))
            if of_file > _ANY_RATIO_BYTES and of_file > self.limits.ratio * packed():
                raise Unreadable(TOO_DENSE.format(limit=self.limits.ratio))

        return count


class Stream(io.BufferedReader):
    """What a reader gets. `path` is that of a file on disk, if it is read as it is there."""

    path: Path | None = None
    _refusal: Unreadable | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """What is there before damage is returned first."""
        left = -1 if size is None else size
        pieces: list[bytes] = []
        try:
            while left and (piece := self._read_some(left)):
                pieces.append(piece)
                left -= len(piece) if left > 0 else 0
        except Unreadable as error:
            if not pieces:
                raise
            self._refusal = error
        return b"".join(pieces)

    def _read_some(self, size: int) -> bytes:
        if self._refusal is not None:
            raise self._refusal
        return self.read1(size if size > 0 else BUFFER_BYTES)


def buffered(file: _Source) -> Stream:
    """What is not buffered yet. The file stays open."""
    return Stream(Counted(file), BUFFER_BYTES)


class _Raw(io.RawIOBase):
    """A stream that is made from another one by `_next`, which returns no bytes at the end.

    Remembers why it cannot be read on: some of what unpacks says so only once.
    """

    _refusal: Unreadable | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._refusal is not None:
            raise self._refusal
        try:
            data = self._next(len(buffer))
        except Unreadable as error:
            self._refusal = error
            raise
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        raise NotImplementedError


class Counted(_Raw):
    """The bytes of a file, and how many were read: `count`."""

    def __init__(self, file: _Source) -> None:
        self._file = file
        self.count = 0

    def _next(self, size: int) -> bytes:
        data = read_some(self._file, size)
        self.count += len(data)
        return data


class Unpacked(_Raw):
    """The bytes of a stream that unpacks a file; `count` is told of them."""

    def __init__(self, file: _Source, count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count

    def _next(self, size: int) -> bytes:
        try:
            data = read_some(self._file, size)
        except DAMAGE as error:
            raise damaged(error) from None
        self._count(len(data))
        return data


class Prefixed(_Raw):
    """A stream of which the first bytes were read already."""

    def __init__(self, beginning: bytes, rest: io.RawIOBase) -> None:
        self._left = beginning
        self._rest = rest

    def _next(self, size: int) -> bytes:
        if not self._left:
            return self._rest.read(size) or b""
        data, self._left = self._left[:size], self._left[size:]
        return data


class AsUtf8(_Raw):
    """A text in UTF-16, in UTF-8."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")()
        self._left = b""

    def _next(self, size: int) -> bytes:
        while not self._left and (data := self._file.read(size)):
            self._left = self._decoded(data)
        if not self._left:
            self._decoded(b"", final=True)
        data, self._left = self._left[:size], self._left[size:]
        return data

    def _decoded(self, data: bytes, *, final: bool = False) -> bytes:
        try:
            return self._decoder.decode(data, final).encode()
        except UnicodeError:
            raise Unreadable(NOT_UTF16) from None


def unpacked(raw: io.RawIOBase, meter: Callable[[int], None]) -> io.RawIOBase:
    """The stream, without gzip if it is compressed so, and in UTF-8 if it is a text in UTF-16."""
    beginning, raw = with_beginning(raw, len(GZIP_BEGINS))
    if beginning == GZIP_BEGINS:
        file = gzip.GzipFile(fileobj=io.BufferedReader(raw, BUFFER_BYTES))
        beginning, raw = with_beginning(Unpacked(file, meter), len(GZIP_BEGINS))
    return AsUtf8(raw) if beginning in _UTF16_BEGINS else raw


def with_beginning(raw: io.RawIOBase, size: int) -> tuple[bytes, Prefixed]:
    """The first bytes, up to `size`, and the whole stream again. Why there are no more is raised
    when the stream is read."""
    beginning = b""
    try:
        while len(beginning) < size and (more := raw.read(size - len(beginning))):
            beginning += more
    except Unreadable:
        pass
    return beginning, Prefixed(beginning, raw)


def read_some(file: _Source, size: int) -> bytes:
    """At least one byte, unless at the end; no more than can be read before damage is found."""
    read = getattr(file, "read1", file.read)
    data: bytes = read(size)
    return data


def damaged(error: BaseException) -> Unreadable:
    text = str(error).rstrip(".") or type(error).__name__
    return Unreadable(DAMAGED.format(reason=text[:1].lower() + text[1:]))
