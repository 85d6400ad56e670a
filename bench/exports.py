"""The rate of an export, compared with a bare COPY of the same rows, in one run.

On data of `fill.py`, in the database of DATABASE_URL or, without one, of CHATPROJECT_DATA:

    .venv/bin/python bench/exports.py --rounds 3 --formats jsonl openai csv --jobs 2

Each round copies the tables of conversations, messages and reviews to a file with `COPY … TO`,
without the search index, which no export has, and then exports them in each format, with `--jobs`
database sessions where the format can use them. The CPU time is that of this process and of its
database sessions; the second needs Linux and a local server.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import django

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
django.setup()

from django.db import connection  # noqa: E402

from conversations.formats import WRITERS  # noqa: E402
from conversations.models import Conversation, Message, Review  # noqa: E402
from conversations.services import SCRIPT, export_conversations  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
BARE = "bare COPY"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--formats", nargs="+", default=["jsonl"], choices=sorted(WRITERS))
    arguments.add_argument("--jobs", type=int, default=1)
    given = arguments.parse_args()
    messages = Message.objects.count()
    print(f"{messages:,} messages, {Conversation.objects.count():,} conversations")
    figures: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(given.rounds):
        figures[BARE].append(measured(copy))
        for name in given.formats:
            figures[name].append(measured(partial(export, name, given.jobs)))
    print(f"{'':12}{'seconds':>9}{'messages/s':>12}{'of COPY':>9}{'CPU s':>8}{'of COPY':>9}")
    for name, rounds in figures.items():
        seconds, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        pairs = list(zip(figures[BARE], rounds, strict=True))
        ratio, cpu_ratio = (
            statistics.median(bare[at] / own[at] for bare, own in pairs) for at in (0, 1)
        )
        rate = messages / seconds
        print(f"{name:12}{seconds:9.2f}{rate:12,.0f}{ratio:9.0%}{cpu:8.2f}{cpu_ratio:9.0%}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"highest memory of this process: {peak:.0f} MB")


def measured(write: Callable[[IO[bytes]], None]) -> tuple[float, float]:
    """Seconds, and seconds of CPU time."""
    with TemporaryFile() as file:
        started, used = time.perf_counter(), time.process_time() + session_seconds()
        write(file)
        file.flush()
        seconds = time.perf_counter() - started
        return seconds, time.process_time() + session_seconds() - used


def session_seconds() -> float:
    """CPU time of the database session and of all that have ended; 0 where it cannot be read."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    try:
        session = _stat(pid)
        server = _stat(int(session[1]))
    except OSError:
        return 0.0
    return sum(map(int, (*session[11:13], *server[13:15]))) / TICKS


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent and so on, see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def copy(file: IO[bytes]) -> None:
    with connection.cursor() as cursor:
        for model in (Conversation, Message, Review):
            options: Any = model._meta
            columns = ", ".join(field.column for field in options.concrete_fields)
            cursor.cursor.copy_expert(f"COPY {options.db_table} ({columns}) TO STDOUT", file)


def export(file_format: str, jobs: int, file: IO[bytes]) -> None:
    rows = Conversation.objects.all()
    for piece in export_conversations(
        conversations=rows, file_format=file_format, access=SCRIPT, jobs=jobs
    ):
        file.write(piece.encode())


if __name__ == "__main__":
    main()
