"""Fills a database with conversations by COPY, for the benchmarks that need many.

`.venv/bin/python bench/fill.py --conversations 100000` makes ten messages in each, spread over
a year, and one conversation of 5,000, in the database of DATABASE_URL or, without one, of
CHATPROJECT_DATA.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from uuid_utils.compat import uuid7  # noqa: E402

PER_CONVERSATION, LONGEST = 10, 5_000
DAYS = 365
AT_ONCE = 2_000
WORDS = (
    "train ticket refund station morning invoice server deploy error timeout database index "
    "recipe garlic butter window garden holiday flight hotel weather storm island museum paint "
    "budget contract lawyer doctor medicine allergy school homework physics planet orbit engine "
    "battery charger cable printer driver update password account email calendar meeting agenda"
).split()
# One in 500 conversations has it: what a search for something uncommon looks for.
UNCOMMON = "zeppelin"
MODELS = [("ollama", "llama3.2"), ("ollama", "qwen2.5:7b"), ("openai", "gpt-4o-mini")]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--conversations", type=int, default=100_000)
    arguments.add_argument("--owners", type=int, default=5_000)
    given = arguments.parse_args()
    call_command("migrate", verbosity=0)
    started = time.perf_counter()
    fill(given.conversations, make_owners(given.owners))
    print(f"filled in {time.perf_counter() - started:.0f} s")


def make_owners(count: int) -> list[int]:
    names = [User(username=f"owner-{number:06}", password="!") for number in range(count)]
    User.objects.bulk_create(names, ignore_conflicts=True, batch_size=1_000)
    owners = User.objects.filter(username__startswith="owner-")
    return list(owners.values_list("pk", flat=True)[:count])


def fill(conversations: int, owners: list[int]) -> None:
    """In order of time, as they are written in service. The index of words is built at the end: row
    by row it takes several times as long."""
    chance = random.Random(5)
    times = times_of(conversations)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS message_search_idx")
        for start in range(0, conversations, AT_ONCE):
            places = range(start, min(start + AT_ONCE, conversations))
            chats = [
                made_chat(chance, owners, next(times), PER_CONVERSATION if place else LONGEST)
                for place in places
            ]
            copy(cursor, "conversations_conversation", CHAT_COLUMNS, (chat for chat, _ in chats))
            rows = (
                row | {"user_id": chat["user_id"]} for chat, messages in chats for row in messages
            )
            copy(cursor, "conversations_message", MESSAGE_COLUMNS, rows)
            print(f"\r{start + len(chats):,} conversations", end="", file=sys.stderr)
        cursor.execute("SET maintenance_work_mem = '512MB'")
        cursor.execute(
            "CREATE INDEX message_search_idx ON conversations_message USING gin (search)"
        )
        cursor.execute("VACUUM ANALYZE")


CHAT_COLUMNS = (
    "id user_id title model_used metadata tags message_count last_sequence pinned legal_hold "
    "source created_at updated_at"
).split()
MESSAGE_COLUMNS = (
    "id user_id conversation_id sequence role content tool_calls tool_call_id provider model "
    "detected_mode status error prompt_tokens completion_tokens latency_ms first_token_ms rating "
    "metadata created_at updated_at"
).split()

Row = dict[str, Any]


def times_of(conversations: int) -> Iterator[datetime]:
    """When each begins: even distances over the days until now."""
    began, distance = datetime.now(UTC) - timedelta(days=DAYS), timedelta(days=DAYS) / conversations
    return (began + place * distance for place in range(conversations))


def made_chat(
    chance: random.Random, owners: list[int], began: datetime, length: int
) -> tuple[Row, list[Row]]:
    key, model = uuid7(), chance.choice(MODELS)
    uncommon = chance.random() < 0.002
    messages = [
        made_message(chance, key, place, began + timedelta(seconds=20 * place), model, uncommon)
        for place in range(1, length + 1)
    ]
    chat = {
        "id": key, "user_id": chance.choice(owners), "title": said(chance, 5), "source": "bench",
        "model_used": model[1], "metadata": "{}", "tags": "{}", "message_count": length,
        "last_sequence": length, "pinned": False, "legal_hold": chance.random() < 0.001,
        "created_at": began, "updated_at": messages[-1]["created_at"],
    }  # fmt: skip
    return chat, messages


def made_message(
    chance: random.Random, chat: Any, place: int, at: datetime, model: tuple[str, str], odd: bool
) -> Row:
    role = {2: "assistant", 3: "tool"}.get(place, "user" if place % 2 else "assistant")
    row: Row = {
        "id": uuid7(), "conversation_id": chat, "sequence": place, "role": role,
        "content": said(chance, 40), "provider": model[0], "model": "", "status": "complete",
        "metadata": "{}", "created_at": at, "updated_at": at,
    }  # fmt: skip
    if place == 2:
        call = {"id": "call_1", "function": {"name": chance.choice(["find", "book"])}}
        row["tool_calls"] = json.dumps([call])
    if role == "tool":
        row |= {"tool_call_id": "call_1"}
        row["content"] += f" {UNCOMMON}" if odd else ""
    if role == "assistant":
        row |= answer(chance, model[1])
    return row


def answer(chance: random.Random, model: str) -> Row:
    failed = chance.random() < 0.003
    first = int(chance.lognormvariate(5.5, 0.6))
    return {
        "model": model, "status": "failed" if failed else "complete",
        "error": "The provider answered 500." if failed else None,
        "prompt_tokens": chance.randrange(50, 2_000), "completion_tokens": chance.randrange(5, 500),
        "first_token_ms": first, "latency_ms": first + int(chance.lognormvariate(7, 0.7)),
        "rating": chance.choice([1, 1, -1]) if chance.random() < 0.02 else None,
        "detected_mode": chance.choice(["chat", "search", "booking"]),
    }  # fmt: skip


def said(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def copy(cursor: Any, table: str, columns: list[str], rows: Iterator[Row]) -> None:
    """Values hold no tab, newline or backslash, so they need no escape."""
    lines = ("\t".join(cell(row.get(column)) for column in columns) for row in rows)
    text = io.StringIO("\n".join(lines) + "\n")
    cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", text)


def cell(value: Any) -> str:
    if value is None:
        return r"\N"
    return str(value.isoformat() if isinstance(value, datetime) else value)


if __name__ == "__main__":
    main()
