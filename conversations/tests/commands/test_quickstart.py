import gzip
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from conversations.db.one_at_a_time import one_at_a_time
from conversations.management.commands.quickstart import SET_UP, WAITING
from conversations.models import Conversation
from conversations.services.bootstrap import create_admin

STARTS_WITHIN = 60  # seconds
STOPS_WITHIN = 30


@pytest.fixture(autouse=True)
def _signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def prepared(monkeypatch, capsys):
    """Run the command without the web server; returns its output and the arguments of `serve`."""
    served = {}
    commands = "conversations.management.commands.quickstart"
    monkeypatch.setattr(f"{commands}.serve", lambda **options: served.update(options))
    # The other tests of this process serve the files of the packages.
    monkeypatch.setattr(f"{commands}.collect_static_files", lambda: False)
    # Closing the connection would end the transaction that the test runs in.
    monkeypatch.setattr(f"{commands}.connections.close_all", lambda: None)

    def prepare(*arguments):
        call_command("quickstart", f"--port={free_port()}", *arguments)
        return capsys.readouterr().out, served

    return prepare


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.django_db
def test_the_first_run_makes_an_administrator_and_loads_the_sample(prepared):
    out, served = prepared()
    password = re.search(r"user admin, password (\S+) ", out)[1]
    assert User.objects.get(username="admin").check_password(password)
    assert "Sample    20 conversations of the user sample" in out
    assert Conversation.objects.count() == 20
    assert (served["host"], served["workers"], served["threads"]) == ("127.0.0.1", 2, 5)
    for path in ("/api/conversations", "/api/docs", "/admin/"):
        assert f"http://127.0.0.1:{served['port']}{path}" in out
    assert "manage.py create_token NAME" in out
    starts = [line.split()[0] for line in out.splitlines()]
    assert starts[-7:-1] == ["API", "Docs", "Admin", "Account", "Token", "Serving"]


@pytest.mark.django_db
def test_a_later_run_changes_nothing(prepared):
    prepared("--no-sample")
    out, _ = prepared()
    assert "(shown only this once)" not in out
    assert "manage.py changepassword admin" in out
    assert User.objects.count() == 1
    assert not Conversation.objects.exists()


@pytest.mark.django_db
def test_an_ordinary_user_named_admin_is_left_alone(prepared):
    User.objects.create_user("admin")
    out, _ = prepared("--no-sample")
    assert "manage.py createsuperuser" in out
    assert not User.objects.get().is_superuser


@pytest.mark.django_db(transaction=True)
def test_of_two_started_at_once_one_waits_until_the_other_has_set_the_database_up(prepared):
    holds, waits = threading.Event(), threading.Event()

    class Output(StringIO):
        def write(self, text):
            if WAITING in text:
                waits.set()
            return super().write(text)

    def set_up():
        try:
            with one_at_a_time(SET_UP, on_wait=lambda: None):
                holds.set()
                assert waits.wait(60)
                create_admin()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(set_up)
        assert holds.wait(60)
        call_command("quickstart", f"--port={free_port()}", "--no-sample", stdout=(out := Output()))
        other.result()
    assert "manage.py changepassword admin" in out.getvalue()
    with one_at_a_time(SET_UP, on_wait=lambda: pytest.fail("somebody holds it still")):
        pass


@pytest.mark.django_db
def test_too_many_workers_for_the_database_are_refused(prepared):
    with pytest.raises(CommandError, match="too few for 100000 workers"):
        prepared("--no-sample", "--workers=100000")


@pytest.mark.parametrize("argument", ["--port=0", "--port=65536", "--port=x", "--workers=0"])
def test_numbers_out_of_range_are_refused(argument):
    with pytest.raises(CommandError):
        call_command("quickstart", argument)


def test_a_port_in_use_is_told_before_anything_else():
    # Without the mark django_db, a query would fail this test.
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 is in use"):
            call_command("quickstart", f"--port={port}")


