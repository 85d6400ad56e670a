"""Import and export of a large file, against PostgreSQL's COPY of the same rows, in one run.

    .venv/bin/python -m bench.imports [--messages 200000] [--format json] [--export]

Starts a durable embedded PostgreSQL in a temporary folder, writes a file of conversations of
PER_CONVERSATION messages, and imports it with `import_conversations`, a process of its own. The
rows that it stored are then copied out, the tables emptied, and the same rows copied into the same
tables, with their indexes, constraints and triggers, by one COPY a table: that is the reference.
Before each of them the tables hold BASE messages of another user and are analyzed: of tables that
were analyzed while they were empty, PostgreSQL checks foreign keys by whichever index.
A second reference has no triggers and no foreign keys to check (`session_replication_role`), and
the search vectors as they were computed before. Prints messages a second of each, the processor
seconds of the command and of its database session (Linux), which other work on the machine changes
less, the ratios by both, and the largest memory of the command's process. `--export` also compares
`export_conversations` with `COPY … TO` of both tables.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.services import ROOT, database

PER_CONVERSATION = 10
BASE = 2_000
TABLES = ("conversations_conversation", "conversations_message")
EMPTY = f"TRUNCATE {', '.join(TABLES)}, conversations_pendingchange CASCADE"
# Words as they are distributed in text: few are common, most are rare.
SYLLABLES = "ka lo mi ren ta su vel dor an pe shi gra to nu fi bel cor ma zu hin".split()
WORDS = 20_000
WORDS_OF_QUESTION, WORDS_OF_ANSWER = 15, 70


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=200_000)
    arguments.add_argument("--format", choices=("json", "openai"), default="json")
    arguments.add_argument("--export", action="store_true", help="compare exports too")
    given = arguments.parse_args()
    with database() as (environment, _):
        os.environ |= environment | {"DJANGO_SETTINGS_MODULE": "chatproject.settings"}
        return measure(given, Path(environment["CHATPROJECT_DATA"]))


def measure(given: argparse.Namespace, folder: Path) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    path = folder / f"chats.{given.format}.jsonl"
    write_file(path, given.messages // PER_CONVERSATION, given.format)
    base = folder / f"base.{given.format}.jsonl"
    write_file(base, BASE // PER_CONVERSATION, given.format)
    run(folder, *("import_conversations", str(base), "--format", given.format, "--user", "base"))
    analyze()
    print(f"{given.messages:,} messages, {path.stat().st_size / 1e6:,.0f} MB of {given.format}")
    print(f"{'':22}{'messages/s':>12}{'seconds':>10}{'CPU s':>10}")
    command = ("import_conversations", str(path), "--format", given.format, "--user", "bench")
    taken = show("import_conversations", given.messages, run(folder, *command))
    if given.export:
        compare_exports(given.messages, folder)
    show("COPY", given.messages, copied(folder, bare=False), "import", taken)
    show("COPY, no triggers", given.messages, copied(folder, bare=True), "import", taken)
    return 0


def compare_exports(messages: int, folder: Path) -> None:
    path = folder / "exported.jsonl"
    command = ("export_conversations", "--format", "json", "-o", str(path), "--user", "bench")
    taken = run(folder, *command)
    show("export_conversations", messages, taken)
    with processor(folder) as reference:
        for table in TABLES:
            copy_out(folder, table, columns_of(table, search=False), "bench")
    show("COPY … TO", messages, reference, "export", taken)


@dataclass
class Taken:
    """Seconds, seconds of the processor, and the largest memory in MB."""

    seconds: float = 0
    cpu: float = 0
    memory: float | None = None


def show(
    name: str, messages: int, taken: Taken, compared: str = "", with_: Taken | None = None
) -> Taken:
    text = f"{name:22}{messages / taken.seconds:12,.0f}{taken.seconds:10.1f}{taken.cpu:10.1f}"
    if taken.memory is not None:
        text += f"   {taken.memory:,.0f} MB"
    if with_ is not None:
        text += f"   {compared} at {taken.seconds / with_.seconds:.0%} of its rate"
        text += f", {taken.cpu / with_.cpu:.0%} by CPU" if with_.cpu else ""
    print(text, flush=True)
    return taken


@contextmanager
def processor(folder: Path) -> Iterator[Taken]:
    """What a block of this process takes, with the database session that it begins and ends."""
    from django.db import connection

    taken = Taken()
    connection.close()
    before, own, begun = ended_sessions(folder), time.process_time(), time.perf_counter()
    yield taken
    taken.seconds = time.perf_counter() - begun
    connection.close()
    taken.cpu = time.process_time() - own + ended_sessions(folder) - before


def run(folder: Path, *command: str) -> Taken:
    """Run a command of the project in a process of its own."""
    before, begun = ended_sessions(folder), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with status {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime + ended_sessions(folder) - before
    return Taken(seconds, cpu, usage.ru_maxrss / 1024)


def ended_sessions(folder: Path) -> float:
    """Processor seconds of the database's processes that have ended; 0 where nothing tells."""
    time.sleep(0.5)  # a session ends after its client has closed the connection
    try:
        pid = (folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0]
        numbers = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(numbers[13]) + int(numbers[14])) / os.sysconf("SC_CLK_TCK")


