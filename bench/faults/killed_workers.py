"""Appends with keys while web processes are killed, or all of them are reloaded.

    .venv/bin/python -m bench.faults.killed_workers [--seconds 60]            # one a second
    .venv/bin/python -m bench.faults.killed_workers --reload [--seconds 60]   # every 5 seconds

16 clients append to conversations that they share and send again, with the same key, what was not
answered. Ends with status 1 if an acknowledged message is lost, doubled or out of order, or an
answer was neither 201 (200 where it is a repeated one) nor 503 with Retry-After.
"""

from __future__ import annotations

import argparse
import http.client
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

CLIENTS, CONVERSATIONS, RELOAD_SECONDS = 16, 4, 5


@dataclass
class Outcome:
    """What the clients saw."""

    # Of each conversation, the id and the sequence of each acknowledged message.
    acknowledged: dict[str, dict[str, int]]
    statuses: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reload", action="store_true", help="instead of kill -9")
    options = parser.parse_args()
    # The tests' own choice of a database, which it also removes at the end.
    importlib.import_module("conftest")
    sys.exit(run(options.seconds, reload=options.reload))


def run(seconds: float, *, reload: bool) -> int:
    from django.core.management import call_command
    from django.db import connection

    from conversations.services import SCRIPT, create_token, find_or_create_user
    from conversations.services.conversations import create_conversation
    from conversations.tests.chat.scripted_provider import ScriptedProvider
    from conversations.tests.chat.servers import serving

    call_command("migrate", verbosity=0)
    owner = find_or_create_user("client")
    token = create_token(user=owner, access=SCRIPT)[1]
    chats = [str(create_conversation(owner=owner)[0].id) for _ in range(CONVERSATIONS)]
    outcome = Outcome({chat: {} for chat in chats})
    with ScriptedProvider() as provider:
        quiet = {"LOG_LEVEL": "CRITICAL"}
        with serving(provider, workers=2, threads=5, **quiet) as server:
            disturb(server, seconds, reload, token, outcome)
            faults = differences(outcome)
    connection.close()
    return 1 if faults else 0


def disturb(server: Any, seconds: float, reload: bool, token: str, outcome: Outcome) -> None:
    over, count, end = threading.Event(), 0, time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as pool:
        writing = [pool.submit(write, server, token, outcome, over) for _ in range(CLIENTS)]
        while time.monotonic() < end:
            time.sleep(RELOAD_SECONDS if reload else 1)
            with suppress(ProcessLookupError, IndexError):
                if reload:
                    server.process.send_signal(signal.SIGHUP)
                else:
                    os.kill(random.choice(server.workers), signal.SIGKILL)
                count += 1
        over.set()
        for one in writing:
            one.result()
    print(f"{count} {'reloads' if reload else 'processes killed'} in {seconds:.0f} s")


def write(server: Any, token: str, outcome: Outcome, over: threading.Event) -> None:
    """One message after the other, each until it is acknowledged."""
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    while not over.is_set():
        chat, key = random.choice(list(outcome.acknowledged)), uuid.uuid4().hex
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        body = json.dumps({"role": "user", "content": key})
        began = time.monotonic()
        while True:
            try:
                connection.request("POST", f"/api/conversations/{chat}/messages", body, headers)
                answer = connection.getresponse()
                found = json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                outcome.statuses["connection lost"] += 1
                connection.close()
                continue
            outcome.statuses[status_of(answer)] += 1
            if answer.status in (200, 201):
                break
            time.sleep(0.2)
        outcome.acknowledged[chat][found["id"]] = found["sequence"]
        outcome.longest = max(outcome.longest, time.monotonic() - began)


def status_of(answer: http.client.HTTPResponse) -> str:
    retry = answer.headers.get("Retry-After")
    return f"{answer.status}" + (" with Retry-After" if retry else "")


def differences(outcome: Outcome) -> int:
    """Prints the counts; how many faults there are."""
    from conversations.models import Message

    lost = doubled = disordered = 0
    for chat, acknowledged in outcome.acknowledged.items():
        stored = Message.objects.filter(conversation_id=chat).order_by("sequence")
        rows = [(str(id_), sequence) for id_, sequence in stored.values_list("id", "sequence")]
        texts = Counter(stored.values_list("content", flat=True))
        lost += len(acknowledged.keys() - dict(rows).keys())
        doubled += sum(count - 1 for count in texts.values())
        disordered += sum(dict(rows).get(id_) != place for id_, place in acknowledged.items())
        disordered += [sequence for _, sequence in rows] != list(range(1, len(rows) + 1))
    total = sum(map(len, outcome.acknowledged.values()))
    print(f"{total:,} messages acknowledged, the slowest after {outcome.longest:.1f} s")
    print(f"{lost} lost, {doubled} doubled, {disordered} out of order")
    print("answers:", dict(outcome.statuses))
    allowed = {"200", "201", "503 with Retry-After", "connection lost"}
    return lost + doubled + disordered + len(outcome.statuses.keys() - allowed)


if __name__ == "__main__":
    main()
