"""The files of an import: one file, those of a folder or a zip, or a stream, unpacked.

    files = Files(path_or_stream)
    for found in files.open(wanted):        # File(name, beginning, stream), or Rejected
        …                                   # files.position of files.size bytes are read

gzip and zip are known by their first bytes, not by their names. Of a folder or a zip those files
are opened that a format is read from (`Wanted`), in order of their names; symbolic links in a
folder are not followed. Everything is read as a stream, but a zip or a database that does not come
from a file on disk: it is copied to a temporary one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import BinaryIO, NamedTuple, TypeVar
from zipfile import ZipFile, ZipInfo

from conversations.formats.chat import Rejected, printable
from conversations.formats.unpacking import (
    BUFFER_BYTES,
    GZIP_BEGINS,
    Budget,
    Counted,
    Limits,
    Stream,
    Unpacked,
    Unreadable,
    buffered,
    unpacked,
    with_beginning,
)
from conversations.formats.zips import ZIP_BEGINS, opened_member, opened_zip

NO_FILES = "No file here has a name that this format is read from: {names}."
ZIP_IN_ZIP = "A zip in a zip is not opened: unpack it first."
CANNOT_OPEN = "Cannot be opened: {reason}."

BEGINNING_BYTES = 256 * 1024

_Item = TypeVar("_Item")


class Wanted(NamedTuple):
    """Which files of a folder or a zip are read, by their names in lower case without `.gz`: in
    each folder those that match one of `names`, if there are some, else those with one of these
    `endings`."""

    endings: tuple[str, ...]
    names: tuple[str, ...] = ()

    def has_name(self, name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in self.names)


class File(NamedTuple):
    """`name` is its path in the folder or zip, or "" for a file that is read alone. `beginning` are
    its first bytes, up to BEGINNING_BYTES, which `stream` has too."""

    name: str
    beginning: bytes
    stream: Stream


class _Entry(NamedTuple):
    """A file of a folder."""

    name: str
    size: int


class Files:
    """What is at a path, or in a binary stream. Raises OSError for a path that cannot be read.

    `size` is the number of bytes on disk, or None for a pipe; `position` is how many of them are
    read. Can be opened once.
    """

    def __init__(
        self, source: str | os.PathLike[str] | BinaryIO, *, limits: Limits | None = None
    ) -> None:
        self._budget = Budget(limits or Limits())
        self._done = 0
        self._of_this: Callable[[], int] = lambda: 0
        self._entries: list[_Entry] | None = None
        if not isinstance(source, str | os.PathLike):
            self._file, self._path = source, None
            self.size = _size_of(source)
        elif Path(source).is_dir():
            self._path = Path(source)
            self._entries = sorted(_walk(self._path))
            self.size = sum(entry.size for entry in self._entries)
        else:
            self._path = Path(source)
            self._file = self._path.open("rb")
            self.size = _size_of(self._file)

    @property
    def position(self) -> int:
        return self._done + self._of_this()

    def close(self) -> None:
        """Of what is not read to its end."""
        if self._path is not None and self._entries is None:
            self._file.close()

    def open(self, wanted: Wanted) -> Iterator[File | Rejected]:
        """Each file stays open until the next one is asked for."""
        if self._entries is None:
            try:
                yield from self._opened("", self._file, self._path, wanted)
            finally:
                self._finish(self._of_this() if self.size is None else self.size)
                if self._path is not None:
                    self._file.close()
            return
        chosen = set(_chosen(self._entries, lambda entry: entry.name, wanted, zips=True))
        if not chosen:
            yield _no_files("", wanted)
        for entry in self._entries:
            if entry in chosen:
                yield from self._open_entry(entry, wanted)
            self._finish(entry.size)

    def _open_entry(self, entry: _Entry, wanted: Wanted) -> Iterator[File | Rejected]:
        path = Path(self._path or "", entry.name)
        try:
            file = path.open("rb")
        except OSError as error:
            reason = CANNOT_OPEN.format(reason=error.strerror)
            yield Rejected.at(1, None, reason, file=printable(entry.name))
            return
        with file:
            yield from self._opened(entry.name, file, path, wanted)

    def _opened(
        self, name: str, file: BinaryIO, path: Path | None, wanted: Wanted
    ) -> Iterator[File | Rejected]:
        counted = Counted(file)
        beginning, raw = with_beginning(counted, len(ZIP_BEGINS[0]))
        self._of_this = lambda: counted.count
        if beginning in ZIP_BEGINS:
            yield from self._open_zip(name, file, Stream(raw, BUFFER_BYTES), wanted)
            return
        is_packed = beginning.startswith(GZIP_BEGINS)
        stream = unpacked(raw, self._budget.meter(lambda: counted.count))
        beginning, raw = with_beginning(stream, BEGINNING_BYTES)
        opened = Stream(raw, BUFFER_BYTES)
        opened.path = path if file.seekable() and not is_packed else None
        yield File(printable(name), beginning, opened)

    def _open_zip(
        self, name: str, file: BinaryIO, stream: Stream, wanted: Wanted
    ) -> Iterator[File | Rejected]:
        try:
            if file.seekable():
                for member, place in self._members(name, file, wanted):
                    self._of_this = place
                    yield member
            else:
                with TemporaryFile() as copy:
                    shutil.copyfileobj(stream, copy)
                    yield from (member for member, _ in self._members(name, copy, wanted))
        except Unreadable as error:
            yield Rejected.at(1, None, error.detail, file=printable(name))

    def _members(
        self, name: str, file: BinaryIO, wanted: Wanted
    ) -> Iterator[tuple[File | Rejected, Callable[[], int]]]:
        """Each with the function that tells how much of the zip is read."""
        size = _size_of(file) or 0
        meter = self._budget.meter(lambda: size)
        with opened_zip(file, self._budget.limits) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            infos.sort(key=lambda info: info.filename)
            prefix = f"{name}/" if name else ""
            for info in infos:
                if info.filename.lower().endswith(".zip"):
                    where = printable(f"{prefix}{info.filename}")
                    yield Rejected.at(1, None, ZIP_IN_ZIP, file=where), lambda: 0
            chosen = _chosen(infos, lambda info: info.filename, wanted)
            if not chosen:
                yield _no_files(name, wanted), lambda: size
            packed = sum(info.compress_size for info in chosen) or 1
            before = 0
            for info in chosen:
                place = _place_in_zip(file, info, before, size / packed)
                yield _member(prefix, archive, info, meter), place
                before += info.compress_size

    def _finish(self, size: int) -> None:
        self._done += size
        self._of_this = lambda: 0


@contextmanager
def on_disk(file: BinaryIO) -> Iterator[Path]:
    """The path of a file that a library opens by itself; of a copy, if it is not on disk."""
    path = file.path if isinstance(file, Stream) else None
    if path is not None:
        yield path
        return
    with NamedTemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield Path(copy.name)


@contextmanager
def copied_to_disk(file: File) -> Iterator[File]:
    """The same file, as one that is on disk."""
    with on_disk(file.stream) as path, path.open("rb") as copy:
        stream = buffered(copy)
        stream.path = path
        yield file._replace(stream=stream)


def _walk(folder: Path) -> Iterator[_Entry]:
    for path, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            found = Path(path, name)
            if found.is_file() and not found.is_symlink():
                yield _Entry(found.relative_to(folder).as_posix(), found.stat().st_size)


def _raise(error: OSError) -> None:
    raise error


def _size_of(file: BinaryIO) -> int | None:
    """In bytes; None for a pipe."""
    if not file.seekable():
        return None
    at = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    return size


def _chosen(
    items: Iterable[_Item], name_of: Callable[[_Item], str], wanted: Wanted, *, zips: bool = False
) -> list[_Item]:
    """In the order of the items."""
    found = [(PurePosixPath(name_of(item)), item) for item in items]
    found = [(path, item) for path, item in found if not _is_of_macos(path)]
    named = {path.parent for path, _ in found if wanted.has_name(_without_gz(path.name))}
    return [
        item
        for path, item in found
        if (zips and path.suffix.lower() == ".zip")
        or (
            wanted.has_name(_without_gz(path.name))
            if path.parent in named
            else _without_gz(path.name).endswith(wanted.endings)
        )
    ]


def _is_of_macos(path: PurePosixPath) -> bool:
    """Its attributes of the file of the same name."""
    return path.name.startswith("._") or "__MACOSX" in path.parts


def _without_gz(name: str) -> str:
    return name.lower().removesuffix(".gz")


def _no_files(name: str, wanted: Wanted) -> Rejected:
    names = ", ".join(f"*{ending}" for ending in wanted.endings)
    return Rejected.at(1, None, NO_FILES.format(names=names), file=printable(name))


def _member(
    prefix: str, archive: ZipFile, info: ZipInfo, meter: Callable[[int], None]
) -> File | Rejected:
    name = printable(f"{prefix}{info.filename}")
    try:
        member = Unpacked(opened_member(archive, info), meter)
    except Unreadable as error:
        return Rejected.at(1, None, error.detail, file=name)
    beginning, raw = with_beginning(unpacked(member, meter), BEGINNING_BYTES)
    return File(name, beginning, Stream(raw, BUFFER_BYTES))


def _place_in_zip(file: BinaryIO, info: ZipInfo, before: int, scale: float) -> Callable[[], int]:
    """`before` packed bytes are read; `scale` makes all members as large as the zip."""

    def place() -> int:
        read = min(max(0, file.tell() - info.header_offset), info.compress_size)
        return int((before + read) * scale)

    return place
