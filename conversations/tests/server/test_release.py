"""The release that serves: what its first process has opened, and what a reload takes."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.conf import settings

from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.servers import database_url, served, serving

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 60
IDS = """
import os, django
django.setup()
from conversations.models.ids import new_id
new_id()
for _ in range(4):
    if not os.fork():
        os.write(1, "".join(f"{new_id()}\\n" for _ in range(1500)).encode())
        os._exit(0)
for _ in range(4):
    os.wait()
"""


def links_of(pid):
    return [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()]


def test_the_process_that_is_forked_has_no_thread_and_no_connection(provider):
    # Traces are sent by a thread.
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": provider.url} if find_spec("opentelemetry") else {}
    with serving(provider, workers=2, **traced) as server:
        (loaded,) = server.fork_servers
        assert len(list(Path(f"/proc/{loaded}/task").iterdir())) == 1
        sockets = [one for one in links_of(loaded) if one.startswith("socket:")]
        assert len(sockets) == 2  # that which all listen on, and that to its parent


def test_forked_processes_make_different_ids():
    made = subprocess.run(
        [sys.executable, "-c", IDS], cwd=settings.BASE_DIR, capture_output=True, check=True
    ).stdout.split()
    assert len(made) == len(set(made)) == 6_000


@contextmanager
def copied(folder):
    """This project in a folder of its own, served."""
    for package in ("chatproject", "conversations"):
        ignored = shutil.ignore_patterns("tests", "__pycache__")
        shutil.copytree(settings.BASE_DIR / package, folder / package, ignore=ignored)
    environment = os.environ | {"DATABASE_URL": database_url(), "PYTHONDONTWRITEBYTECODE": "1"}
    with served(1, 4, env=environment, cwd=folder) as server:
        yield server


def status_of(server, path):
    try:
        with urllib.request.urlopen(f"{server.url}{path}", timeout=SECONDS) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_reload_takes_the_code_and_the_env_file_of_now(tmp_path):
    file, urls = tmp_path / ".env", tmp_path / "chatproject" / "urls.py"
    file.write_text("ALLOWED_HOSTS=127.0.0.1\n")
    with copied(tmp_path) as server:
        before, text = server.workers, urls.read_text()
        assert status_of(server, "/api/docs") == 200
        urls.write_text("import no_such_module\n" + text)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.fork_servers) == 2, SECONDS)
        wait_until(lambda: len(server.fork_servers) == 1, SECONDS)
        assert server.workers == before
        assert status_of(server, "/api/docs") == 200
        urls.write_text(text)
        file.write_text("ALLOWED_HOSTS=chat.example.org\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not set(server.workers) & set(before), SECONDS)
        assert status_of(server, "/api/docs") == 400
