"""The feed of changes under writers: does each reader see every change once, in the right order?

    .venv/bin/python -m bench.changes [--writers 16] [--seconds 30]

Starts a durable embedded PostgreSQL in a temporary folder and two web processes on loopback.
Writers create, fill, rename and delete conversations over HTTP; three readers follow the feed at
different paces and stop in the middle of a page now and then, to go on from the last change that
they had processed. At the end everything that was acknowledged has to be in the feed, all readers
have to have seen the rows of the database, once each and in order, and a copy that is built from
the feed has to equal the database. Exits with 1 where something differs.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from bench.services import OUR_DATABASE, ROOT, database, ours

OWNERS = 6
# Name, page size, pause after a page in seconds, the longest wait, pages between two crashes.
READERS = [
    ("waiting", 1_000, 0.0, 10, 15),
    ("every 50 ms", 100, 0.05, 0, 12),
    ("every 300 ms", 400, 0.3, 0, 5),
]

Json = dict[str, Any]


class Client:
    """A trusted client, on one connection that is kept."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        text = None if body is None else json.dumps(body)
        self._connection.request(method, f"/api{path}", text, self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def done(self, method: str, path: str, body: Json | None = None) -> Json:
        status, answer = self.ask(method, path, body)
        if status not in (200, 201):
            raise SystemExit(f"{method} {path}: {status} {answer}")
        return answer


@dataclass
class Writer:
    """Writes to conversations of its own and to one that all share; counts what is confirmed."""

    number: int
    client: Client
    shared: str
    counts: dict[str, int] = field(default_factory=dict)
    messages: set[tuple[str, int]] = field(default_factory=set)

    def run(self, end: float) -> None:
        chance = random.Random(self.number)
        mine: list[str] = []
        while time.monotonic() < end:
            kind = chance.random()
            if kind < 0.1 or not mine:
                body = {"user_id": f"user-{self.number % OWNERS}", "title": "Chat"}
                mine.append(self._do("created", "POST", "/conversations", body)["id"])
            elif kind < 0.85:
                self._append(chance.choice([*mine, self.shared]), chance.choice([1, 1, 1, 20]))
            elif kind < 0.92:
                changes = {"title": f"Chat {chance.random()}"}
                self._do("changed", "PATCH", f"/conversations/{chance.choice(mine)}", changes)
            elif kind < 0.96:
                self._delete_a_message(chance.choice(mine))
            else:
                key = mine.pop(chance.randrange(len(mine)))
                self._do("deleted", "DELETE", f"/conversations/{key}")

    def _append(self, key: str, count: int) -> None:
        body = {"messages": [{"role": "user", "content": "Hello"}] * count}
        stored = self._do("appended", "POST", f"/conversations/{key}/messages", body)["messages"]
        self.messages |= {(key, message["sequence"]) for message in stored}

    def _delete_a_message(self, key: str) -> None:
        path = f"/conversations/{key}/messages"
        messages = self.client.done("GET", f"{path}?page_size=1")["messages"]
        if messages:
            self._do("message deleted", "DELETE", f"{path}/{messages[0]['id']}")

    def _do(self, name: str, *request: Any) -> Json:
        answer = self.client.done(*request)
        self.counts[name] = self.counts.get(name, 0) + 1
        return answer


@dataclass
class Reader:
    """Follows the feed; what it has processed, and how often it began again."""

    name: str
    connect: Callable[[], Client]
    size: int
    pause: float
    wait: int
    pages_to_crash: int
    seen: list[Json] = field(default_factory=list)
    restarts: int = 0

    def run(self, done: threading.Event) -> None:
        client, pages, after = self.connect(), 0, 0
        while True:
            was_done = done.is_set()
            wait = 0 if was_done else self.wait
            query = f"after={after}&page_size={self.size}&wait={wait}"
            page = client.done("GET", f"/changes?{query}")
            changes, after, pages = page["changes"], page["next_cursor"], pages + 1
            if pages % self.pages_to_crash == 0 and len(changes) > 1:
                changes = changes[: len(changes) // 2]
                client, after = self.connect(), changes[-1]["cursor"]
                self.restarts += 1
            self.seen += changes
            if was_done and not page["changes"]:
                return
            time.sleep(self.pause)


def rebuilt(seen: list[Json]) -> dict[str, set[int]]:
    """A copy: the sequences of each conversation. Raises where the order makes no sense."""
    chats: dict[str, set[int]] = {}
    for change in seen:
        key, kind = change["conversation_id"], change["type"]
        if kind == "conversation.created":
            assert key not in chats, change
            chats[key] = set()
        elif kind == "conversation.deleted":
            del chats[key]
        elif kind == "message.created":
            chats[key] |= set(range(change["first_sequence"], change["last_sequence"] + 1))
        elif kind == "message.deleted":
            chats[key].remove(change["first_sequence"])
        else:
            assert key in chats, change
    return chats


def stored(cursor: Any) -> dict[str, set[int]]:
    cursor.execute(
        "SELECT chat.id::text, array_remove(array_agg(message.sequence), NULL)"
        " FROM conversations_conversation chat LEFT JOIN conversations_message message"
        " ON (message.user_id, message.conversation_id) = (chat.user_id, chat.id) GROUP BY chat.id"
    )
    return {key: set(sequences) for key, sequences in cursor.fetchall()}


def check(readers: list[Reader], writers: list[Writer], cursor: Any) -> list[str]:
    """What differs from what it has to be; nothing where all is well."""
    cursor.execute("SELECT count(*) FROM conversations_pendingchange")
    problems = ["changes without a position"] if cursor.fetchone()[0] else []
    cursor.execute("SELECT position FROM conversations_change ORDER BY position")
    positions = [position for (position,) in cursor.fetchall()]
    if positions != list(range(1, len(positions) + 1)):
        problems.append("the positions have gaps")
    there = stored(cursor)
    written = set().union(*(writer.messages for writer in writers))
    for reader in readers:
        if [change["cursor"] for change in reader.seen] != positions:
            problems.append(f"{reader.name}: not every change, once and in order")
        if rebuilt(reader.seen) != there:
            problems.append(f"{reader.name}: the copy differs from the database")
        told = {
            (change["conversation_id"], sequence)
            for change in reader.seen
            if change["type"] == "message.created"
            for sequence in range(change["first_sequence"], change["last_sequence"] + 1)
        }
        if told != written:
            problems.append(f"{reader.name}: {len(written ^ told)} messages differ")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with database() as (environment, dsn):
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "--verbosity=0"], cwd=ROOT, env=environment, check=True)
        command = [*manage, "create_token", "bench", "--trusted"]
        made = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        with ours(environment, workers=2) as service:

            def connect() -> Client:
                return Client(service.port, made.stdout.strip())

            problems = run(connect, dsn, options.writers, options.seconds)
    for problem in problems:
        print("DIFFERS:", problem)
    sys.exit(1 if problems else 0)


