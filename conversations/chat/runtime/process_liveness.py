"""Which processes that run turns are alive: each holds a lock on a file of its own until it ends.

So a process of the same machine that was killed is known to be dead at once. Of processes on other
machines nothing is known here, also where machines share the data folder over a network, or one
has a copy of another's: a file counts only under the kernel that locked it, and only the file
itself. The turns of those processes count as abandoned by their age alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from conversations.process_locks import is_locked, lock

# A random number for each boot of a kernel, which containers of one machine share. On systems that
# have none, such as macOS, no process is known to be dead.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = logging.getLogger(__name__)

# The length of the name of a file, and of the digest that follows it in the name of a process.
_LENGTH = 16
# How many lock files are kept, of the newest processes.
_KEPT = 200


def announce() -> str:
    """Make and lock this process's file; the process's name, for `is_dead` in other processes."""
    file = _folder() / uuid.uuid4().hex[:_LENGTH]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock(file)
        _remove_old_files(file.parent)
        return _name_of_process(file)
    except OSError as error:
        log.info("Other processes see by age alone when this one has died: %s", error)
        return file.name


def is_dead(name: str) -> bool:
    """Whether that process ran on this machine and has ended."""
    file = _folder() / name[:_LENGTH]
    try:
        return name.isalnum() and name == _name_of_process(file) and not is_locked(file)
    except OSError:  # no such file, or another user's
        return False


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "runners"


def _name_of_process(file: Path) -> str:
    """The name of the process that made this file under this kernel; raises OSError."""
    found = file.stat()
    place = f"{BOOT_ID.read_text()} {found.st_dev} {found.st_ino} {file.name}"
    return file.name + hashlib.sha256(place.encode()).hexdigest()[:_LENGTH]


def _remove_old_files(folder: Path) -> None:
    """Remove the files of dead processes whose turns have long been found by their age."""
    with suppress(OSError):  # another process may be at it too
        for path in sorted(folder.iterdir(), key=os.path.getmtime)[:-_KEPT]:
            if not is_locked(path):
                path.unlink(missing_ok=True)
