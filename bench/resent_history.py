"""What it costs to find the new end of a history that a client sends whole with each request.

    .venv/bin/python -m bench.resent_history [--times 40]

Starts an embedded PostgreSQL in a temporary folder and fills conversations through the services: of
10 to 10,000 messages, all of which are sent; one of 100,000 of which the last 100 are sent; the
same 100 with nothing that names the conversation, and in a conversation with branches. Prints what
it takes from the parsed body to the stored question and empty answer, in milliseconds: the median
and the shortest time, the median processor time of this process and its database session together
(Linux), which other work on the machine does not make longer, and the statements. Exits with 1
where the processor time for 100 messages is above LIMIT.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.services import database

LIMIT = 10.0
SIZES = (10, 100, 1_000, 10_000)
LONG, WINDOW = 100_000, 100
WORDS = "The quick brown fox jumps over the lazy dog while it rains in the old town. " * 6
BATCH = 1_000

Json = dict[str, Any]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--times", type=int, default=40, help="of each request")
    given = arguments.parse_args()
    with database() as (environment, _):
        os.environ.update(environment)
        os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
        return measure(given.times)


def measure(times: int) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    print(f"{'':28}{'median ms':>11}{'best ms':>9}{'processor ms':>14}{'statements':>12}")
    within = True
    for label, request in requests():
        costs, statements = timed(request, times)
        passed, processor = [cost[0] for cost in costs], [cost[1] for cost in costs]
        median, taken = statistics.median(passed), statistics.median(processor)
        figures = f"{median:11.2f}{min(passed):9.2f}{taken:14.2f}{statements:12}"
        print(f"{label:28}{figures}", flush=True)
        within &= not (label.startswith("100 ") and taken > LIMIT)
    return 0 if within else 1


def requests() -> list[tuple[str, Callable[[], Any]]]:
    """What is measured: each call is a request that goes on with its conversation."""
    from conversations.services import find_or_create_user

    owner = find_or_create_user("bench")
    found = []
    for size in SIZES:
        history = texts(size)
        fill(owner, f"{size}", history)
        found.append((f"{size:,} sent of {size:,}", request(owner, history, str(size))))
    history = texts(LONG)
    fill(owner, "long", history)
    found.append((f"{WINDOW} sent of {LONG:,}", request(owner, history[-WINDOW:], "long")))
    history = texts(WINDOW)
    fill(owner, "branches", history)
    for _ in range(50):
        request(owner, [*history[:40], {"role": "user", "content": "Else?"}], "branches")()
    ask = request(owner, history, "branches")
    ask()  # shows another branch from now on
    found.append((f"{WINDOW} sent, 51 branches", ask))
    ask = request(owner, history, None)
    ask()
    found.append((f"{WINDOW} sent, unnamed", ask))
    return found


def texts(count: int) -> list[Json]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"{n} {WORDS}"} for n in range(count)]


def fill(owner: Any, name: str, history: list[Json]) -> None:
    from conversations.formats import MessageDraft
    from conversations.services import SCRIPT, append_drafts, create_conversation

    chat, _ = create_conversation(owner=owner, external_id=name)
    for start in range(0, len(history), BATCH):
        batch = history[start : start + BATCH]
        drafts = [
            MessageDraft(**each, provider="p" if each["role"] == "assistant" else "")
            for each in batch
        ]
        append_drafts(conversation_id=chat.pk, drafts=drafts, access=SCRIPT)


def request(owner: Any, history: list[Json], name: str | None) -> Callable[[], Any]:
    """Asks one more question each time, and has it answered."""
    from conversations.formats.sent_messages import sent_messages
    from conversations.models import Message
    from conversations.services.recorded_turns import NamedChat, begin_recorded_turn

    sent = list(history)
    chat = NamedChat(name=name)

    def ask() -> tuple[float, float]:
        question = {"role": "user", "content": f"Question {len(sent)}?"}
        body = [*sent, question]
        begun, processor = time.perf_counter(), processor_ms()
        turn, _ = begin_recorded_turn(
            owner=owner, chat=chat, drafts=sent_messages(body), provider="p", model="m"
        )
        took, processor = time.perf_counter() - begun, processor_ms() - processor
        Message.objects.filter(id=turn.id).update(status="complete", content="An answer.")
        sent.extend([question, {"role": "assistant", "content": "An answer."}])
        return took * 1000, processor

    return ask


def processor_ms() -> float:
    """Of this process and of its database session so far."""
    from django.db import connection

    session = connection.connection.info.backend_pid
    schedule = Path(f"/proc/{session}/schedstat").read_text()
    return time.process_time() * 1_000 + int(schedule.split()[0]) / 1e6


def timed(
    ask: Callable[[], tuple[float, float]], times: int
) -> tuple[list[tuple[float, float]], int]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as seen:
        ask()
    sql = [each["sql"] for each in seen if "conversations_" in each["sql"]]
    return [ask() for _ in range(times)], len(sql) - 1  # without the end of the answer


if __name__ == "__main__":
    sys.exit(main())