def run(connect: Callable[[], Client], dsn: str, count: int, seconds: float) -> list[str]:
    body = {"user_id": "user-0", "title": "Shared"}
    shared = connect().done("POST", "/conversations", body)["id"]
    writers = [Writer(number, connect(), shared) for number in range(count)]
    readers = [
        Reader(name, connect, size, pause, wait, pages)
        for name, size, pause, wait, pages in READERS
    ]
    done = threading.Event()
    with ThreadPoolExecutor(count + len(readers)) as pool:
        reading = [pool.submit(reader.run, done) for reader in readers]
        end = time.monotonic() + seconds
        for writing in [pool.submit(writer.run, end) for writer in writers]:
            writing.result()
        done.set()
        for one in reading:
            one.result()
    own = dsn.replace("dbname=baseline", f"dbname={OUR_DATABASE}")
    with contextlib.closing(psycopg2.connect(own)) as session:
        problems = check(readers, writers, session.cursor())
    report(readers, writers, seconds)
    return problems


def report(readers: list[Reader], writers: list[Writer], seconds: float) -> None:
    total: dict[str, int] = {}
    for writer in writers:
        for name, count in writer.counts.items():
            total[name] = total.get(name, 0) + count
    writes = sum(total.values())
    print(f"{writes:,} writes of {len(writers)} writers in {seconds:.0f} s: {total}")
    print(f"{sum(len(writer.messages) for writer in writers):,} messages")
    for reader in readers:
        counts = f"{len(reader.seen):,} changes, {reader.restarts} restarts"
        print(f"reader, {reader.name}: {counts}")


if __name__ == "__main__":
    main()
