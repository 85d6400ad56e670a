"""Selects the database of the tests, before Django loads its settings.

That is the server in `TEST_DATABASE_URL` or, if unset, an embedded PostgreSQL in a temporary
folder.
`DATABASE_URL` and `var/` are never used.
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
    """Set it in the environment, for the settings, the xdist workers and subprocesses."""
    folder = Path(tempfile.mkdtemp(prefix="chat-"))
    atexit.register(remove_folder, folder)
    os.environ["CHATPROJECT_DATA"] = str(folder)
    os.environ["CHATPROJECT_DURABLE"] = "false"
    # Set even if empty, so that a .env file does not set it.
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "")
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"


def remove_folder(folder: Path) -> None:
    """Remove the folder once the last process has stopped the server in it."""
    deadline = time.monotonic() + SERVER_STOPS_WITHIN
    while any(folder.rglob("postmaster.pid")) and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit the environment
    if settings.configured:
        raise pytest.UsageError("unset DJANGO_SETTINGS_MODULE: conftest.py chooses the settings")
    choose_database()

# Here rather than in pytest-django, so that other conftest.py files can import models.
django.setup()
# Each test client builds the middleware anew, which would look at every static file each time.
settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """On a Citus coordinator the tests run on distributed tables."""
    from conversations.tests import cluster

    with django_db_blocker.unblock():
        workers = cluster.distribute_test_database() if cluster.has_citus() else None
    if workers is None:
        yield
        return
    with cluster.flushing_all_tables():
        yield
    with django_db_blocker.unblock():
        cluster.drop_from_workers(workers)


@pytest.fixture(scope="session")
def on_cluster(django_db_setup, django_db_blocker):
    from conversations.tests import cluster

    with django_db_blocker.unblock():
        return cluster.has_citus()


@pytest.fixture(autouse=True)
def _skip_elsewhere(request):
    """Before the test's own fixtures."""
    from conversations.tests import cluster

    if cluster.MARKERS & {marker.name for marker in request.node.iter_markers()}:
        cluster.skip_elsewhere(request.node, on_cluster=request.getfixturevalue("on_cluster"))
