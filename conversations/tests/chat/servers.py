"""Real web servers, each with its own worker process, on the database of the tests."""

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager, suppress
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection

from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.processes import children_of, environment_of, free_port

STARTS_WITHIN = 120  # seconds, on a busy machine


class Server:
    """A web server process and its worker's number."""

    def __init__(self, process, port):
        self.process, self.url = process, f"http://127.0.0.1:{port}"

    def client(self, token):
        return ChatClient(self.url, token)

    @property
    def fork_servers(self):
        """The process numbers of those that its workers are forked from: more than one while it
        reloads."""
        return children_of(self.process.pid)

    @property
    def workers(self):
        """The process numbers of its workers."""
        return children_of(*self.fork_servers)

    def kill(self):
        """All of its processes at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_workers(self):
        self.signal_workers(signal.SIGKILL)

    def signal_workers(self, number):
        for pid in self.workers:
            os.kill(pid, number)


@contextmanager
def serving(provider, *, workers=1, threads=8, **environment):
    """A server that asks the scripted provider, stopped afterwards."""
    environment = (
        os.environ | environment_of(provider) | {"DATABASE_URL": database_url()} | environment
    )
    with served(workers, threads, env=environment, cwd=settings.BASE_DIR) as server:
        yield server


@contextmanager
def machine(provider, folder, *, clock=0, route=None, **environment):
    """The server of a machine of its own, which shares no files with others, not even a secret.

    `clock` is by how many seconds its clock is wrong; `route` leads to the database.
    """
    # Each of its processes imports this module first.
    (folder / "sitecustomize.py").write_text(_SET_CLOCK.format(seconds=clock))
    environment = {
        **os.environ,
        **environment_of(provider),
        "DATABASE_URL": database_url(route),
        "CHATPROJECT_DATA": str(folder / "data"),
        "PYTHONPATH": os.pathsep.join([str(folder), str(settings.BASE_DIR)]),
        **environment,
    }
    with served(1, 8, env=environment, cwd=folder) as server:
        yield server


@contextmanager
def served(workers, threads, **options):
    """What `options` start, as of a subprocess."""
    port = free_port()
    code = _SERVE.format(port=port, workers=workers, threads=threads)
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **options)
    server = Server(process, port)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), STARTS_WITHIN)
        assert process.poll() is None
        yield server
    finally:
        server.kill()


_SET_CLOCK = """
from datetime import timedelta
from django.utils import timezone
right = timezone.now
timezone.now = lambda: right() + timedelta(seconds={seconds})
"""
_SERVE = """
from conversations.management.serving import serve
serve(host="127.0.0.1", port={port}, workers={workers}, threads={threads})
"""


def database_url(route=None):
    """The URL of the tests' database, directly or by a route."""
    found = connection.settings_dict
    user = quote(found["USER"]) + (f":{quote(found['PASSWORD'])}" if found.get("PASSWORD") else "")
    if route is not None:
        return f"postgres://{user}@127.0.0.1:{route.port}/{found['NAME']}"
    where = urlencode({"host": found["HOST"], "port": found["PORT"] or 5432})
    return f"postgres://{user}@/{found['NAME']}?{where}"


class Route:
    """A way to the database that can be cut: connections are closed and new ones are refused."""

    def __init__(self):
        found = connection.settings_dict
        host, port = found["HOST"], int(found["PORT"] or 5432)
        if host.startswith("/"):
            self._database = (socket.AF_UNIX, f"{host}/.s.PGSQL.{port}")
        else:
            self._database = (socket.AF_INET, (host or "127.0.0.1", port))
        self.port = free_port()
        self._sockets = set()
        self.restore()

    def restore(self):
        listener = socket.create_server(("127.0.0.1", self.port))
        self._sockets.add(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self):
        while self._sockets:
            one = self._sockets.pop()
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener):
        with suppress(OSError):  # it was cut
            while True:
                client, _ = listener.accept()
                kind, address = self._database
                server = socket.socket(kind)
                server.connect(address)
                self._sockets |= {client, server}
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source, target):
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False
