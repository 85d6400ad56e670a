"""Real web servers, each with its own worker process, on the database of the tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress

from django.conf import settings
from django.db import connection

from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.fixtures import wait_until

STARTS_WITHIN = 120  # seconds, on a busy machine


class Server:
    """A web server process and its worker's number."""

    def __init__(self, process, port):
        self.process, self.url = process, f"http://127.0.0.1:{port}"

    def client(self, token):
        return ChatClient(self.url, token)

    @property
    def workers(self):
        """The process numbers of its workers."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(line) for line in found.stdout.split()]

    def kill(self):
        """The server with its workers, at once."""
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
    port = free_port()
    name = connection.settings_dict["NAME"]
    code = _SERVE.format(name=name, port=port, workers=workers, threads=threads)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | environment_of(provider) | environment,
        cwd=settings.BASE_DIR,
        start_new_session=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), STARTS_WITHIN)
        assert process.poll() is None
        yield Server(process, port)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# The workers are forked: they find the database's name as it is set here.
_SERVE = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {name!r}
from conversations.management.serving import serve
serve(host="127.0.0.1", port={port}, workers={workers}, threads={threads})
"""


def environment_of(provider, timeout=30):
    """`timeout` is the provider's in seconds, to be reached and of silence."""
    scripted = {"base_url": provider.url, "model": "scripted"}
    patient = {"timeout": timeout, "connect": timeout}
    providers = {"scripted": scripted | patient}
    return {"CHAT_PROVIDER": "scripted", "CHAT_PROVIDERS": json.dumps(providers)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False
