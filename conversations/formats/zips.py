"""Zip files: their members as streams, without trust in what the file says of itself.

Nothing is unpacked to disk, so names of members are only names. Those with `..` or from the root
are read as all others.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from conversations.formats.unpacking import DAMAGE, Limits, Unreadable, damaged

TOO_MANY_MEMBERS = "The zip has more than {limit:,} files."
ENCRYPTED = "Encrypted: unpack it first."

ZIP_BEGINS = (b"PK\x03\x04", b"PK\x05\x06")  # the second one is that of an empty zip

# Of the directory of a zip, which is read as a whole: a usual entry has 100 or less.
_ENTRY_BYTES = 200
_MAX_COMMENT_BYTES = 65_535
_END = struct.Struct("<4s8xL4xH")  # its signature, size of the directory, length of the comment
_END64 = struct.Struct("<4s36xQ8x")  # the same of large zips, without the comment
_LOCATOR64 = struct.Struct("<4s4xQ4x")  # its signature, place of the former


@contextmanager
def opened_zip(file: BinaryIO, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """Raises Unreadable."""
    try:
        if _directory_bytes(file) > limits.members * _ENTRY_BYTES:
            raise Unreadable(TOO_MANY_MEMBERS.format(limit=limits.members))
        archive = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise damaged(error) from None
    with archive:
        if len(archive.infolist()) > limits.members:
            raise Unreadable(TOO_MANY_MEMBERS.format(limit=limits.members))
        yield archive


def opened_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Raises Unreadable."""
    if member.flag_bits & 1:
        raise Unreadable(ENCRYPTED)
    try:
        return archive.open(member)
    except DAMAGE as error:
        raise damaged(error) from None


def _directory_bytes(file: BinaryIO) -> int:
    """What the end of a zip says; 0 if it has none, which zipfile refuses."""
    size = file.seek(0, io.SEEK_END)
    begin = file.seek(max(0, size - _MAX_COMMENT_BYTES - _END.size - _LOCATOR64.size))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return 0
    _, directory, _ = _END.unpack_from(tail, at)
    if at >= _LOCATOR64.size:
        signature, place = _LOCATOR64.unpack_from(tail, at - _LOCATOR64.size)
        if signature == b"PK\x06\x07" and place + _END64.size <= begin + at:
            file.seek(place)
            _, directory = _END64.unpack(file.read(_END64.size))
    return int(directory)
