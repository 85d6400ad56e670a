"""The server's log: a small file with its errors, and nothing of what people write."""

import os
from pathlib import Path

MOST_BYTES = 256 * 1024
LINES_SHOWN = 15


def open_log(path: Path) -> int:
    """An empty file to append to, so that emptying it again leaves no hole."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def bound_log(descriptor: int) -> None:
    if os.fstat(descriptor).st_size > MOST_BYTES:
        os.ftruncate(descriptor, 0)


def end_of_log(path: Path) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-LINES_SHOWN:])
    except OSError:
        return ""
