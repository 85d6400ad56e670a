"""`manage.py reap_interrupted`: mark the answers of dead processes as interrupted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations.chat.runtime.reaper import reap
from conversations.management.arguments import add_epilog, add_json_argument, print_json

EPILOG = """
Any number may run at once. Exit status: 0, also where there was nothing to do.

Examples:
  manage.py reap_interrupted
  */5 * * * * cd /srv/chat && .venv/bin/python manage.py reap_interrupted --json >> reaped.log
"""


class Command(BaseCommand):
    help = (
        "Mark running answers whose process has died as `interrupted`. The web server does this by "
        "itself; use this command from cron if it is not running. Idempotent."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        ended = reap()
        if options["json"]:
            print_json(self, {"interrupted": ended})
            return
        self.stdout.write(f"Ended {ended:,} interrupted answer{'' if ended == 1 else 's'}.")
