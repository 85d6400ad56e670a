"""`restore`: a file that `backup` wrote, into an empty database or in place of this one."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from psycopg2 import sql

from conversations.management.arguments import (
    INTERRUPTED,
    USAGE_ERROR,
    add_epilog,
    add_json_argument,
    file_errors,
    print_json,
)
from conversations.management.commands.backup import stopped_by_signals
from conversations.management.database_copies import (
    connect,
    database_name,
    drop_database,
    on_server,
    scratch_database,
    state_of_database,
    tables_of,
)
from conversations.management.postgres_tools import (
    APPLICATION_NAME,
    contents,
    find_program,
    run_program,
)
from conversations.management.unmigrated import remedy_for_missing_migrations

# What each archive of pg_dump's custom format begins with.
MAGIC = b"PGDMP"
NO_ARCHIVE = "{path} is no backup of this command: it does not begin as pg_dump's custom format."
NOT_OURS = "{path} is a backup of another application: it has no table {table}."
NOT_EMPTY = (
    "The database {name} has {count} tables. Restore into an empty one, or in place of it with "
    "--replace."
)
IN_USE = (
    "{count} other sessions use {name}. Stop the web servers first: what they write now would be "
    "lost."
)
CONFIRM = "All that is in the database {name} will be gone. Type its name to go on: "
NOT_CONFIRMED = "Not confirmed: nothing was changed."
STOPPED = "Stopped: the database is as it was before."
STOPPED_LATE = "Stopped when everything was restored already."
# After a stop, for the session of pg_restore to end.
ENDS_WITHIN = 10.0
CANNOT = "Nothing was changed: {reason}"
RESTORED = "Restored {file} into {database}: {tables} tables, {rows:,} rows."
KEPT = "The database of before is there as {kept}."
NEXT = "Next: {remedy}"
LOOK = "run manage.py doctor"

_OTHERS = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database()
    AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""

EPILOG = """
Into an empty database the backup is restored in one transaction. With --replace it is restored
into a new database beside it, which then takes its name in one transaction, and the one of before
is dropped: until then that stays as it is, whatever happens, and whoever writes to it waits,
until the session is ended with the restore. This needs room for both and a role
with CREATEDB that owns the database; settings and privileges of the database itself (ALTER
DATABASE … SET, GRANT … ON DATABASE) are not in a backup. Owners and privileges of tables are
restored only with --owners. Exit status: 0, or 2 if nothing was restored.

Examples:
  manage.py restore chats-2026-01-31.dump
  manage.py restore chats.dump --replace --keep
  manage.py restore chats.dump --replace --no-input --json
