"""Database processor time for each operation, of several databases by turns in one run (Linux).

    .venv/bin/python bench/database_cost.py one=URL three=URL [old=URL,FOLDER]

Each database has been filled by `bench/fill.py`; FOLDER is another revision of this project, whose
code is used for that database. The operations go through the whole application, in one process for
each database, but only the processor time of the database servers is counted: of all processes of
all nodes, for which the role has to be a superuser on this machine. The ratios are to the first.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2

HERE = Path(__file__).resolve()
WORK = "--work"
TICKS = os.sysconf("SC_CLK_TCK")
OWNERS, CHATS_OF_OWNER = 60, 10
# Places in /proc/PID/stat after the command's name: the parent, and the processor time of children
# that have ended, in ticks.
PARENT, OF_CHILDREN = 1, slice(13, 15)
OPERATIONS = (
    "append", "history", "list", "search", "phrase", "usage", "staff search", "staff list search",
)  # fmt: skip
WORDS = "train ticket refund garlic flight museum lawyer school driver calendar zeppelin".split()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("databases", nargs="+", metavar="NAME=URL[,FOLDER]")
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--times", type=int, default=100, help="of an operation in a round")
    arguments.add_argument("--only", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    given = arguments.parse_args()
    subjects = [Subject(*text.split("=", 1)) for text in given.databases]
    try:
        compare(subjects, given.only, given.rounds, given.times)
    finally:
        for subject in subjects:
            subject.process.terminate()


def compare(subjects: list[Subject], operations: Sequence[str], rounds: int, times: int) -> None:
    columns = [*(f"{subject.name} ms" for subject in subjects)]
    columns += [f"{subject.name} ratio" for subject in subjects[1:]]
    print(f"{'':18}" + "".join(f"{column:>14}" for column in columns))
    for operation in operations:
        turns = {subject.name: [subject.turn(operation, times)] for subject in subjects}
        for number in range(rounds):
            for subject in subjects[:: 1 if number % 2 else -1]:
                turns[subject.name].append(subject.turn(operation, times))
        costs = {name: costs[1:] for name, costs in turns.items()}  # the first warms caches
        medians = [statistics.median(costs[subject.name]) for subject in subjects]
        ratios = [
            statistics.median(b / a for a, b in zip(*pair, strict=True))
            for subject in subjects[1:]
            for pair in [(costs[subjects[0].name], costs[subject.name])]
        ]
        print(
            f"{operation:18}"
            + "".join(f"{value:14.3f}" for value in medians)
            + "".join(f"{value:14.2f}" for value in ratios),
            flush=True,
        )


class Subject:
    """A database, the process that asks it, and the processes that answer."""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        url, _, folder = place.partition(",")
        self.servers = servers_of(url)
        environment = os.environ | {
            "DATABASE_URL": url,
            "PYTHONPATH": folder or str(HERE.parent.parent),
            "CHATPROJECT_DATA": tempfile.mkdtemp(prefix="bench-"),
            "LOG_LEVEL": "ERROR",
            "ALLOWED_HOSTS": "testserver,localhost",
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(HERE), WORK],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self, operation: str, times: int) -> float:
        """Milliseconds of the database's processor time for each time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = processor_seconds(self.servers)
        self.process.stdin.write(f"{operation}\t{times}\n")
        self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise SystemExit(f"{self.name}: {operation} failed")
        return 1_000 * (processor_seconds(self.servers) - before) / times


def servers_of(url: str) -> set[int]:
    """The process ids of the server and, on a cluster, of those of the other nodes."""
    first_line = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"
    with psycopg2.connect(url) as link, link.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_extension WHERE extname = 'citus'")
        if cursor.fetchone() == (1,):
            cursor.execute("SELECT result FROM run_command_on_all_nodes(%s)", [first_line])
        else:
            cursor.execute(first_line)
        return {int(pid) for (pid,) in cursor.fetchall()}


def processor_seconds(servers: set[int]) -> float:
    """Of the servers' processes since they began, those that have ended included."""
    seconds = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            numbers = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(numbers[PARENT]) in servers:
                seconds += int((folder / "schedstat").read_text().split()[0]) / 1e9
            elif int(folder.name) in servers:
                seconds += sum(map(int, numbers[OF_CHILDREN])) / TICKS
    return seconds


def work() -> None:
    """Do what each line of standard input names, as often as it says, and answer with a line."""
    import django

    django.setup()
    operations = dict(made_operations(random.Random(3)))
    for line in sys.stdin:
        operation, times = line.split("\t")
        for _ in range(int(times)):
            operations[operation]()
        print("done", flush=True)


def made_operations(chance: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
    from django.contrib.auth.models import User
    from django.test import Client

    from conversations.models import Conversation
    from conversations.selectors.usage import usage_of
    from conversations.tests.factories import client_for

    root, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    browser = Client(SERVER_NAME="localhost")
    browser.force_login(root)
    staff = client_for(root)
    owners = list(User.objects.filter(username__startswith="owner-").order_by("pk")[:OWNERS])
    people = [
        (owner, client_for(owner), list(theirs.values_list("pk", flat=True)[:CHATS_OF_OWNER]))
        for owner in owners
        if (theirs := Conversation.objects.filter(user=owner, message_count__lt=100)).exists()
    ]

    def one_chat() -> tuple[Any, str]:
        _, client, chats = chance.choice(people)
        return client, f"/api/conversations/{chance.choice(chats)}/messages"

    def answered(response: Any) -> None:
        assert response.status_code < 300, response.content

    def append() -> None:
        client, path = one_chat()
        answered(client.post(path, {"role": "user", "content": "train to the museum"}))

    def history() -> None:
        client, path = one_chat()
        answered(client.get(path))

    def ask(path: str) -> None:
        answered(chance.choice(people)[1].get(path))

    def word() -> str:
        return chance.choice(WORDS)

    yield "append", append
    yield "history", history
    yield "list", lambda: ask("/api/conversations")
    yield "search", lambda: ask(f"/api/search?q={word()}")
    yield "phrase", lambda: ask(f'/api/search?q="{word()} {word()}"')
    yield "usage", lambda: usage_of(chance.choice(people)[0].pk)
    yield "staff search", lambda: answered(staff.get(f"/api/search?user_id=*&q={word()}"))
    yield (
        "staff list search",
        lambda: answered(browser.get(f"/admin/conversations/conversation/?q={word()}")),
    )


if __name__ == "__main__":
    work() if sys.argv[1:] == [WORK] else main()
