"""A real server on the test database, in a process of its own, for clients that speak HTTP."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from os import environ
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.db import connection

from conversations.tests.factories import make_token

STARTS_WITHIN = 60  # seconds
STOPS_WITHIN = 30
SERVE = (
    "from conversations.management.serving import serve;"
    "serve(host='127.0.0.1', port={port}, workers=1, threads=4)"
)


class Server:
    """`url` of a running server; `log()` is what it has written so far."""

    def __init__(self, port, log_file):
        self.url = f"http://127.0.0.1:{port}"
        self._log_file = log_file

    def log(self):
        return self._log_file.read_text()


@pytest.fixture(scope="session")
def running_server(django_db_setup, django_db_blocker, tmp_path_factory):
    with django_db_blocker.unblock():
        url = database_url()
    with serving(url, tmp_path_factory.mktemp("server") / "log") as server:
        yield server


@pytest.fixture
def server(transactional_db, running_server):
    """A server that sees what the test has stored, and whose rows are gone afterwards."""
    return running_server


@contextmanager
def serving(database, log_file):
    port = free_port()
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(port=port)],
            cwd=settings.BASE_DIR,
            env=environ | {"DATABASE_URL": database},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(port, log_file)
    try:
        wait_for(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(STOPS_WITHIN)


def wait_for(server, process):
    deadline = time.monotonic() + STARTS_WITHIN
    while not is_ready(server.url):
        assert process.poll() is None, server.log()
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.1)


def is_ready(url):
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def database_url():
    """The test database as DATABASE_URL has it, wherever its server listens."""
    given = connection.get_connection_params()
    query = {name: given[name] for name in ("user", "password", "host", "port") if given.get(name)}
    return f"postgres:///{given['dbname']}?{urlencode(query)}"


def token_of(user):
    return make_token(user)
