"""Generate the SECRET_KEY once if it is not set."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def load_or_create(path: Path) -> str:
    """The key stored in `path`; created, readable only by its owner, if it does not exist."""
    if not path.exists():
        _create(path)
    return path.read_text().strip()


def _create(path: Path) -> None:
    """Create the file atomically, so that concurrent processes use the same key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(get_random_secret_key())
    with suppress(FileExistsError):
        os.link(draft, path)
    os.unlink(draft)
