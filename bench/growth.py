"""What requests cost as work grows: `make growth`, or `python -m bench.growth --help`.

    length  appends and pages of conversations of 10 to 100,000 messages
    owner   lists and new conversations of owners with 10 to 100,000 conversations
    total   searches and pages of staff among 10^4 to 5*10^6 messages of everybody
    memory  of a web process over 10^5 requests, and with 1,000 open streams

Each fills a database in a temporary folder, serves it as `quickstart` does with one web process,
and sends whole requests over one connection to all sizes by turns, in short rounds. What is printed
are medians of the rounds; a ratio is the median of the rounds' own ratios to the smallest size.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2

from bench import growth_memory, growth_requests, load, services
from bench.growth_requests import Requests
from bench.plots import tables_of
from bench.processor import Service

# Of each size, how many conversations or owners there are: each round asks for others, so that what
# is appended spreads over them.
LENGTHS = {10: 20, 1_000: 20, 100_000: 4}
OWNERS = {10: 20, 100: 20, 1_000: 10, 10_000: 2, 100_000: 1}
TOTALS = (10_000, 1_000_000, 5_000_000)
IN_A_ROUND = 4  # conversations
# What `bench/fill.py` makes: one conversation of 5,000 messages, others of 10, 20 for each owner.
LONGEST, PER_CONVERSATION, PER_OWNER = 5_000, 10, 20


@dataclass(frozen=True, slots=True)
class Subject:
    """One size: who is asked, and the requests of each round, which are used in turn."""

    size: int
    service: Service
    rounds: list[Requests]


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of a request: processor time of the web process and its database sessions, and
    the median time until the answer."""

    cpu: float
    wall: float


