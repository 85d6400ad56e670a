"""Which processes are known to be dead: those of this machine that are, and no others."""

import os
import shutil
import subprocess
import sys
import uuid
from contextlib import contextmanager

from django.conf import settings

from conversations.chat.runtime import process_liveness as liveness
from conversations.models import Message
from conversations.process_locks import is_locked

HOLD = """
import sys
from pathlib import Path
from django.conf import settings
settings.configure(DATA_DIR=Path(sys.argv[1]))
from conversations.chat.runtime.process_liveness import announce
print(announce(), flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(data):
    """A process that runs turns, killed at the end: its name."""
    command = [sys.executable, "-c", HOLD, str(data)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=settings.BASE_DIR, **pipes) as process:
        yield process.stdout.readline().strip()
        process.kill()


def test_a_process_of_this_machine_is_known_to_be_dead_once_it_is(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    with another_process(tmp_path) as name:
        assert not liveness.is_dead(name)
        assert len(name) == Message._meta.get_field("runner").max_length
    assert liveness.is_dead(name)
    assert not liveness.is_dead(liveness.announce())
    for unknown in ("unknown", "", name[:16], f"../runners/{name}"):
        assert not liveness.is_dead(unknown)


def test_a_copy_of_another_machines_data_folder_tells_nothing(settings, tmp_path):
    original, settings.DATA_DIR = tmp_path / "original", tmp_path / "copy"
    with another_process(original) as name:
        shutil.copytree(original, settings.DATA_DIR)
        (file,) = (settings.DATA_DIR / "runners").iterdir()
        # It looks just like that of a process that has ended.
        assert not is_locked(file)
        assert not liveness.is_dead(name)


def test_a_folder_shared_with_another_kernel_tells_nothing(settings, tmp_path, monkeypatch):
    settings.DATA_DIR = tmp_path
    with another_process(tmp_path) as name:
        pass
    assert liveness.is_dead(name)
    boot_id = tmp_path / "boot_id"
    monkeypatch.setattr(liveness, "BOOT_ID", boot_id)
    assert not liveness.is_dead(name)  # a system that has no such number
    boot_id.write_text(str(uuid.uuid4()))
    assert not liveness.is_dead(name)


def test_a_process_that_can_write_no_file_runs_turns_too(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "file"
    settings.DATA_DIR.touch()
    assert not liveness.is_dead(liveness.announce())


def test_files_of_earlier_processes_are_removed(settings, tmp_path, monkeypatch):
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(liveness, "_KEPT", 2)
    with another_process(tmp_path) as alive:
        (file,) = (tmp_path / "runners").iterdir()
        os.utime(file, (0, 0))
        for number in (1, 2, 3):
            (tmp_path / "runners" / f"{number}").touch()  # such as before this boot
            os.utime(tmp_path / "runners" / f"{number}", (number, number))
        name = liveness.announce()
        assert not liveness.is_dead(alive)
        kept = {file.name for file in (tmp_path / "runners").iterdir()}
    assert kept == {alive[:16], "3", name[:16]}
