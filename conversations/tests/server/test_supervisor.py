"""The processes of the web server: replaced when they die, when they are to, and never left."""

import http.client
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.conf import settings

from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.servers import Server
from conversations.tests.processes import free_port

WORKERS = 2
SECONDS = 30

# The least that a worker needs of its application.
APPLICATION = """
import os

class Application:
    header_seconds, is_idle = 5, True

    def end(self):
        pass

    def preload(self):
        pass

    start = close_connections = give_streams_away = end

    async def __call__(self, scope, receive, send):
        body = f"{version} {{os.getpid()}}".encode()
        headers = [(b"connection", b"close")]
        await send({{"type": "http.response.start", "status": 200, "headers": headers}})
        await send({{"type": "http.response.body", "body": body}})

application = Application()
"""
SUPERVISE = """
import asyncio, os
from conversations.server.supervisor import Supervisor, listen
with listen("127.0.0.1", {port}) as listener:
    supervisor = Supervisor("served:application", listener, {workers}, dict(os.environ))
    asyncio.run(supervisor.run())
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "'one'")
    return tmp_path


def write(folder, version):
    # No compiled file of before, which may look as new as this one.
    (folder / "served.py").write_text(APPLICATION.format(version="{" + version + "}"))


@contextmanager
def supervised(folder):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE.format(port=port, workers=WORKERS)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(settings.BASE_DIR), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    server = Server(process, port)
    try:
        wait_until_all_answer(server, port)
        yield server, port
    finally:
        server.kill()


def wait_until_all_answer(server, port):
    seen = set()
    wait_until(lambda: len(server.workers) == WORKERS, SECONDS)
    wait_until(lambda: seen.add(answer(port)[1]) or seen >= set(server.workers), SECONDS)


def answer(port):
    """The version and the number of the process that answers; None if none does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/")
        version, pid = connection.getresponse().read().decode().split()
        return version, int(pid)
    return None


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def processes_of_session(server):
    found = subprocess.run(
        ["pgrep", "-s", str(server.process.pid)], capture_output=True, check=True
    )
    return len(found.stdout.split())


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def kill(pids, number=signal.SIGKILL):
    for pid in pids:
        os.kill(pid, number)


def test_processes_that_die_again_and_again_are_replaced(folder):
    with supervised(folder) as (server, port):
        for _ in range(6):
            before = server.workers
            kill(before)
            # A client that comes meanwhile waits for the next process.
            _, pid = answer(port) or answer(port)
            assert pid not in before
        assert server.process.poll() is None


def test_one_that_is_killed_loses_no_other_connection(folder):
    with supervised(folder) as (server, port):
        for _ in range(3):
            wait_until_all_answer(server, port)
            kill(server.workers[:1])
            assert all(answer(port) for _ in range(50))


def test_a_frozen_process_holds_up_no_new_connection(folder):
    with supervised(folder) as (server, port):
        frozen = server.workers[:1]
        kill(frozen, signal.SIGSTOP)
        wait_until(lambda: all(state_of(pid) == "T" for pid in frozen))
        try:
            assert {answer(port)[1] for _ in range(50)} == {server.workers[1]}
        finally:
            kill(frozen, signal.SIGCONT)


def test_processes_that_cannot_start_end_the_first_start_with_an_error(folder):
    (folder / "served.py").write_text("raise SystemExit('not today')")
    process = subprocess.run(
        [sys.executable, "-c", SUPERVISE.format(port=free_port(), workers=WORKERS)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(settings.BASE_DIR)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert process.returncode != 0
    assert "not today" in process.stderr
    assert "CannotStart" in process.stderr


def test_a_reload_takes_new_code_and_a_defect_in_it_leaves_the_old_processes(folder):
    with supervised(folder) as (server, port):
        one = server.workers
        write(folder, "'two'")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not any(map(is_running, one)), SECONDS)
        assert {answer(port)[0] for _ in range(20)} == {"two"}
        two = server.workers
        (folder / "served.py").write_text("raise SystemExit('a defect')")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(2)
        assert {answer(port)[0] for _ in range(20)} == {"two"}
        wait_until(lambda: server.workers == two, SECONDS)
        write(folder, "'three'")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not any(map(is_running, two)), SECONDS)
        assert {answer(port)[0] for _ in range(20)} == {"three"}


