"""An application that streams its answer by PATCH, watched from two servers, through kill -9.

    .venv/bin/python bench/streaming_writer.py [--pieces 600] [--rate 20] [--cost]

One writer, three readers on two servers, one of which leaves and comes back; the writer is killed
and started again after a third of the answer, a server is killed after two thirds. Checks that the
stored text and that of each reader are what was written, and tells how long after a piece was sent
a reader had it. `--cost` instead writes answers of several lengths in pieces of 50 characters, in
this process and without HTTP, and tells what a write costs as the answer grows.

Runs on a database of its own in a temporary folder.
"""

from __future__ import annotations

import argparse
import importlib
import random
import statistics
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PIECE = 50  # characters, with --cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, default=600)
    parser.add_argument("--rate", type=float, default=20, help="pieces a second")
    parser.add_argument("--cost", action="store_true", help="of a write, by length")
    options = parser.parse_args()
    # The tests' own choice of a database, which it also removes at the end.
    importlib.import_module("conftest")
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    if options.cost:
        tell_costs()
    else:
        stream(options.pieces, 1 / options.rate)
    connection.close()


def stream(count: int, seconds: float) -> None:
    from django.db import connection

    from conversations.models import Message
    from conversations.tests.chat.scripted_provider import ScriptedProvider
    from conversations.tests.chat.servers import serving
    from conversations.tests.chat.streaming_writer import Reader, text_written, writing
    from conversations.tests.factories import make_token, make_user

    alice = make_user("bench")
    token, answer, whole = make_token(alice), opened(alice), text_written(count)
    path = f"/api/conversations/{answer['conversation_id']}/messages/{answer['id']}"
    connection.close()
    with ScriptedProvider() as provider, serving(provider) as one, serving(provider) as other:
        urls = [one.url, other.url]
        readers = [
            Reader(token, answer["id"], urls),
            Reader(token, answer["id"], urls[::-1]),
            Reader(token, answer["id"], urls[::-1], leaves_after=5),
        ]
        with writing(token, path, urls, count=count, seconds=seconds) as writer:
            sent = read(writer, until=len(whole) / 3)
        with writing(token, path, urls, count=count, seconds=seconds) as writer:
            sent += read(writer, until=len(whole) * 2 / 3)
            one.kill()
            sent += read(writer)
        for reader in readers:
            reader.join(30)
    message = Message.objects.get(id=answer["id"])
    assert (message.content, message.status) == (whole, "complete")
    print(f"{count} pieces, {len(whole):,} characters, as written; {len(sent)} acknowledged")
    for name, reader in zip("abc", readers, strict=True):
        assert reader.text == whole
        assert len({event.id for event in reader.events}) == len(reader.events)
        report(f"reader {name}, joined {reader.joined}x, {len(reader.events)} events", sent, reader)


def opened(user: Any) -> dict[str, Any]:
    from conversations.services import MessageDraft, append_drafts
    from conversations.tests.factories import access_of, make_conversation

    draft = MessageDraft(role="assistant", status="streaming")
    chat = make_conversation(user)
    return append_drafts(conversation_id=chat.pk, drafts=[draft], access=access_of(user))[0][0]


def read(writer: subprocess.Popen[str], until: float = float("inf")) -> list[tuple[int, float]]:
    """(characters stored, time sent) of the pieces that the writer tells, up to that length."""
    found: list[tuple[int, float]] = []
    assert writer.stdout is not None
    while (not found or found[-1][0] < until) and (line := writer.stdout.readline()):
        offset, sent = line.split()
        found.append((int(offset), float(sent)))
    return found


def report(title: str, sent: list[tuple[int, float]], reader: Any) -> None:
    waits = [
        next(at for length, at in reader.times if length >= offset) - then for offset, then in sent
    ]
    ordered = sorted(wait * 1000 for wait in waits)
    high = ordered[int(len(ordered) * 0.95)]
    print(
        f"{title}: has a piece after {statistics.median(ordered):.0f} ms (median), "
        f"{high:.0f} ms (95 %), {ordered[-1]:.0f} ms (longest)"
    )


def tell_costs() -> None:
    from conversations.services.application_turns import write_answer
    from conversations.tests.factories import access_of, make_user

    alice, text = make_user("bench"), random_words(100_000)
    backend = int(ask("SELECT pg_backend_pid()"))
    for count in (160, 20, 160, 600, 2_000):  # the first one warms up
        answer, offset, took, wal = opened(alice), 0, [], wal_bytes()
        for _ in range(count):
            began = cpu_ms(backend)
            state = write_answer(
                conversation_id=answer["conversation_id"],
                message_id=answer["id"],
                changes={"append": {"content": text[offset : offset + PIECE]}, "offset": offset},
                access=access_of(alice),
            )
            took.append(cpu_ms(backend) - began)
            offset = state["offset"]
        tenth = count // 10
        print(
            f"{offset:>7,} characters in {count:>5,} writes: {sum(took) / 1000:5.2f} s of CPU, "
            f"{statistics.mean(took[:tenth]):5.2f} ms a write at the begin, "
            f"{statistics.mean(took[-tenth:]):5.2f} ms at the end; "
            f"{(wal_bytes() - wal) / 1e6:6.1f} MB of WAL"
        )


def cpu_ms(backend: int) -> float:
    """CPU time of this process and of its database session so far. Linux only."""
    spent = int(Path(f"/proc/{backend}/schedstat").read_text().split()[0])
    return time.process_time() * 1000 + spent / 1e6


def ask(sql: str) -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def random_words(length: int) -> str:
    """Text that PostgreSQL compresses worse than prose."""
    chance = random.Random(1)
    words = [
        "".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 9)))
        for _ in range(5_000)
    ]
    return " ".join(chance.choices(words, k=length // 3))[:length]


def wal_bytes() -> int:
    return int(ask("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))


if __name__ == "__main__":
    main()