"""


class Command(BaseCommand):
    help = "Restore a backup."
    requires_migrations_checks = False

    _was_empty = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument("file", metavar="FILE", type=Path, help="what `backup` wrote")
        parser.add_argument(
            "--replace", action="store_true", help="in place of a database that is not empty"
        )
        parser.add_argument(
            "--keep", action="store_true", help="with --replace: keep the one of before, renamed"
        )
        parser.add_argument(
            "--owners",
            action="store_true",
            help="restore owners and privileges of tables; the roles must be there",
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask to confirm")
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        path, name = options["file"], database_name()
        try:
            with stopped_by_signals(), file_errors(path):
                kept = self._restore(path, name, options)
        except KeyboardInterrupt:
            text = STOPPED_LATE if self._was_empty and _is_restored() else STOPPED
            raise CommandError(text, returncode=INTERRUPTED) from None
        except (DatabaseError, psycopg2.Error) as error:
            text = CANNOT.format(reason=str(error).strip())
            raise CommandError(text, returncode=USAGE_ERROR) from error
        except CommandError as error:
            error.returncode = USAGE_ERROR
            raise
        self._report(path, name, kept, as_json=options["json"])

    def _restore(self, path: Path, name: str, options: dict[str, Any]) -> str | None:
        """What the database of before is called now, if it is kept."""
        connection.ensure_connection()
        _check_archive(path)
        arguments = () if options["owners"] else ("--no-owner", "--no-privileges")
        count = _number_of_tables()
        if not count:
            self._was_empty = True
            _restore_into(name, path, arguments)
            return None
        if not options["replace"]:
            raise CommandError(NOT_EMPTY.format(name=name, count=count))
        _check_unused(name, connection.connection)
        if not options["no_input"] and input(CONFIRM.format(name=name)).strip() != name:
            raise CommandError(NOT_CONFIRMED)
        return _replace(name, path, arguments, keep=options["keep"])

    def _report(self, path: Path, name: str, kept: str | None, *, as_json: bool) -> None:
        state = state_of_database(name)
        result = {
            "file": str(path),
            "database": name,
            "tables": len(state),
            "rows": sum(one.rows for one in state.values()),
            "kept": kept,
            "next": remedy_for_missing_migrations() or LOOK,
        }
        if as_json:
            print_json(self, result)
            return
        self.stdout.write(RESTORED.format(**result))
        if kept is not None:
            self.stdout.write(KEPT.format(kept=kept))
        self.stdout.write(NEXT.format(remedy=result["next"]))


def _check_archive(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise CommandError(NO_ARCHIVE.format(path=path))
    listed = contents(find_program("pg_restore"), path)
    for table in ("django_migrations", "conversations_message"):
        if not re.search(rf"\bTABLE DATA \S+ {table} ", listed):
            raise CommandError(NOT_OURS.format(path=path, table=table))


def _is_restored() -> bool:
    """Whether what was an empty database has tables now: pg_restore may have been committing."""
    deadline = time.monotonic() + ENDS_WITHIN
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = %s"
    )
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(sessions, [APPLICATION_NAME])
            if cursor.fetchone() == (0,):
                break
            time.sleep(0.05)
    return _number_of_tables() > 0


def _number_of_tables() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm')"
            " AND relnamespace = current_schema()::regnamespace"
        )
        return int(cursor.fetchone()[0])


def _check_unused(name: str, *ours: Any) -> None:
    """Raises CommandError if the database has other sessions than these of ours."""
    with ours[0].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> ALL(%s)"
            " AND backend_type = 'client backend'",
            [name, [each.get_backend_pid() for each in ours]],
        )
        if count := cursor.fetchone()[0]:
            raise CommandError(IN_USE.format(name=name, count=count))


def _restore_into(name: str, path: Path, arguments: tuple[str, ...]) -> None:
    options = ("--single-transaction", "--exit-on-error", *arguments)
    run_program(find_program("pg_restore"), *options, str(path), database=name)
    raw = connect(name)
    try:
        raw.autocommit = True
        with raw.cursor() as cursor:
            cursor.execute("ANALYZE")
    finally:
        raw.close()


def _replace(name: str, path: Path, arguments: tuple[str, ...], *, keep: bool) -> str | None:
    with _without_writers(name) as held, scratch_database(f"{name[:30]}_restoring") as new:
        _restore_into(new, path, arguments)
        with _not_stopped():
            return _swap(name, new, held, keep=keep)


@contextmanager
def _without_writers(name: str) -> Iterator[Any]:
    """Whoever writes to the database waits until the end of this session, and readers do not: what
    is written would be lost. Raises CommandError where somebody is connected."""
    with closing(connect(name)) as held:
        with held.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '10s'")
            tables = sql.SQL(", ").join(map(sql.Identifier, tables_of(cursor)))
            cursor.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(tables))
        _check_unused(name, held, connection.connection)
        yield held


def _swap(name: str, new: str, held: Any, *, keep: bool) -> str | None:
    old = new.replace("_restoring_", "_before_")
    connection.close()  # nobody may be in a database that is renamed
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    _allow_connections(name, False)
    try:
        _end_other_sessions(held)
        held.close()
        on_server(
            rename.format(sql.Identifier(name), sql.Identifier(old)),
            rename.format(sql.Identifier(new), sql.Identifier(name)),
        )
    except BaseException:
        _allow_connections(name, True)
        raise
    if keep:
        _allow_connections(old, True)
        return old
    drop_database(old)
    return None


def _allow_connections(name: str, allowed: bool) -> None:
    text = "ALTER DATABASE {} ALLOW_CONNECTIONS {}"
    on_server(sql.SQL(text).format(sql.Identifier(name), sql.Literal(allowed)))


def _end_other_sessions(held: Any) -> None:
    """Those that began since have read at most: a write of theirs waits, and is not done here."""
    deadline = time.monotonic() + ENDS_WITHIN
    with held.cursor() as cursor:
        # What a transaction sees of the sessions stays as it was when it looked first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(f"SELECT pg_terminate_backend(pid) FROM ({_OTHERS}) AS found")  # noqa: S608
        while cursor.fetchall() and time.monotonic() < deadline:
            time.sleep(0.05)
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(_OTHERS)


@contextmanager
def _not_stopped() -> Iterator[None]:
    """Ctrl-C and SIGTERM do nothing in the block, so that it is known what was done."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
