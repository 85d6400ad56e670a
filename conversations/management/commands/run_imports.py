"""`manage.py run_imports`: import the files that staff have sent in the admin."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from conversations.management.arguments import INTERRUPTED, add_epilog
from conversations.services.import_runs import run_waiting_imports

EPILOG = """
Web processes start this command when there is something to import. It ends when nothing waits any
more, or at once where another process imports. Use it by hand or from cron if the web server is not
the one of this project. Exit status: 0, or 130 if it was stopped by Ctrl-C; the import goes on with
the next run.

Examples:
  manage.py run_imports
"""


class Command(BaseCommand):
    help = "Import the files that were sent in the admin."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = run_waiting_imports()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        self.stdout.write(f"Imported {count:,} file{'' if count == 1 else 's'}.")
