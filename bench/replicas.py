"""Reads on a replica: whether each write is seen, what a dead one costs, and what moves there.

    python bench/replicas.py [--pairs 10000] [--requests 2000]

Starts a durable embedded PostgreSQL with a streaming standby and web servers on both, in temporary
folders, and removes all of it afterwards. First, clients write through one web server and read
through another, while the standby is killed and started again and its replay is stopped and
continued. Then the same reads are sent to servers with and without the replica.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import services
from bench.processor import Service
from chatproject import embedded_postgres
from conversations.tests.standby import Standby, standby_of

CLIENTS = 4
CONVERSATIONS, MESSAGES = 60, 60  # of each client's user
CALM, AWAY, PAUSED = 2.0, 1.5, 1.0  # seconds between disturbances, and of each
TICKS = os.sysconf("SC_CLK_TCK")
OPERATIONS = {
    "history page of 50": "/api/conversations/{chat}/messages?page_size=50",
    "list of 50 conversations": "/api/conversations?page_size=50",
    "search": "/api/search?q=message",
}

# Run in a process of its own, since it sets Django up.
SEED = """
import django, json
django.setup()
from django.db import connection
from conversations.services import SCRIPT, MessageDraft, append_drafts, create_conversation
from conversations.services import create_token, find_or_create_user
users = []
for number in range({clients}):
    user = find_or_create_user(f"user{{number}}")
    chats = [create_conversation(owner=user, title=f"Chat {{n}}")[0].pk for n in range({chats})]
    roles = ("user", "assistant")
    text = "message number {{}} with some words to read and search for, as people write them. "
    texts = [text.format(n) * 4 for n in range({messages})]
    drafts = [MessageDraft(role=roles[n % 2], content=text) for n, text in enumerate(texts)]
    for chat in chats:
        append_drafts(conversation_id=chat, drafts=drafts, access=SCRIPT)
    token = create_token(user=user, access=SCRIPT)[1]
    users.append({{"token": token, "chats": list(map(str, chats))}})
connection.cursor().execute("VACUUM ANALYZE")
print(json.dumps(users))
"""


class Client:
    """One user, with a kept-alive connection to each web server."""

    def __init__(self, user: dict[str, Any], ports: list[int]) -> None:
        self.chats: list[str] = user["chats"]
        self._headers = {"Authorization": f"Bearer {user['token']}"}
        self._connections = [http.client.HTTPConnection("127.0.0.1", port) for port in ports]

    def call(self, place: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = self._connections[place % len(self._connections)]
        text = None if body is None else json.dumps(body)
        headers = self._headers | ({"Content-Type": "application/json"} if text else {})
        connection.request(method, path, text, headers)
        with connection.getresponse() as reply:
            return reply.status, json.loads(reply.read())


class Pairs:
    """Clients that write, then read: how often, and what went wrong."""

    def __init__(self, clients: list[Client], count: int) -> None:
        self.counts: Counter[str] = Counter()
        self._clients, self._numbers = clients, itertools.count()
        self._count, self._lock = count, threading.Lock()

    def run(self) -> None:
        with ThreadPoolExecutor(len(self._clients)) as pool:
            for one in [pool.submit(self._work, client) for client in self._clients]:
                one.result()

    def _work(self, client: Client) -> None:
        while (number := next(self._numbers)) < self._count:
            outcome = self._pair(client, number)
            with self._lock:
                self.counts.update(outcome)

    def _pair(self, client: Client, number: int) -> list[str]:
        chat, text = random.choice(client.chats), f"pair {number}"
        path = f"/api/conversations/{chat}/messages"
        body = {"role": "user", "content": text, "id": str(uuid.uuid4())}
        status, written = client.call(number, "POST", path, body)
        if status != 201:
            return ["failed writes"]
        if number % 2:
            status, found = client.call(number + 1, "GET", f"{path}?order=desc&page_size=1")
            seen = status == 200 and found["messages"][0]["id"] == written["id"]
        else:
            status, found = client.call(number + 1, "GET", "/api/conversations?page_size=1")
            newest = found["conversations"][0] if status == 200 else {}
            seen = (newest.get("id"), newest.get("message_count")) == (chat, written["sequence"])
        return ["pairs", *([] if seen else ["failed reads" if status != 200 else "stale reads"])]


class Disturbance:
    """Kills the standby and stops its replay, in turn, until it is told to end."""

    def __init__(self, standby: Standby) -> None:
        self.counts: Counter[str] = Counter()
        self._standby, self._ended = standby, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Disturbance:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for disturb in itertools.cycle([self._kill, self._pause]):
            if self._ended.wait(CALM):
                return
            disturb()

    def _kill(self) -> None:
        self._standby.kill()
        time.sleep(AWAY)
        self._standby.start()
        self.counts["kills of the replica"] += 1

    def _pause(self) -> None:
        self._standby.rows("SELECT pg_wal_replay_pause()")
        time.sleep(PAUSED)
        self._standby.resume_replay()
        self.counts["stops of its replay"] += 1


def reads_on_replica(logs: list[Path], route: str = "api/") -> tuple[int, int]:
    """Of the successful reads in these logs, how many there are, and how many sent a statement to
    the replica."""
    count = there = 0
    for log in logs:
        for text in log.read_text().splitlines():
            line = json.loads(text) if text.startswith("{") else {}
            if line.get("method") == "GET" and str(line.get("route")).startswith(route):
                count += 1
                there += "replica_queries" in line
    return count, there


def lines_of(logs: list[Path], name: str) -> list[str]:
    """What this logger said."""
    found = []
    for log in logs:
        for text in log.read_text().splitlines():
            line = json.loads(text) if text.startswith("{") else {}
            if str(line.get("logger")).endswith(name):
                found.append(line["event"])
    return found


def measure_pairs(environment: dict[str, str], standby: Standby, users: Any, count: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="bench-replicas-") as folder:
        logs = [Path(folder, "one.log"), Path(folder, "other.log")]
        return _measure_pairs(environment, standby, users, count, logs)


def _measure_pairs(
    environment: dict[str, str], standby: Standby, users: Any, count: int, logs: list[Path]
) -> bool:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(services.ours(environment, 1, log)).port for log in logs]
        pairs = Pairs([Client(user, ports) for user in users], count)
        began = time.monotonic()
        with Disturbance(standby) as disturbance:
            pairs.run()
        seconds = time.monotonic() - began
    reads, there = reads_on_replica(logs)
    print(
        f"{pairs.counts['pairs']:,} write-then-read pairs in {seconds:.0f} s, {len(users)} clients"
    )
    for name in ("stale reads", "failed reads", "failed writes"):
        print(f"{pairs.counts[name]:6,} {name}")
    for name, number in disturbance.counts.items():
        print(f"{number:6,} {name}")
    print(f"{there:6,} of {reads:,} reads on the replica")
    said = Counter(line.partition(":")[0] for line in lines_of(logs, "replica_servers"))
    for line, number in said.items():
        print(f'{number:6,} log lines "{line}"')
    return pairs.counts["pairs"] == count and len(pairs.counts) == 1


def processor_seconds(postmaster: int) -> float:
    """Of a PostgreSQL server's processes that still run."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == postmaster:
                ticks += int(stat[11]) + int(stat[12])
    return ticks / TICKS


