"""Gives the tests a database of their own, before Django reads its settings.

`TEST_DATABASE_URL` names a server; without it an embedded PostgreSQL runs in a temporary folder.
`DATABASE_URL` and `var/` are never touched.
"""

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path

import django
import pytest
from django.conf import settings

SERVER_STOPS_WITHIN = 15  # seconds


def choose_database() -> None:
    """Put the choice where the settings, the xdist workers and subprocesses find it."""
    folder = Path(tempfile.mkdtemp(prefix="chat-"))
    atexit.register(remove_folder, folder)
    os.environ["CHATPROJECT_DATA"] = str(folder)
    os.environ["CHATPROJECT_DURABLE"] = "false"
    # Set even when empty: a .env file fills in only what is not set.
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "")
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"


def remove_folder(folder: Path) -> None:
    """Remove the folder once the last process has stopped the server in it."""
    deadline = time.monotonic() + SERVER_STOPS_WITHIN
    while any(folder.rglob("postmaster.pid")) and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker inherits the choice
    if settings.configured:
        raise pytest.UsageError("unset DJANGO_SETTINGS_MODULE: conftest.py chooses the settings")
    choose_database()

# Now rather than in pytest-django, so that every other conftest.py may import models.
django.setup()
