"""Which processes run turns: each holds a lock that the system lets go of when it dies.

So a process of the same machine that was killed is known to be dead at once. Of other machines
nothing is known here: their turns count as abandoned by their age alone.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from contextlib import suppress
from pathlib import Path

from django.conf import settings

# So many names are kept, of the processes that came last.
_KEPT = 200

_held: dict[str, int] = {}


def announce() -> str:
    """A name for this process that others on this machine can ask about; held until it ends."""
    name = uuid.uuid4().hex
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / name, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    _held[name] = file
    _sweep(folder)
    return name


def is_dead(name: str) -> bool:
    """Whether that process ran on this machine and has ended."""
    if not name.isalnum() or name in _held:
        return False
    try:
        file = os.open(_folder() / name, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(file)


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "runners"


def _sweep(folder: Path) -> None:
    """Forget processes whose turns have long been found by their age."""
    with suppress(FileNotFoundError):  # another process may be at it too
        names = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in names[:-_KEPT]:
            if is_dead(path.name):
                path.unlink(missing_ok=True)
