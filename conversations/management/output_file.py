"""The file that a command writes: complete under its name, or as it was before."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, BinaryIO, cast

STANDARD_OUTPUT = "-"


@contextmanager
def output_file(path: str) -> Iterator[BinaryIO]:
    """A file to write to in the block; `-` is standard output.

    It is written under another name beside it, `.NAME.….part`, and renamed at the end of the block.
    Only its owner may read it. If the block raises, `path` is left as it was. A device or a pipe
    is written to directly. What is written to a name that ends in `.gz` is compressed. Raises
    OSError.
    """
    with _opened(path) as file:
        if path.endswith(".gz"):
            # Without a name and a time: the same content is the same file.
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
                yield cast(BinaryIO, compressed)
        else:
            yield cast(BinaryIO, file)


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes] | BinaryIO]:
    target = Path(path).resolve()
    if path == STANDARD_OUTPUT:
        yield cast(BinaryIO, _Whole(sys.stdout.buffer))
        sys.stdout.buffer.flush()
    elif target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
    else:
        with _renamed_to(target) as file:
            yield file


class _Whole:
    """Writes all that it is given: with PYTHONUNBUFFERED, standard output may write a part."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)


@contextmanager
def _renamed_to(target: Path) -> Iterator[IO[bytes]]:
    with _beside(target) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise


def _beside(target: Path) -> IO[bytes]:
    try:
        return NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
        )
    except OSError as error:
        error.filename = str(target)  # the name that was asked for
        raise


def close_standard_output() -> None:
    """After its reader is gone: without this, Python complains once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
