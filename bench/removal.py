"""Appends over HTTP while conversations are purged, emptied and erased: how long does each wait?

    .venv/bin/python -m bench.removal [--conversations 20000] [--long 100000] [--writers 4]

Starts a durable embedded PostgreSQL in a temporary folder and two web processes on loopback, and
fills it: conversations of ten messages over a year, and one owner with a conversation of 100,000
messages that is due. Writers append all the time: to conversations of their own, to another one of
that owner, and now and then to one that is due. Meanwhile the commands run as an operator runs
them. Exits with 1 if an append waited longer than a second or was not answered as it has to be.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from bench.changes import Client
from bench.services import OUR_DATABASE, ROOT, database, ours

MANAGE = [sys.executable, "manage.py"]
LONG_OWNER = "owner-000000"
QUIET_SECONDS = 10
# Upper ends of the buckets, in milliseconds.
BUCKETS = (10, 25, 50, 100, 250, 500, 1_000)
LIMIT = 1_000
PHASES = {
    "nothing else": None,
    "purge_conversations --older-than 300d": ["purge_conversations", "--older-than", "300d"],
    "apply_retention (empties after 150 days)": ["apply_retention"],
    "purge_conversations --older-than 100d": ["purge_conversations", "--older-than", "100d"],
    "erase_user (much data)": ["erase_user", "owner-000001"],
}

_LONG = """
WITH chat AS (
    INSERT INTO conversations_conversation (id, user_id, title, source, model_used, metadata,
        message_count, last_sequence, pinned, legal_hold, created_at, updated_at)
    SELECT gen_random_uuid(), id, 'Long', 'bench', '', '{{}}', {count}, {count}, false, false,
        now() - interval '{days} days', now() - interval '{days} days'
    FROM auth_user WHERE username = '{owner}'
    RETURNING id, user_id
)
INSERT INTO conversations_message (id, user_id, conversation_id, sequence, role, content, provider,
    model, status, metadata, created_at, updated_at)
SELECT gen_random_uuid(), user_id, id, n, CASE n % 2 WHEN 0 THEN 'assistant' ELSE 'user' END,
    'Message ' || n || ' of a long conversation about ' || md5(n::text), '', '', 'complete', '{{}}',
    now() - interval '{days} days', now() - interval '{days} days'
FROM chat, generate_series(1, {count}) AS n
"""
_RULE = """
INSERT INTO conversations_retentionrule (id, name, act, days, model_used, tag, namespace,
    keep_pinned, active, created_at)
VALUES (gen_random_uuid(), 'bench', 'empty', 150, '', '', '', true, true, now())
"""
_DUE = """
SELECT id::text FROM conversations_conversation WHERE updated_at < now() - interval '{} days'
    AND message_count < 100 ORDER BY random() LIMIT 500
"""


@dataclass
class Writer:
    """Appends until it is told to end; milliseconds of each append, and how it was answered."""

    client: Client
    targets: list[str]
    due: list[str]
    waits: list[float] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    def run(self, end: threading.Event, number: int) -> None:
        chance = random.Random(number)
        while not end.is_set():
            pool = self.due if self.due and chance.random() < 0.05 else self.targets
            path = f"/conversations/{chance.choice(pool)}/messages"
            began = time.perf_counter()
            status, _ = self.client.ask("POST", path, {"role": "user", "content": "Hello"})
            self.waits.append((time.perf_counter() - began) * 1_000)
            # One that was due may be gone by now.
            self.answers[status] += 1
            time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--long", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=4)
    options = parser.parse_args()
    with database() as (environment, dsn):
        count = f"--conversations={options.conversations}"
        fill = [sys.executable, "bench/fill.py", count, "--owners=500"]
        subprocess.run(fill, cwd=ROOT, env=environment, check=True)
        made = subprocess.run(
            [*MANAGE, "create_token", "bench", "--trusted"],
            cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        own = dsn.replace("dbname=baseline", f"dbname={OUR_DATABASE}")
        with contextlib.closing(psycopg2.connect(own)) as session:
            session.autocommit = True
            cursor = session.cursor()
            for owner, days in [(LONG_OWNER, 310), (LONG_OWNER, 200), ("owner-000001", 50)]:
                long = {"owner": owner, "days": days, "count": options.long}
                cursor.execute(_LONG.format(**long))
            cursor.execute(_RULE)
            cursor.execute("ANALYZE")
            with ours(environment, workers=2) as service:
                failed = run(service.port, made.stdout.strip(), environment, cursor, options)
    sys.exit(1 if failed else 0)


def run(port: int, token: str, environment: dict[str, str], cursor: Any, options: Any) -> bool:
    client = Client(port, token)
    targets = [
        client.done("POST", "/conversations", {"user_id": user, "title": "Live"})["id"]
        for user in [LONG_OWNER, *(f"writer-{number}" for number in range(options.writers))]
    ]
    failed = False
    for name, command in PHASES.items():
        days = next((int(word[:-1]) for word in command or [] if word[:-1].isdigit()), 150)
        cursor.execute(_DUE.format(days))
        due = [key for (key,) in cursor.fetchall()] if command else []
        writers = [Writer(Client(port, token), targets, due) for _ in range(options.writers)]
        end = threading.Event()
        with ThreadPoolExecutor(options.writers) as pool:
            working = [pool.submit(one.run, end, place) for place, one in enumerate(writers)]
            began = time.monotonic()
            try:
                said = _work(command, environment)
            finally:
                end.set()
            for one in working:
                one.result()
        failed |= report(name, time.monotonic() - began, said, writers)
    return failed


def _work(command: list[str] | None, environment: dict[str, str]) -> str:
    if command is None:
        time.sleep(QUIET_SECONDS)
        return ""
    done = subprocess.run(
        [*MANAGE, *command], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    return done.stderr


def report(name: str, seconds: float, said: str, writers: list[Writer]) -> bool:
    waits = sorted(wait for one in writers for wait in one.waits)
    answers = sum((one.answers for one in writers), Counter())
    counts = [0] * (len(BUCKETS) + 1)
    for wait in waits:
        counts[bisect_left(BUCKETS, wait)] += 1
    print(f"{name}: {seconds:.0f} s, {len(waits):,} appends, answers {dict(answers)}")
    for line in said.splitlines():
        if "deleted" in line or "emptied" in line or "Erased" in line:
            print(f"    {line}")
    labels = [*(f"<= {bound} ms" for bound in BUCKETS), f"> {LIMIT} ms"]
    shown = ", ".join(f"{label}: {count:,}" for label, count in zip(labels, counts, strict=True))
    print(f"    {shown}; longest {waits[-1]:.0f} ms", flush=True)
    return bool(counts[-1]) or not set(answers) <= {201, 404}


if __name__ == "__main__":
    main()
