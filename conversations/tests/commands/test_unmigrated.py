"""The hint of commands on a database without applied migrations."""

import os
import subprocess
import sys
from contextlib import closing

import psycopg2
import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from conversations.management.unmigrated import remedy_for_missing_migrations


@pytest.fixture
def empty_database(django_db_setup, worker_id):
    """Environment variables of a process whose database has no tables."""
    name = f"test_without_tables_{worker_id}"
    given = connection.settings_dict
    where = {f"PG{key}": str(given[key]) for key in ("HOST", "PORT", "USER", "PASSWORD")}
    where = {key: value for key, value in where.items() if value}
    arguments = {key[2:].lower(): value for key, value in where.items()}
    with closing(psycopg2.connect(dbname="postgres", **arguments)) as server:
        server.autocommit = True
        server.cursor().execute(f'DROP DATABASE IF EXISTS "{name}"')
        server.cursor().execute(f'CREATE DATABASE "{name}"')
        yield os.environ | where | {"DATABASE_URL": f"postgres:///{name}"}
        server.cursor().execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize(
    "command", [["list_tokens"], ["create_token", "ann"], ["changepassword", "ann"]]
)
def test_a_command_without_tables_names_migrate(empty_database, command):
    done = subprocess.run(
        [sys.executable, settings.BASE_DIR / "manage.py", *command],
        env=empty_database,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == ("The database has no tables yet: run manage.py migrate")
    assert "Traceback" not in done.stderr


@pytest.mark.django_db
def test_a_database_of_an_older_version_names_migrate(monkeypatch):
    monkeypatch.setattr(connection, "close", lambda: None)
    assert remedy_for_missing_migrations() is None
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("conversations")
    MigrationRecorder(connection).record_unapplied(*newest)
    assert remedy_for_missing_migrations() == (
        "The database lacks 1 migrations of this version: run manage.py migrate"
    )
