"""`manage.py reap_interrupted`: mark the answers of dead processes as interrupted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from conversations.chat.runtime.reaper import reap


class Command(BaseCommand):
    help = (
        "Mark running answers whose process has died as `interrupted`. The web server does this by "
        "itself; use this command from cron if it is not running. Idempotent."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        ended = reap()
        self.stdout.write(f"Ended {ended:,} interrupted answer{'' if ended == 1 else 's'}.")
