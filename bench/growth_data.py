"""Fills a database for `bench/growth.py`. A process of its own, since it sets Django up.

    python -m bench.growth_data length|owner|total '{"10": 20, "1000": 20}'

Prints JSON. `length`: for each number of messages, a list of conversations with `token` and `id`.
`owner`: for each number of conversations, a list of owners with `token`. `total`, of a database
that `bench/fill.py` has filled: `session` of a member of staff and the name of its `cookie`,
`owners` with `name` and `token`, names of time `zones`, and `longest`, a conversation with its `id`
and `length`.
"""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import replace
from typing import Any
from zoneinfo import available_timezones

import django
from django.conf import settings
from django.db import connection

from bench.data import Chat, Size, Writer
from bench.seed import BATCH, OURS, copy

Sizes = dict[int, int]  # how many conversations, or owners, of each size there are

# A word that `bench/fill.py` does not write: as many messages have it, however many there are.
RARE = "quokka"
RARE_MESSAGES, OWNERS, PER_OWNER = 20, 10, 20


def length(sizes: Sizes) -> dict[int, list[dict[str, Any]]]:
    owner, token = _owner("reader")
    made = {}
    for seed, (messages, count) in enumerate(sizes.items()):
        chats = list(Writer(seed).chats(Size(1, count, messages)))
        made[messages] = [{"token": token, "id": str(chat.id)} for chat in chats]
        _store(chats, [owner])
    _settle()
    return made


def owner(sizes: Sizes) -> dict[int, list[dict[str, Any]]]:
    """In random order, so that the rows of an owner lie apart, as where many write at once."""
    made: dict[int, list[dict[str, Any]]] = {}
    owners: list[int] = []
    chats: list[Chat] = []
    for seed, (conversations, count) in enumerate(sizes.items()):
        accounts = [_owner(f"owner-of-{conversations}-{number}") for number in range(count)]
        made[conversations] = [{"token": token} for _, token in accounts]
        theirs = Writer(seed).chats(Size(count, conversations, 1))
        chats += [replace(chat, owner=len(owners) + chat.owner) for chat in theirs]
        owners += [key for key, _ in accounts]
    random.Random(4).shuffle(chats)
    _store(chats, owners)
    _settle()
    return made


def total(sizes: Sizes) -> dict[str, Any]:
    from django.contrib.auth.models import User
    from django.db.models import Count
    from django.db.models.functions import Abs
    from django.test import Client

    from conversations.models import Conversation

    staff, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(staff)
    longest = Conversation.objects.order_by("-message_count")[0]
    others = User.objects.filter(username__startswith="owner-").exclude(pk=longest.user_id)
    others = others.annotate(beside=Abs(Count("conversations") - PER_OWNER))
    owners = {
        one.username: _owner(one.username) for one in others.order_by("beside", "pk")[:OWNERS]
    }
    for key, _ in owners.values():
        for place in range(RARE_MESSAGES // len(owners)):
            _say_rare_word(key, place)
    _settle()
    return {
        "cookie": settings.SESSION_COOKIE_NAME,
        "session": client.cookies[settings.SESSION_COOKIE_NAME].value,
        "owners": [{"name": name, "token": token} for name, (_, token) in owners.items()],
        "zones": _zones(),
        "longest": {"id": str(longest.pk), "length": longest.last_sequence},
    }


def _zones() -> list[str]:
    """Time zones that Python and the database know."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_timezone_names WHERE name ~ '^[A-Z][a-z]+/'")
        return sorted(available_timezones() & {name for (name,) in cursor.fetchall()})


def _owner(name: str) -> tuple[int, str]:
    """The key of the user of this name, created where there is none, and a token."""
    from conversations.services import SCRIPT, create_token, find_or_create_user

    row, text = create_token(user=find_or_create_user(name), access=SCRIPT)
    return row.user_id, text


def _store(chats: list[Chat], owners: list[int]) -> None:
    with connection.cursor() as cursor:
        for start in range(0, len(chats), BATCH):
            copy(cursor, OURS, chats[start : start + BATCH], owners)


def _say_rare_word(owner_id: int, place: int) -> None:
    from conversations.models import Conversation
    from conversations.services import SCRIPT, MessageDraft, append_drafts

    chat = Conversation.objects.owned_by(owner_id).order_by("pk")[place]
    draft = MessageDraft(role="user", content=f"Where does a {RARE} live?")
    append_drafts(conversation_id=chat.pk, drafts=[draft], access=SCRIPT)


def _settle() -> None:
    """As after some days of service: changes have their positions, statistics are known, and
    pending index entries are merged."""
    from conversations.services.changes import sequence_changes

    while sequence_changes():
        pass
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
    django.setup()
    fill = {"length": length, "owner": owner, "total": total}[sys.argv[1]]
    asked = {int(size): count for size, count in json.loads(sys.argv[2]).items()}
    json.dump(fill(asked), sys.stdout)