def test_replacements_are_forked_from_the_process_that_has_loaded_the_application(folder):
    with supervised(folder) as (server, port):
        loaded, before = server.fork_servers, server.workers
        (folder / "served.py").unlink()  # nothing loads it again
        kill(before)
        wait_until(lambda: set(answer(port) or ()) & set(server.workers), SECONDS)
        assert server.fork_servers == loaded
        assert not set(server.workers) & set(before)


def test_web_processes_go_on_without_the_one_they_are_forked_from(folder):
    with supervised(folder) as (server, port):
        (loaded,), before = server.fork_servers, server.workers
        (folder / "served.py").write_text("raise SystemExit('a defect')")
        kill([loaded])
        wait_until(lambda: not is_running(loaded), SECONDS)
        assert {answer(port)[1] for _ in range(20)} <= set(before)
        kill(before[:1])  # cannot be replaced as yet
        assert {answer(port)[1] for _ in range(20)} == {before[1]}
        write(folder, "'two'")
        wait_until(lambda: len(server.workers) == 1, SECONDS)
        kill(before[1:])
        wait_until(lambda: len(server.workers) == WORKERS, SECONDS)
        assert {answer(port)[0] for _ in range(20)} == {"two"}


def test_a_release_that_loads_but_does_not_serve_leaves_the_old_processes(folder):
    with supervised(folder) as (server, port):
        before, loaded = server.workers, server.fork_servers
        defect = "start = close_connections = lambda self: os._exit(3)"
        text = (folder / "served.py").read_text()
        (folder / "served.py").write_text(text.replace("start = close_connections", defect, 1))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.fork_servers) == 2, SECONDS)
        wait_until(lambda: server.fork_servers == loaded, SECONDS)
        assert server.workers == before
        assert {answer(port)[0] for _ in range(20)} == {"one"}


def test_reloads_and_deaths_at_random_end_with_one_release(folder):
    chance = random.Random(14)
    with supervised(folder) as (server, port):
        for number in range(40):
            if number % 4 == 0:
                server.process.send_signal(signal.SIGHUP)
            victims = [*server.workers, *server.fork_servers]
            with suppress(ProcessLookupError):
                kill(chance.sample(victims, min(1, len(victims))))
            time.sleep(0.1)
        write(folder, "'last'")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: {(answer(port) or " ")[0] for _ in range(20)} == {"last"}, SECONDS)
        # All of them, also those whose parent has died.
        wait_until(lambda: processes_of_session(server) == 1 + 1 + WORKERS, SECONDS)
        assert len(server.fork_servers) == 1
        assert len(server.workers) == WORKERS


def test_a_signal_to_stop_to_all_processes_stops_them(folder):
    with supervised(folder) as (server, _):
        every = [server.process.pid, *server.fork_servers, *server.workers]
        for pid in every:
            with suppress(ProcessLookupError):  # the supervisor may have ended it by then
                os.kill(pid, signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        assert not any(map(is_running, every))


def test_threads_that_loading_the_application_has_started_are_reported(folder, capfd):
    text = (folder / "served.py").read_text()
    start = "import threading, time\n"
    start += "threading.Thread(target=time.sleep, args=[60], name='lost', daemon=True).start()\n"
    (folder / "served.py").write_text(start + text)
    with supervised(folder):
        pass
    assert "['lost']" in capfd.readouterr().err


def test_no_process_outlives_its_parent(folder):
    with supervised(folder) as (server, _):
        children = server.fork_servers + server.workers
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(map(is_running, children)), SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_with_all_its_processes(folder, number):
    with supervised(folder) as (server, _):
        children = server.fork_servers + server.workers
        os.killpg(server.process.pid, number)
        assert server.process.wait(SECONDS) == 0
        assert not any(map(is_running, children))
