"""Does the response time distinguish another user's conversation from a missing one?

    CHATPROJECT_DATA=/tmp/bench-existence .venv/bin/python bench/existence.py

Asks 500 times for each route and caller, by turns and in a random order, for a conversation of
somebody else and for one that does not exist, and prints both medians in milliseconds. `noise` is
what chance alone makes of the difference: 95 of 100 random divisions of the same times into two
halves differ by less.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import django

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
os.environ.setdefault("LOG_LEVEL", "WARNING")
django.setup()

from django.core.management import call_command  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

from conversations.services import (  # noqa: E402
    SCRIPT,
    MessageDraft,
    append_drafts,
    create_conversation,
    create_token,
    find_or_create_user,
)

TIMES = 500
SAY = {"role": "user", "content": "x"}
ROUTES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("get", "", None),
    ("patch", "", {"title": "x"}),
    ("delete", "", None),
    ("get", "/messages", None),
    ("post", "/messages", SAY),
]
CALLERS: dict[str, dict[str, Any]] = {
    "stranger": {},
    "trusted client": {"trusted": True},
    "trusted client of a namespace": {"trusted": True, "namespace": "crm"},
}


def main() -> None:
    call_command("migrate", verbosity=0)
    theirs = conversations_of_another(50)
    print(f"{'other user':>10} {'missing':>10} {'difference':>11} {'noise':>7}  (ms)")
    for name, rights in CALLERS.items():
        client = client_with(name, rights)
        for route in ROUTES:
            measure(client, f"{route[0]} …{route[1]} by a {name}", route, theirs)


def conversations_of_another(count: int) -> list[uuid.UUID]:
    """Of a user in another namespace, whom none of the callers may see."""
    owner = find_or_create_user("owner", namespace="erp")
    made = [create_conversation(owner=owner)[0].pk for _ in range(count)]
    for key in made:
        drafts = [MessageDraft(role="user", content="message") for _ in range(20)]
        append_drafts(conversation_id=key, drafts=drafts, access=SCRIPT)
    return made


def client_with(name: str, rights: dict[str, Any]) -> APIClient:
    user = find_or_create_user(name.replace(" ", "-"))
    client = APIClient(SERVER_NAME="localhost")
    token = create_token(user=user, access=SCRIPT, **rights)[1]
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def measure(client: APIClient, name: str, route: tuple[str, str, Any], theirs: list[Any]) -> None:
    method, path, body = route
    asked = [*("there" for _ in range(TIMES)), *("missing" for _ in range(TIMES))]
    random.shuffle(asked)
    taken: dict[str, list[float]] = {"there": [], "missing": []}
    for kind in asked:
        key = random.choice(theirs) if kind == "there" else uuid.uuid4()
        began = time.perf_counter()
        answer = getattr(client, method)(f"/api/conversations/{key}{path}", body, format="json")
        taken[kind].append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 404, answer.content
    there, missing = (statistics.median(taken[kind]) for kind in ("there", "missing"))
    noise = difference_by_chance([*taken["there"], *taken["missing"]])
    print(f"{there:10.3f} {missing:10.3f} {there - missing:+11.3f} {noise:7.3f}  {name}")


def difference_by_chance(times: list[float], divisions: int = 400) -> float:
    differences = []
    for _ in range(divisions):
        random.shuffle(times)
        halves = times[:TIMES], times[TIMES:]
        differences.append(abs(statistics.median(halves[0]) - statistics.median(halves[1])))
    return sorted(differences)[int(divisions * 0.95)]


if __name__ == "__main__":
    main()
