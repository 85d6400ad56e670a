"""Times the pages of staff on a database that `bench/fill.py` has filled, and reads their plans.

    CHATPROJECT_DATA=/tmp/bench .venv/bin/python bench/fill.py
    CHATPROJECT_DATA=/tmp/bench .venv/bin/python bench/staff.py

Each page is asked for once cold and three times warm; every statement that touches messages is
explained, and one that reads the table from end to end is named.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import unquote_plus, urlencode

import django

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
os.environ.setdefault("LOG_LEVEL", "WARNING")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from conversations.models import Conversation  # noqa: E402

LIST = "/admin/conversations/conversation/"
SORTED = ["o=1", "o=2", "o=-3", "o=4", "o=6", "o=-3&p=200"]
SEARCHES = [
    "zeppelin", "train", "train refund garlic", '"train refund"', '"train refund garlic"',
    "owner-000012", "nosuchword",
]  # fmt: skip
FILTERS = [
    "role=tool", "tool=book", "status=failed", "rating=-1", "mode=booking", "provider=openai",
    "model=llama3.2", "o=3&status=failed",
]  # fmt: skip


def main() -> None:
    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    print(f"{'cold ms':>8} {'warm ms':>8} {'queries':>7}  page")
    for page in pages():
        measure(client, page)


def pages() -> list[str]:
    longest = Conversation.objects.order_by("-message_count")[0]
    today = timezone.localdate()
    chat = f"{LIST}{longest.pk}/change/"
    return [
        *("/admin/", "/admin/?days=30", LIST, f"{LIST}?p=200"),
        *(f"{LIST}?{query}" for query in SORTED),
        *(f"{LIST}?{urlencode({'q': text})}" for text in SEARCHES),
        *(f"{LIST}?{query}" for query in [*FILTERS, f"said_from={today}&said_to={today}"]),
        *(chat, f"{chat}?after={longest.last_sequence * 4 // 5}", f"{chat}?find=train"),
        *(f"/api/search?{urlencode({'q': text, 'user_id': '*'})}" for text in SEARCHES),
    ]


def measure(client: Client, page: str) -> None:
    times = []
    for _ in range(4):
        cache.clear()
        started = time.perf_counter()
        with CaptureQueriesContext(connection) as seen:
            assert client.get(page).status_code == 200, page
        times.append((time.perf_counter() - started) * 1_000)
    scans = [query["sql"] for query in seen if reads_all_messages(query["sql"])]
    print(
        f"{times[0]:8.0f} {statistics.median(times[1:]):8.0f} {len(seen):7}  {unquote_plus(page)}"
    )
    for sql in scans:
        print(f"         SEQUENTIAL SCAN OF MESSAGES: {' '.join(sql.split())[:200]}")


def reads_all_messages(sql: str) -> bool:
    if "conversations_message" not in sql or sql.lstrip()[:6] not in ("SELECT", "WITH m"):
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return any("Seq Scan on conversations_message" in line for (line,) in cursor.fetchall())


if __name__ == "__main__":
    main()
