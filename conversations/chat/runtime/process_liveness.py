"""Which processes that run turns are alive: each holds a lock on a file of its own until it ends.

So a process of the same machine that was killed is known to be dead at once. Nothing is known
here of processes on other machines: their turns count as abandoned by their age alone.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from conversations.process_locks import is_locked, lock

# How many lock files are kept, of the newest processes.
_KEPT = 200


def announce() -> str:
    """Make and lock this process's file; its name, for `is_dead` in other processes."""
    name = uuid.uuid4().hex
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    lock(folder / name)
    _remove_old_files(folder)
    return name


def is_dead(name: str) -> bool:
    """Whether that process ran on this machine and has ended."""
    file = _folder() / name
    try:
        return name.isalnum() and file.exists() and not is_locked(file)
    except OSError:  # another user's, for one
        return False


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "runners"


def _remove_old_files(folder: Path) -> None:
    """Remove the files of dead processes whose turns have long been found by their age."""
    with suppress(FileNotFoundError):  # another process may be at it too
        names = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in names[:-_KEPT]:
            if is_dead(path.name):
                path.unlink(missing_ok=True)
