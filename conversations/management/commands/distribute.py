"""`manage.py distribute`: shard the tables by owner over the nodes of a Citus cluster."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.services import ServiceError
from conversations.services.distribution import distribute, plan_distribution

DONE_ALREADY = "The tables are distributed already: there is nothing to do."


class Command(BaseCommand):
    help = (
        "Shard conversations and all that belongs to them by owner, on the coordinator of a Citus "
        "cluster. Stop the web processes first. May be repeated: what is done already is left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print the SQL and do nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        try:
            if dry_run:
                self._print_plan()
            else:
                self._distribute()
        except ServiceError as refusal:
            raise CommandError(refusal.detail) from None

    def _print_plan(self) -> None:
        steps = plan_distribution()
        for step in steps:
            self.stdout.write(f"-- {step.text}")
            for statement in step.statements:
                self.stdout.write(f"{statement};")
        if not steps:
            self.stdout.write(DONE_ALREADY)

    def _distribute(self) -> None:
        steps = 0
        for step in distribute():
            self.stdout.write(step.text)
            steps += 1
        self.stdout.write("Done. Start the web processes again." if steps else DONE_ALREADY)
