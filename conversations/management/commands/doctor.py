"""`manage.py doctor`: look at the installation and say what is wrong and what to do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, InterfaceError, connection, transaction

from conversations.management.arguments import (
    INCOMPLETE,
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    print_json,
)
from conversations.management.doctor import database, installation, rows, schema
from conversations.management.doctor.finding import Finding, Level, problem

Check = Callable[[], Iterator[Finding]]

EPILOG = """
Reads only. Looks at settings, disk, the embedded server, the provider of the model; the version of
the database, durability, clock, connections, replicas, vacuum; migrations, functions, indexes,
constraints, triggers; abandoned answers, the feed of changes, kept numbers. Exit status: 0 if
there is no problem (there may be warnings), 1 if there is one, 2 if the database could not be
looked at.

Examples:
  manage.py doctor
  manage.py doctor --deep --workers 4
  manage.py doctor --json | jq '.findings[] | select(.level != "ok")'
"""
UNREACHABLE = "It cannot be used: {reason}"
CONNECT = "Start it or correct DATABASE_URL; all checks of the database were left out."
FAILED = "This check failed: {reason}"
NOT_CHECKED = "What it looks at may be missing: see the other findings."


class Command(BaseCommand):
    help = "Look for problems of this installation, and say what to do about each."
    requires_system_checks = ()  # they are among the findings

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument(
            "--deep",
            action="store_true",
            help="count the conversations of all owners, not of some: reads a whole index",
        )
        parser.add_argument(
            "--workers", type=int, default=2, help="as many as quickstart runs, default: 2"
        )
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(chain.from_iterable(check() for check in _OF_INSTALLATION))
        reached = _why_unreachable()
        if reached is None:
            found += chain.from_iterable(map(read_only, _of_database(options)))
        else:
            text = UNREACHABLE.format(reason=reached)
            found.append(problem("database", text, CONNECT))
        levels = Counter(one.level for one in found)
        if options["json"]:
            findings = [asdict(one) for one in found]
            print_json(self, {"findings": findings, **{str(n): levels[n] for n in Level}})
        else:
            self._print(found, levels)
        if reached is not None:
            sys.exit(USAGE_ERROR)
        if levels[Level.PROBLEM]:
            sys.exit(INCOMPLETE)

    def _print(self, found: list[Finding], levels: Counter[Level]) -> None:
        styles = {
            Level.OK: self.style.SUCCESS,
            Level.WARNING: self.style.WARNING,
            Level.PROBLEM: self.style.ERROR,
        }
        for one in found:
            self.stdout.write(f"{styles[one.level](f'{one.level:8}')} {one.subject}: {one.text}")
            if one.remedy:
                self.stdout.write(f"{'':8} {one.remedy}")
        self.stdout.write(
            f"{levels[Level.PROBLEM]} problems, {levels[Level.WARNING]} warnings, "
            f"{levels[Level.OK]} fine"
        )


_OF_INSTALLATION: tuple[Check, ...] = (
    installation.check_settings,
    installation.check_disk,
    installation.check_embedded_server,
    installation.check_provider,
)


def _of_database(options: dict[str, Any]) -> list[Check]:
    return [
        database.check_server,
        database.check_clock,
        schema.check_migrations,
        schema.check_functions,
        schema.check_indexes,
        schema.check_constraints,
        schema.check_triggers,
        partial(database.check_load, options["workers"]),
        database.check_upkeep,
        rows.check_answers,
        rows.check_changes,
        partial(rows.check_counts, deep=options["deep"]),
    ]


def _why_unreachable() -> str | None:
    """None where it is not."""
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError) as error:
        return str(error).strip()
    return None


def read_only(check: Check) -> list[Finding]:
    """Its findings; what a database without our tables lacks is one as well."""
    try:
        # The database itself refuses to write.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            return list(check())
    except (DatabaseError, InterfaceError) as error:
        subject = getattr(check, "func", check).__name__.removeprefix("check_")
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return [problem(subject, FAILED.format(reason=reason), NOT_CHECKED)]
