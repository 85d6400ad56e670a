"""`backup`: the whole database as one file that `restore` reads."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg2
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, transaction

from conversations.db.owners import is_distributed
from conversations.management.arguments import (
    INCOMPLETE,
    INTERRUPTED,
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    add_output_argument,
    file_errors,
    print_json,
)
from conversations.management.database_copies import (
    State,
    database_name,
    differences,
    scratch_database,
    state_of,
    state_of_database,
)
from conversations.management.output_file import STANDARD_OUTPUT, output_file
from conversations.management.postgres_tools import find_program, run_program
from conversations.management.progress import progress_bar

DISTRIBUTED = "The rows are on the nodes of a cluster: back each node up by its own means."
STOPPED = "Stopped: {path} is as it was before."
NOT_TO_OUTPUT = "--verify reads the file again: name one with -o."
NOT_EQUAL = "The restored backup is not equal to the database, so {path} was not written: {found}"
CANNOT_READ = "The database cannot be read: {reason}"
WRITTEN = "{file}: {bytes:,} bytes in {seconds:.1f} seconds{verified}"
VERIFIED = ", restored into a scratch database and equal: {tables} tables, {rows:,} rows"

EPILOG = """
The file is pg_dump's custom format, compressed, of the database as it is when the command begins;
nobody waits for it. It appears under its name once it is complete, and only its owner may read it:
it has everything that people have written. The embedded server's own programs are used, and for
DATABASE_URL those of the server's version on PATH. A role that is no superuser must own the tables
or be a member of pg_read_all_data. The key in the data folder (secret-key) is not in it: keep it
too. Exit status: 0, 1 if the restored backup is not equal, 2 if it could not run.

Examples:
  manage.py backup -o chats-$(date +%F).dump
  manage.py backup -o chats.dump --verify --json
  manage.py backup -o - | age -r RECIPIENT > chats.dump.age
"""


class Command(BaseCommand):
    help = "Write a backup of the whole database."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        add_output_argument(parser)
        parser.add_argument(
            "--verify",
            action="store_true",
            help="restore it into a scratch database and compare rows: takes room and time for one",
        )
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        path, verify = options["output"], options["verify"]
        if path == STANDARD_OUTPUT and (verify or options["json"]):
            raise CommandError(NOT_TO_OUTPUT, returncode=USAGE_ERROR)
        started = time.monotonic()
        try:
            with stopped_by_signals(), file_errors(path), output_file(path) as file:
                state = _write(file, verify=verify)
        except KeyboardInterrupt:
            text = STOPPED.format(path=path)
            raise CommandError(text, returncode=INTERRUPTED) from None
        except (DatabaseError, psycopg2.Error) as error:
            text = CANNOT_READ.format(reason=str(error).strip())
            raise CommandError(text, returncode=USAGE_ERROR) from error
        if path != STANDARD_OUTPUT:
            self._report(path, time.monotonic() - started, state, as_json=options["json"])

    def _report(self, path: str, seconds: float, state: State | None, *, as_json: bool) -> None:
        rows = sum(one.rows for one in state.values()) if state is not None else None
        result = {
            "file": str(Path(path).resolve()),
            "bytes": Path(path).stat().st_size,
            "seconds": round(seconds, 1),
            "verified": state is not None,
            "tables": len(state) if state is not None else None,
            "rows": rows,
        }
        if as_json:
            print_json(self, result)
        else:
            verified = VERIFIED.format(**result) if state is not None else ""
            self.stdout.write(WRITTEN.format(**(result | {"verified": verified})))


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM is as Ctrl-C: what was begun is removed."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(file: IO[bytes], *, verify: bool) -> State | None:
    """The state of the database in the file, where it is verified."""
    connection.ensure_connection()
    if is_distributed():
        raise CommandError(DISTRIBUTED, returncode=USAGE_ERROR)
    # The dump and what it is compared with are of one snapshot, whoever writes meanwhile.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT pg_export_snapshot(), pg_database_size(current_database())")
        snapshot, size = cursor.fetchone()
        _dump(file, snapshot, size)
        state = state_of(cursor) if verify else None
    if state is not None:
        _compare(file, state)
    return state


def _dump(file: IO[bytes], snapshot: str, size: int) -> None:
    program = find_program("pg_dump")
    descriptor = file.fileno()

    def show_size() -> None:
        written = os.fstat(descriptor).st_size
        show(min(written, size), f"{written / 1e6:,.0f} MB written")

    # It is compressed: how much smaller it gets is known at the end.
    with progress_bar(None) as show:
        arguments = "--format=custom", f"--snapshot={snapshot}"
        run_program(program, *arguments, output=file, on_wait=show_size)


def _compare(file: IO[bytes], state: State) -> None:
    program = find_program("pg_restore")
    with scratch_database("backup_check") as name:
        options = ("--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
        run_program(program, *options, file.name, database=name)
        found = differences(state, state_of_database(name))
    if found:
        text = NOT_EQUAL.format(path=database_name(), found="; ".join(found))
        raise CommandError(text, returncode=INCOMPLETE)
