"""The secret that signs sessions and cursors, made once for an installation that sets none."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def load_or_create(path: Path) -> str:
    """The secret kept in `path`; made there, readable by its owner alone, when it is missing."""
    if not path.exists():
        _create(path)
    return path.read_text().strip()


def _create(path: Path) -> None:
    """Put a whole file in place at once: two processes that start together agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # readable by its owner alone
    with os.fdopen(descriptor, "w") as file:
        file.write(get_random_secret_key())
    with suppress(FileExistsError):
        os.link(draft, path)
    os.unlink(draft)
