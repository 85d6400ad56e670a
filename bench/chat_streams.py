"""What an open stream costs: time to its first events, and memory, on one web worker.

    .venv/bin/python bench/chat_streams.py [--streams 100] [--turns 20]

Runs on a database of its own in a temporary folder, against a scripted model over real HTTP.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100, help="open at once")
    parser.add_argument("--turns", type=int, default=20, help="one after the other")
    options = parser.parse_args()
    # The tests' own choice of a database, which it also removes at the end.
    importlib.import_module("conftest")
    measure(options.streams, options.turns)


def measure(streams: int, turns: int) -> None:
    from django.core.management import call_command
    from django.db import connection

    from conversations.services import SCRIPT, create_token, find_or_create_user
    from conversations.tests.chat.scripted_provider import ScriptedProvider
    from conversations.tests.chat.servers import serving

    call_command("migrate", verbosity=0)
    token = create_token(user=find_or_create_user("bench"), access=SCRIPT)[1]
    connection.close()
    with ScriptedProvider() as provider, serving(provider) as server:
        client = server.client(token)
        client.ask("the first turn of a process imports the agent library")
        one_by_one(client, provider, turns)
        many_at_once(client, provider, server.workers, streams)
    connection.close()


def one_by_one(client: Any, provider: Any, turns: int) -> None:
    from conversations.tests.chat.scripted_behaviours import says

    provider.always(says("Hello", " there"))
    firsts = [first_times(client) for _ in range(turns)]
    report("one stream at a time", firsts)


def many_at_once(client: Any, provider: Any, workers: list[int], streams: int) -> None:
    from conversations.tests.chat.scripted_behaviours import says

    gate = threading.Event()
    provider.always(says("Hello", gate, *[" there"] * 20))
    before = memory_of(workers)
    with ThreadPoolExecutor(streams) as pool:
        firsts = [pool.submit(first_times, client, gate) for _ in range(streams)]
        provider.wait_for(lambda: provider.running >= streams, 60)
        time.sleep(2)
        during = memory_of(workers)
        gate.set()
        report(f"{streams} streams at once", [first.result() for first in firsts])
    kilobytes = (during - before) / streams
    print(f"memory       {kilobytes:,.0f} KB a stream ({before:,} to {during:,} KB in the worker)")


def first_times(client: Any, gate: threading.Event | None = None) -> tuple[float, float]:
    """Milliseconds to the `start` event and to the first delta; reads the stream to its end."""
    times: dict[str, float] = {}
    began = time.perf_counter()
    for event in client.stream("Hi"):
        times.setdefault(event.name, (time.perf_counter() - began) * 1000)
    return times["start"], times["delta"]


def memory_of(pids: list[int]) -> int:
    """Kilobytes of memory that these processes alone have."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1])
    return total


def report(title: str, firsts: list[tuple[float, float]]) -> None:
    for name, values in zip(("start", "delta"), zip(*firsts, strict=True), strict=True):
        ordered = sorted(values)
        median, high = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
        print(f"{title}: first {name:5} median {median:7.1f} ms, 95 % within {high:7.1f} ms")


if __name__ == "__main__":
    main()