@pytest.fixture
def data():
    """A temporary data folder, removed after its database server has stopped."""
    folder = Path(tempfile.mkdtemp(prefix="chat-"))
    yield folder
    wait_until(lambda: not any(folder.rglob("postmaster.pid")), STOPS_WITHIN)
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def _static_files(tmp_path_factory):
    """Collected once for all servers of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATIC_ROOT", str(tmp_path_factory.mktemp("static")))
        yield


@contextmanager
def quickstart(data):
    """A server in its own process group, stopped at the end; yields its port and log."""
    port, log = free_port(), data / f"{time.monotonic_ns()}.log"
    command = [sys.executable, settings.BASE_DIR / "manage.py", "quickstart", f"--port={port}"]
    embedded = {"CHATPROJECT_DATA": str(data), "DATABASE_URL": "", "CHATPROJECT_DURABLE": "false"}
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | embedded,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or answers(port), STARTS_WITHIN)
        assert process.poll() is None, log.read_text()
        yield process, port, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def status_of_list(port, token):
    url = f"http://127.0.0.1:{port}/api/conversations"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_stops_cleanly(data, how):
    with quickstart(data) as (process, port, log):
        assert status_of_list(port, "wrong") == 401
        # As a terminal does: to the whole group.
        os.killpg(process.pid, how)
        assert process.wait(STOPS_WITHIN) == 0
        text = log.read_text()
        assert text.endswith("Stopped.\n")
        assert text.count("Serving ") == 1
        assert "Traceback" not in text
        assert "ERROR" not in text


def test_static_files_are_compressed_and_kept_by_browsers(data):
    with quickstart(data) as (process, port, _):
        page = fetched(port, "/admin/login/").read().decode()
        path = re.search(r'href="(/static/unfold/css/styles\.[0-9a-f]{12}\.css)"', page)[1]
        reply = fetched(port, path, {"Accept-Encoding": "gzip"})
        assert "immutable" in reply.headers["Cache-Control"]
        assert reply.headers["Content-Encoding"] == "gzip"
        whole = len(gzip.decompress(body := reply.read()))
        assert len(body) < whole / 4
        process.send_signal(signal.SIGINT)
        assert process.wait(STOPS_WITHIN) == 0


def fetched(port, path, headers=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    return urllib.request.urlopen(request, timeout=10)


def test_nothing_is_left_or_lost_when_it_is_killed(data):
    with quickstart(data) as (process, port, log):
        assert "20 conversations" in log.read_text()
        process.kill()
        process.wait()
        wait_until(lambda: not answers(port), STOPS_WITHIN)
    with quickstart(data) as (process, port, log):
        assert "changepassword admin" in log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(STOPS_WITHIN) == 0


def test_a_killed_database_backend_costs_no_defect_and_soon_nothing(data):
    with quickstart(data) as (process, port, log):
        token = new_token(data)
        for _ in range(3):
            asked = statuses_while(port, token, lambda: kill_a_backend(data))
            assert set(asked) <= {200, 503}, log.read_text()
            wait_until(lambda: status_of_list(port, token) == 200, STARTS_WITHIN)
        # Every thread of every worker has a connection that works, or opens one.
        assert set(statuses_while(port, token, lambda: None)) == {200}
        assert "Traceback" not in log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(STOPS_WITHIN) == 0


def new_token(data):
    embedded = {"CHATPROJECT_DATA": str(data), "DATABASE_URL": "", "CHATPROJECT_DURABLE": "false"}
    command = [sys.executable, settings.BASE_DIR / "manage.py", "create_token", "alice"]
    done = subprocess.run(
        command, env=os.environ | embedded, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def statuses_while(port, token, act):
    """The status codes of 300 requests from 20 clients; `act` is called in between."""
    with ThreadPoolExecutor(20) as pool:
        before = pool.map(lambda _: status_of_list(port, token), range(150))
        found = [next(before)]
        act()
        return [*found, *before, *pool.map(lambda _: status_of_list(port, token), range(150))]


def kill_a_backend(data):
    """As the OOM killer does; the postmaster then restarts all of its processes."""
    (pid_file,) = data.rglob("postmaster.pid")
    postmaster = pid_file.read_text().split()[0]
    command = ["pgrep", "-P", postmaster, "-f", "postgres: postgres chatproject"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
