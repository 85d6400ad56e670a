"""Fills both databases with the same chats. A process of its own, since it sets Django up.

    python -m bench.seed DSN_OF_BASELINE USERS CONVERSATIONS MESSAGES

Prints JSON: a list of users, each with `key`, `token` and the ids of its `conversations`.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import django
import psycopg2
from django.db import connection

from bench.data import Chat, Size, Writer

BATCH = 100  # conversations to a COPY

# For each service and table: its columns, and the values that a chat gives.
OURS = {
    "conversations_conversation": (
        "id, user_id, title, model_used, metadata, tags, message_count, last_sequence, pinned, "
        "legal_hold, source, created_at, updated_at",
        lambda chat, owner: [
            (
                *(chat.id, owner, chat.title, "llama3", "{}", "{}"),
                *(len(chat.messages), len(chat.messages)),
                *("f", "f", "api", chat.created_at, chat.updated_at),
            )
        ],
    ),
    "conversations_message": (
        "user_id, conversation_id, sequence, id, role, content, provider, model, status, metadata, "
        "created_at, updated_at",
        lambda chat, owner: [
            (owner, chat.id, place, id_, role, text, "ollama", "llama3", "complete", "{}", at, at)
            for place, (id_, role, text, at) in enumerate(chat.messages, start=1)
        ],
    ),
}
BASELINE = {
    "conversation": (
        "id, user_id, title, model_used, meta, created_at, updated_at",
        lambda chat, owner: [
            (chat.id, owner, chat.title, "llama3", "{}", chat.created_at, chat.updated_at)
        ],
    ),
    "message": (
        "conversation_id, id, role, content, model, meta, created_at",
        lambda chat, owner: [
            (chat.id, id_, role, text, "llama3", "{}", at) for id_, role, text, at in chat.messages
        ],
    ),
}


def main(dsn: str, size: Size) -> list[dict[str, Any]]:
    owners = _make_users(size.users)
    keys = [owner["key"] for owner in owners]
    chats = Writer().chats(size)
    with psycopg2.connect(dsn) as other, connection.cursor() as ours, other.cursor() as theirs:
        while batch := list(islice(chats, BATCH)):
            copy(ours, OURS, batch, keys)
            copy(theirs, BASELINE, batch, keys)
            for chat in batch:
                owners[chat.owner]["conversations"].append(str(chat.id))
    _settle(dsn)
    return owners


def _make_users(count: int) -> list[dict[str, Any]]:
    # Django must be set up before
    from conversations.services import SCRIPT, create_token, find_or_create_user

    users = [find_or_create_user(f"user{number}") for number in range(count)]
    made = [create_token(user=user, access=SCRIPT) for user in users]
    return [{"key": row.user_id, "token": text, "conversations": []} for row, text in made]


def copy(cursor: Any, tables: dict[str, Any], chats: list[Chat], keys: list[int]) -> None:
    for table, (columns, rows_of) in tables.items():
        rows = (row for chat in chats for row in rows_of(chat, keys[chat.owner]))
        cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", _lines(rows))


def _lines(rows: Iterable[tuple[object, ...]]) -> io.StringIO:
    """COPY's text form; what is written here holds no tab and no backslash."""
    return io.StringIO("".join("\t".join(map(str, row)) + "\n" for row in rows))


def _settle(dsn: str) -> None:
    """As after some days of service: statistics known, pending index entries merged."""
    for settle in _vacuums(dsn):
        settle.execute("VACUUM ANALYZE")
        settle.execute("CHECKPOINT")


def _vacuums(dsn: str) -> Iterator[Any]:
    with connection.cursor() as cursor:
        yield cursor
    other = psycopg2.connect(dsn)
    other.autocommit = True
    with other.cursor() as cursor:
        yield cursor
    other.close()


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
    django.setup()
    json.dump(main(sys.argv[1], Size(*map(int, sys.argv[2:5]))), sys.stdout)