def measure_reads(
    name: str, environment: dict[str, str], pids: dict[str, int], users: Any, requests: int
) -> None:
    with services.ours(environment, 2) as service:
        clients = [Client(user, [service.port]) for user in users]
        for operation, path in OPERATIONS.items():
            _send(clients, path, requests // 10)
            before = {server: processor_seconds(pid) for server, pid in pids.items()}
            web, began = _web_seconds(service), time.monotonic()
            _send(clients, path, requests)
            seconds = time.monotonic() - began
            spent = {
                server: (processor_seconds(pid) - before[server]) / requests * 1000
                for server, pid in pids.items()
            }
            figures = " ".join(f"{value:9.2f}" for value in spent.values())
            each = (_web_seconds(service) - web) / requests * 1000
            print(f"{operation:26}{name:18}{each:9.2f} {figures} {requests / seconds:9.0f}")


def _web_seconds(service: Service) -> float:
    """Of the web processes alone."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) == service.pid:
                ticks += int(stat[11]) + int(stat[12])
    return ticks / TICKS


def _send(clients: list[Client], path: str, requests: int) -> None:
    def work(client: Client) -> None:
        for number in range(requests // len(clients)):
            chat = client.chats[number % len(client.chats)]
            status, _ = client.call(0, "GET", path.format(chat=chat))
            assert status == 200, status

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(work, clients))


@contextlib.contextmanager
def seeded() -> Iterator[tuple[dict[str, str], Any, Any]]:
    with services.database() as (environment, _):
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        subprocess.run(migrate, cwd=services.ROOT, env=environment, check=True)
        code = SEED.format(clients=CLIENTS, chats=CONVERSATIONS, messages=MESSAGES)
        env = environment | {"DJANGO_SETTINGS_MODULE": "chatproject.settings"}
        seed = [sys.executable, "-c", code]
        done = subprocess.run(seed, cwd=services.ROOT, env=env, check=True, stdout=subprocess.PIPE)
        folder = Path(environment["CHATPROJECT_DATA"]) / "postgres"
        yield environment, embedded_postgres.server_at(folder), json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=2_000, help="of each kind")
    arguments = parser.parse_args()
    with seeded() as (environment, primary, users), standby_of(primary, "bench") as standby:
        standby.catch_up()
        with_replica = environment | {
            "DATABASE_REPLICA_URLS": standby.url(services.OUR_DATABASE),
        }
        good = measure_pairs(with_replica, standby, users, arguments.pairs)
        print(f"\n{'CPU ms per request':44}{'web':>9} {'primary':>9} {'replica':>9} {'req/s':>9}")
        pids = {"primary": primary._pid(), "replica": standby.pid}
        measure_reads("primary alone", environment, pids, users, arguments.requests)
        measure_reads("with the replica", with_replica, pids, users, arguments.requests)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