def copied(folder: Path, *, bare: bool) -> Taken:
    """Copy the stored rows out, empty the tables, copy the rows in: what the last takes."""
    from django.db import connection

    columns = {table: columns_of(table, search=bare) for table in TABLES}
    for user in ("base", "bench"):
        for table in TABLES:
            copy_out(folder, table, columns[table], user)
    with connection.cursor() as cursor:
        cursor.execute(EMPTY)
        copy_in(cursor, folder, columns, "base")
        cursor.execute("CHECKPOINT")
    analyze()
    with processor(folder) as taken, connection.cursor() as cursor:
        cursor.execute(f"SET session_replication_role = {'replica' if bare else 'origin'}")
        cursor.execute("BEGIN")
        copy_in(cursor, folder, columns, "bench")
        cursor.execute("COMMIT")
    return taken


def analyze() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(TABLES)}")


def copy_in(cursor: Any, folder: Path, columns: dict[str, str], user: str) -> None:
    for table in TABLES:
        with path_of(folder, table, user).open("rb") as file:
            cursor.copy_expert(f"COPY {table} ({columns[table]}) FROM STDIN", file)


def copy_out(folder: Path, table: str, columns: str, user: str) -> None:
    from django.db import connection

    rows = (
        f"SELECT {columns} FROM {table}"
        f" WHERE user_id = (SELECT id FROM auth_user WHERE username = '{user}')"
    )
    with connection.cursor() as cursor, path_of(folder, table, user).open("wb") as file:
        cursor.copy_expert(f"COPY ({rows}) TO STDOUT", file)


def path_of(folder: Path, table: str, user: str) -> Path:
    return folder / f"{table}.{user}.copy"


def columns_of(table: str, *, search: bool) -> str:
    """Those of the table; a trigger computes the search vector, unless it is copied too."""
    from django.db import connection

    with connection.cursor() as cursor:
        found = connection.introspection.get_table_description(cursor, table)
    return ", ".join(column.name for column in found if search or column.name != "search")


def write_file(path: Path, conversations: int, file_format: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in made_lines(conversations, file_format):
            file.write(json.dumps(line) + "\n")


def made_lines(conversations: int, file_format: str) -> Iterator[dict[str, Any]]:
    chance = random.Random(7)
    words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(WORDS)]
    weights = [1 / place for place in range(1, WORDS + 1)]
    text = Text(chance, words, weights)
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    for number in range(conversations):
        at = begin + timedelta(minutes=number)
        made = [made_message(text, place, at) for place in range(PER_CONVERSATION)]
        line: dict[str, Any] = {"id": f"chat-{number}", "messages": made}
        if file_format == "json":
            line |= {"title": text.of(4), "created_at": at.isoformat()}
            for place, message in enumerate(made):
                message["created_at"] = (at + timedelta(seconds=20 * place)).isoformat()
        yield line


def made_message(text: Text, place: int, at: datetime) -> dict[str, Any]:
    if place % 2 == 0:
        return {"role": "user", "content": text.of(WORDS_OF_QUESTION)}
    return {"role": "assistant", "content": text.of(WORDS_OF_ANSWER)}


class Text:
    def __init__(
        self, chance: random.Random, words: Sequence[str], weights: Sequence[float]
    ) -> None:
        self._chance = chance
        # Drawn from one long sample: drawing each word by its weight takes longer than the import.
        self._sample = chance.choices(words, weights, k=500_000)

    def of(self, words: int) -> str:
        many = self._chance.randint(words // 2, words * 3 // 2)
        begin = self._chance.randrange(len(self._sample) - many)
        return " ".join(self._sample[begin : begin + many])


if __name__ == "__main__":
    sys.exit(main())
