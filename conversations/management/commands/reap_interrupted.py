"""`manage.py reap_interrupted`: end the answers whose process died, as the web server does."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from conversations.chat.runtime.reaper import reap


class Command(BaseCommand):
    help = (
        "End answers whose process died as `interrupted`, so that search finds them. The web "
        "server does so by itself; this is for cron where it does not run. May be repeated."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        ended = reap()
        self.stdout.write(f"Ended {ended:,} interrupted answer{'' if ended == 1 else 's'}.")
