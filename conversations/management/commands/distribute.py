"""`manage.py distribute`: shard the tables by owner over the nodes of a Citus cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.management.arguments import (
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    print_json,
)
from conversations.services import ServiceError
from conversations.services.distribution import distribute, plan_distribution

DONE_ALREADY = "The tables are distributed already: there is nothing to do."

EPILOG = """
docs/scale.md says what it does and what a cluster changes. Exit status: 0 if the tables are
distributed, 2 if they cannot be.

Examples:
  manage.py distribute --dry-run
  manage.py distribute
  manage.py distribute --dry-run --json | jq -r '.steps[].statements[]'
"""


class Command(BaseCommand):
    help = (
        "Shard conversations and all that belongs to them by owner, on the coordinator of a Citus "
        "cluster. Stop the web processes first. May be repeated: what is done already is left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        add_json_argument(parser)
        parser.add_argument("--dry-run", action="store_true", help="print the SQL and do nothing")

    def handle(self, *args: Any, dry_run: bool, json: bool, **options: Any) -> None:
        try:
            if json:
                steps = plan_distribution() if dry_run else distribute()
                print_json(self, {"dry_run": dry_run, "steps": [asdict(step) for step in steps]})
            elif dry_run:
                self._print_plan()
            else:
                self._distribute()
        except ServiceError as refusal:
            raise CommandError(refusal.detail, returncode=USAGE_ERROR) from None

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
