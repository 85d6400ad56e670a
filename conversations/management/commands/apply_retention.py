"""`apply_retention`: delete or empty conversations by the retention rules that are switched on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.management.arguments import (
    INTERRUPTED,
    add_epilog,
    add_json_argument,
    print_json,
)
from conversations.management.progress import progress_bar
from conversations.management.removals import (
    DRY_RUN,
    REST_REMAINS,
    say_waiting,
    shown_preview,
    shown_removed,
)
from conversations.selectors.retention import count_due
from conversations.services.audit import SCRIPT
from conversations.services.retention import active_rules, apply_rules, due_by

NO_RULES = "No retention rule is active."

EPILOG = """
Rules are made in the admin (Retention rules), where each says what it would do before it is
switched on; CHAT_RETENTION_DAYS is one for all conversations. They are applied in the order of
their creation. Works in short transactions, beside those who write, one process at a time. Stopped,
it can be run again for the rest. Exit status: 0 if all is done.

Examples:
  manage.py apply_retention --dry-run
  manage.py apply_retention --json
  17 3 * * *  cd /srv/chat && .venv/bin/python manage.py apply_retention      (crontab)
"""


class Command(BaseCommand):
    help = "Apply the active retention rules: delete or empty conversations. Meant for cron."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument("--dry-run", action="store_true", help="only count, change nothing")
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            results = self._count() if options["dry_run"] else self._apply()
        except KeyboardInterrupt:
            raise CommandError(REST_REMAINS, returncode=INTERRUPTED) from None
        if options["json"]:
            print_json(self, {"dry_run": options["dry_run"], "rules": results})
        elif not results:
            self.stderr.write(NO_RULES)

    def _count(self) -> list[dict[str, Any]]:
        results = []
        for rule in active_rules():
            found = count_due(due_by(rule))
            self.stderr.write(f"{rule.name}: {DRY_RUN} {shown_preview(found, rule.act)}")
            results.append({"rule": rule.name, "act": rule.act, **found})
        return results

    def _apply(self) -> list[dict[str, Any]]:
        results = []
        with progress_bar(None) as show:
            done = apply_rules(
                access=SCRIPT,
                on_wait=say_waiting(self),
                on_progress=lambda count: show(count, f"{count:,} conversations"),
            )
            for rule, removed in done:
                self.stderr.write(f"{rule.name}: {shown_removed(removed, rule.act)}")
                results.append({"rule": rule.name, "act": rule.act, **removed.as_counts()})
        return results
