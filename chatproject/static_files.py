"""Static files with a hash in their names, compressed, that browsers keep for good.

`quickstart` collects them into STATIC_ROOT; the application serves them from there, and whatever
was not collected straight from the packages, so that tests and `runserver` need no such step.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFiles(CompressedManifestStaticFilesStorage):
    """The name with the hash of a file that was collected; of any other, its own name."""

    manifest_strict = False

    def stored_name(self, name: str) -> str:
        collected: str | None = self.hashed_files.get(self.hash_key(name))
        return collected or name


def collect_static_files() -> bool:
    """Bring STATIC_ROOT up to date; whether that was needed. It takes some seconds."""
    stamp = Path(settings.STATIC_ROOT).with_suffix(".stamp")
    state = _state_of_sources()
    if stamp.exists() and stamp.read_text() == state:
        return False
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(state)
    return True


def _state_of_sources() -> str:
    """A digest of the path, size and time of each file that would be collected."""
    digest = hashlib.sha256(str(settings.STATIC_ROOT).encode())
    for finder in get_finders():
        for path, storage in finder.list(ignore_patterns=None):
            about = Path(storage.path(path)).stat()
            digest.update(f"{path} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()