Costs = dict[str, dict[int, list[Cost]]]  # of each operation and size, one for each round
Result = dict[str, Any]


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not Path("/proc/self/stat").exists():
        raise SystemExit("Processor time is read from /proc, which this system does not have.")
    for name in options.commands:
        began, busy = time.monotonic(), os.getloadavg()[0]
        result = {**COMMANDS[name](options), "made": _made(name, busy, time.monotonic() - began)}
        print("\n\n".join(tables_of(name, result)), flush=True)
        if options.json:
            _update(options.json, name, result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="update the results in FILE")
    parser.add_argument(
        "--sizes", type=_sizes, metavar="N,N", default=[], help="of one command, instead of its own"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a size in a round")
    parser.add_argument("--requests", type=int, default=100_000, help="of `memory`")
    parser.add_argument("--streams", type=int, default=1_000, help="of `memory`, open at once")
    parser.add_argument("--folder", type=Path, help="keep the databases of `total` there")
    options = parser.parse_args()
    options.commands = options.commands or list(COMMANDS)
    for name in options.commands:
        if name not in COMMANDS:
            parser.error(f"there is no command {name!r}: {', '.join(COMMANDS)}")
    if options.sizes and (len(options.commands) > 1 or options.commands == ["memory"]):
        parser.error("--sizes is for one command: length, owner or total")
    if options.commands == ["total"] and options.sizes and options.sizes[0] < min(TOTALS):
        parser.error(f"--sizes of total are {min(TOTALS):,} messages or more")
    return options


def _sizes(text: str) -> list[int]:
    sizes = sorted(int(size) for size in text.split(","))
    if sizes[0] < 1:
        raise ValueError
    return sizes


def _of_length(options: argparse.Namespace) -> Result:
    sizes = {size: LENGTHS.get(size, IN_A_ROUND) for size in options.sizes} or LENGTHS
    with _serving("length", sizes) as (service, made):
        subjects = []
        for size, chats in made.items():
            each = [
                growth_requests.on_conversation(service.port, chat["token"], chat["id"], size)
                for chat in chats
            ]
            rounds = [
                {name: [one for of in some for one in of[name]] for name in some[0]}
                for some in (each[i : i + IN_A_ROUND] for i in range(0, len(each), IN_A_ROUND))
            ]
            subjects.append(Subject(size, service, rounds))
        return _measured(subjects, options)


def _of_owner(options: argparse.Namespace) -> Result:
    sizes = {size: OWNERS.get(size, 2) for size in options.sizes} or OWNERS
    with _serving("owner", sizes) as (service, made):
        subjects = []
        for size, owners in made.items():
            rounds = [growth_requests.of_owner(service.port, one["token"], size) for one in owners]
            subjects.append(Subject(size, service, rounds))
        return _measured(subjects, options)


def _of_total(options: argparse.Namespace) -> Result:
    with contextlib.ExitStack() as stack:
        environment, dsn = stack.enter_context(services.database(options.folder))
        subjects = []
        for size in options.sizes or TOTALS:
            name = f"growth_{size}"
            own, made = _filled(environment, dsn, name, size)
            service = replace(stack.enter_context(services.ours(own, 1)), database=name)
            rounds = growth_requests.among_all(service.port, made)
            subjects.append(Subject(size, service, rounds))
        found = _measured(subjects, options)
        return found | {"bytes": {one.size: _bytes(dsn, one.service.database) for one in subjects}}


def _memory(options: argparse.Namespace) -> Result:
    return growth_memory.measured(options.requests, options.streams)


COMMANDS = {"length": _of_length, "owner": _of_owner, "total": _of_total, "memory": _memory}


@contextlib.contextmanager
def _serving(what: str, sizes: dict[int, int]) -> Iterator[tuple[Service, dict[int, Any]]]:
    """A web process on a database that is filled so, and what there is of each size."""
    with services.database() as (environment, _):
        services.migrate(environment)
        made = services.filled(environment, what, sizes)
        with services.ours(environment, 1) as service:
            yield service, {int(size): of_size for size, of_size in made.items()}


def _filled(
    environment: dict[str, str], dsn: str, name: str, messages: int
) -> tuple[dict[str, str], Any]:
    """The environment of a database of so many messages, and what there is. One that is kept and
    was filled before is used again."""
    server = dict(field.split("=", 1) for field in dsn.split())
    own = environment | {
        "DATABASE_URL": "postgres://{user}@/{name}?host={host}&port={port}".format(
            **server | {"name": name}
        )
    }
    noted = Path(environment["CHATPROJECT_DATA"]) / f"{name}.json"
    if not noted.exists():
        services.create_database(dsn, name)
        conversations = max(1, (messages - LONGEST) // PER_CONVERSATION + 1)
        owners = max(1, conversations // PER_OWNER)
        command = [sys.executable, "bench/fill.py"]
        command += [f"--conversations={conversations}", f"--owners={owners}"]
        subprocess.run(command, cwd=services.ROOT, env=own, check=True, stdout=subprocess.DEVNULL)
        noted.write_text(json.dumps(services.filled(own, "total", {})))
    return own, json.loads(noted.read_text())


def _measured(subjects: list[Subject], options: argparse.Namespace) -> Result:
    operations = list(dict.fromkeys(name for one in subjects for name in one.rounds[0]))
    asked = {name: [one for one in subjects if name in one.rounds[0]] for name in operations}
    costs: Costs = {name: {one.size: [] for one in asked[name]} for name in operations}
    for number in range(-1, options.rounds):  # the first one warms caches
        for name in operations:
            for subject in asked[name][:: 1 if number % 2 else -1]:
                cost = _cost(subject, name, number, options.seconds)
                if number >= 0:
                    costs[name][subject.size].append(cost)
        _say(f"Round {number + 1} of {options.rounds}")
    rows = [row for name in operations for row in rows_of(name, costs[name])]
    return {"rows": rows, "sizes": [one.size for one in subjects]}


def _cost(subject: Subject, operation: str, number: int, seconds: float) -> Cost:
    requests = subject.rounds[number % len(subject.rounds)][operation]
    before = subject.service.processor_seconds()
    found = load.run(subject.service.port, [one.text.encode() for one in requests], seconds, 1)
    cpu = subject.service.processor_seconds() - before
    return Cost(1_000 * cpu / found["answers"], 1_000 * statistics.median(found["latencies"]))


def rows_of(operation: str, costs: dict[int, list[Cost]]) -> list[Result]:
    """A row for each size, ascending; the ratios are to the first."""
    sizes = sorted(costs)
    rows = []
    for size in sizes:
        row: Result = {"operation": operation, "size": size}
        for kind in ("cpu", "wall"):
            first = [getattr(cost, kind) for cost in costs[sizes[0]]]
            each = [getattr(cost, kind) for cost in costs[size]]
            ratios = [b / a for a, b in zip(first, each, strict=True) if a]
            row[f"{kind}_ms"] = round(statistics.median(each), 3)
            row[f"{kind}_ratio"] = round(statistics.median(ratios), 3) if ratios else None
        rows.append(row)
    return rows


def _bytes(dsn: str, name: str) -> int:
    with contextlib.closing(psycopg2.connect(dsn)) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(%s)", [name])
        [(size,)] = cursor.fetchall()
        return int(size)


def _made(name: str, busy: float, seconds: float) -> Result:
    given = [one for one in sys.argv[1:] if one not in COMMANDS]
    kept = [
        one
        for place, one in enumerate(given)
        if not one.startswith(("--json", "--folder"))
        and (not place or given[place - 1] not in ("--json", "--folder"))
    ]
    return {
        "command": shlex.join(["python", "-m", "bench.growth", name, *kept]),
        "on": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": [round(busy, 1), round(os.getloadavg()[0], 1)],
    }


def _update(path: Path, name: str, result: Result) -> None:
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(found | {name: result}, indent=1) + "\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
