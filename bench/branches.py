"""Pages and appends in conversations with and without branches, by turns in one run.

    .venv/bin/python -m bench.branches [--rounds 15] [--times 40]

Starts an embedded PostgreSQL in a temporary folder and fills three conversations through the
services: (a) a line of 100 messages, (b) a line of 100,000, (c) 100,000 messages in 1,000 branches
that are nested 50 deep, of which the deepest one of the last chain is active. Then whole requests
run in this process (Django's test client, with authentication): the first, the middle and the last
page of the active path, and an append. Prints the median processor time of each, of this process
and its database session together (Linux), and the median of the ratios to (a) of the rounds; the
same for the time that passed, which other work on the machine makes longer; the statements of a
request, and how many sequential scans PostgreSQL made. Exits with 1 where the processor time is
above LIMIT times (a), for more statements than in (a), or for a scan.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.services import database

LIMIT = 1.2
SHORT, LONG = 100, 100_000
DEEP, CHAINS, IN_A_BRANCH = 50, 20, 100
PAGE = 50
SCANS = "SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE relname ~ '_(message|branch)$'"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--times", type=int, default=40, help="of a request in a round")
    given = arguments.parse_args()
    with database() as (environment, _):
        os.environ.update(environment)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
            "ALLOWED_HOSTS": "testserver",
        }
        return measure(given.rounds, given.times)


def measure(rounds: int, times: int) -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    begun = time.monotonic()
    subjects = made_subjects()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    print(f"Filled in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    failed = False
    columns = 3 * f"{'cpu ms':>9}" + 2 * f"{'to (a)':>8}" + 3 * f"{'ms':>8}" + 2 * f"{'to (a)':>8}"
    print(f"{'':12}{'statements':>12}{'scans':>7}" + columns)
    for name in subjects[0].requests:
        counts = [counted(subject.requests[name]) for subject in subjects]
        spent: list[list[Spent]] = [[] for _ in subjects]
        for number in range(rounds + 1):
            order = list(enumerate(subjects))
            for place, subject in order[:: 1 if number % 2 else -1]:
                spent[place].append(timed(subject.requests[name], times))
        costs = [each[1:] for each in spent]  # the first round warms caches
        cpu, worst = compared([[each.cpu for each in one] for one in costs])
        passed, _ = compared([[each.passed for each in one] for one in costs])
        scans = sum(scanned for _, scanned in counts)
        statements = [count for count, _ in counts]
        print(f"{name:12}{'/'.join(map(str, statements)):>12}{scans:7d}{cpu}{passed}", flush=True)
        failed |= scans > 0 or worst > LIMIT or max(statements) > statements[0]
    return int(failed)


@dataclass
class Subject:
    requests: dict[str, Callable[[], Any]]


@dataclass
class Spent:
    """Milliseconds of one request: processor time, and time that passed."""

    cpu: float
    passed: float


def compared(costs: list[list[float]]) -> tuple[str, float]:
    """The medians and the ratios to the first as columns, and the highest ratio."""
    ratios = [
        statistics.median(b / a for a, b in zip(costs[0], each, strict=True)) for each in costs[1:]
    ]
    medians = "".join(f"{statistics.median(each):9.2f}" for each in costs)
    return medians + "".join(f"{ratio:8.2f}" for ratio in ratios), max(ratios)


def timed(request: Callable[[], Any], times: int) -> Spent:
    begun, cpu = time.perf_counter(), processor_ms()
    for _ in range(times):
        request()
    passed = 1_000 * (time.perf_counter() - begun)
    return Spent((processor_ms() - cpu) / times, passed / times)


def processor_ms() -> float:
    """Of this process and its database session, since they began."""
    from django.db import connection

    session = connection.connection.info.backend_pid
    schedule = Path(f"/proc/{session}/schedstat").read_text()
    return 1_000 * time.process_time() + int(schedule.split()[0]) / 1e6


def counted(request: Callable[[], Any]) -> tuple[int, int]:
    """The statements of a request, and the sequential scans that they made."""
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    with transaction.atomic(), connection.cursor() as cursor:
        with CaptureQueriesContext(connection) as captured:
            request()
        cursor.execute(SCANS)
        scans = int(cursor.fetchone()[0] or 0)
        transaction.set_rollback(True)
    return sum("SAVEPOINT" not in one["sql"] for one in captured), scans


def made_subjects() -> list[Subject]:
    from conversations.tests.factories import client_for, fill, make_conversation, make_user

    owner = make_user("bench")
    client = client_for(owner)
    subjects = []
    for length in (SHORT, LONG):
        chat = make_conversation(owner)
        fill(chat, length)
        subjects.append(Subject(requests_on(client, chat.pk, length)))
    chat = make_conversation(owner)
    for _ in range(CHAINS):
        grow(chat)
    length = IN_A_BRANCH // 2 * (DEEP - 1) + IN_A_BRANCH
    subjects.append(Subject(requests_on(client, chat.pk, length)))
    return subjects


def grow(chat: Any) -> None:
    """A chain of branches, each forked from the middle of the one before."""
    from conversations.formats import MessageDraft
    from conversations.services import SCRIPT, append_drafts

    parent: Any = "root"
    for _ in range(DEEP):
        drafts = [MessageDraft(role="user", content=f"message {i}") for i in range(IN_A_BRANCH)]
        rows, _ = append_drafts(
            conversation_id=chat.pk,
            drafts=drafts,
            parents=[parent] + [None] * (IN_A_BRANCH - 1),
            access=SCRIPT,
        )
        parent = rows[IN_A_BRANCH // 2 - 1]["id"]


def requests_on(client: Any, key: Any, length: int) -> dict[str, Callable[[], Any]]:
    path = f"/api/conversations/{key}/messages"

    def read(url: str) -> Callable[[], Any]:
        def request() -> Any:
            page = client.get(url).json()
            assert len(page["messages"]) == PAGE, page
            return page

        return request

    def append() -> None:
        response = client.post(path, {"role": "user", "content": "Hello"})
        assert response.status_code == 201, response.content

    page = read(path)()
    for _ in range(length // PAGE // 2 - 1):  # as a client that has paged to the middle
        page = read(page["next"])()
    return {
        "first page": read(path),
        "middle page": read(page["next"]),
        "last page": read(f"{path}?order=desc"),
        "append": append,
    }


if __name__ == "__main__":
    sys.exit(main())
