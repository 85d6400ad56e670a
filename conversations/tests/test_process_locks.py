"""Locks that processes hold: what others see of them, and what a fork and a kill leave."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conversations import process_locks
from conversations.process_locks import SharedServer, is_locked, lock, unlock

REPOSITORY = Path(__file__).resolve().parents[2]

HOLDER = """
import signal, sys
from pathlib import Path
from conversations.process_locks import lock
lock(Path(sys.argv[1]))
print("locked", flush=True)
signal.pause()
"""

# In a process of its own: the test runner has threads, which a fork does not suit.
FORKS = """
import os, signal, sys
from pathlib import Path
from conversations.process_locks import close, is_locked, lock
ready, tell = os.pipe()
held = lock(Path(sys.argv[1]))
if (idle := os.fork()) == 0:
    os.write(tell, b"x")
    signal.pause()
os.read(ready, 1)
close(held)  # as the kernel does when the process ends
assert not is_locked(Path(sys.argv[1]))
os.kill(idle, signal.SIGKILL)
print("done")
"""


class CountingServer(SharedServer):
    """Counts, and starts nothing."""

    starts = stops = 0

    def acquire(self):
        self._start_and_hold()

    def _start(self):
        self.starts += 1

    def _stop(self):
        self.stops += 1


def run(script, path):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_lock_is_seen_until_it_is_given_back(tmp_path):
    path = tmp_path / "a.lock"
    assert not is_locked(path)
    assert not path.exists()
    held = lock(path)
    assert is_locked(path)
    with pytest.raises(BlockingIOError):
        lock(path, wait=False)
    unlock(held)
    assert not is_locked(path)
    unlock(lock(path, wait=False))


def test_a_shared_lock_is_no_exclusive_one(tmp_path):
    path = tmp_path / "a.lock"
    first, second = lock(path, shared=True), lock(path, shared=True)
    assert not is_locked(path)
    with pytest.raises(BlockingIOError):
        lock(path, wait=False)
    unlock(first)
    unlock(second)


def test_a_killed_process_leaves_no_lock(tmp_path):
    process = run(HOLDER, tmp_path / "a.lock")
    assert process.stdout.readline() == "locked\n"
    assert is_locked(tmp_path / "a.lock")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not is_locked(tmp_path / "a.lock")


def test_a_forked_child_does_not_keep_the_locks_of_its_parent(tmp_path):
    process = run(FORKS, tmp_path / "a.lock")
    output, _ = process.communicate()
    assert (output, process.returncode) == ("done\n", 0)


def test_the_last_user_of_a_shared_server_stops_it(tmp_path):
    first, second = CountingServer(tmp_path), CountingServer(tmp_path)
    first.acquire()
    second.acquire()
    first.release()
    assert (first.is_held, first.stops) == (False, 0)
    second.release()
    assert (second.is_held, second.stops) == (False, 1)
    second.release()
    assert second.stops == 1


def test_a_shared_server_whose_folder_is_gone_is_released_all_the_same(tmp_path):
    server = CountingServer(tmp_path / "folder")
    server.directory.mkdir()
    server.acquire()
    for path in server.directory.iterdir():
        path.unlink()
    server.directory.rmdir()
    server.release()
    assert (server.is_held, server.stops) == (False, 0)


def test_the_settings_may_import_it():
    """Neither Django nor this project: the settings and the embedded servers come before both."""
    for node in ast.walk(ast.parse(Path(process_locks.__file__).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] not in {"django", "conversations", "chatproject"}, name
