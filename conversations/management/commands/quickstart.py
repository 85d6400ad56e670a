"""`quickstart`: from nothing to a running server, and the same command ever after."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from chatproject.embedded_postgres import EmbeddedPostgresError
from chatproject.static_files import collect_static_files
from conversations.management.serving import (
    HIGHEST_PORT,
    CannotListen,
    check_address,
    serve,
    threads_per_worker,
)
from conversations.services.bootstrap import (
    ADMIN_NAME,
    SAMPLE_OWNER,
    create_admin,
    find_admin,
    load_sample,
)

NOT_A_PORT = f"a port is 1 to {HIGHEST_PORT}"
NO_WORKERS = "at least 1"
TOO_MANY_WORKERS = "The database takes {limit} connections: too few for {workers} workers."
NO_DATABASE = "The database cannot be used: {why}"
NAME_TAKEN = f"There is no administrator yet, and {ADMIN_NAME} is an ordinary user."

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= HIGHEST_PORT:
        raise ArgumentTypeError(NOT_A_PORT)
    return int(text)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(NO_WORKERS)
    return int(text)


class Command(BaseCommand):
    help = "Prepare the database, make an administrator on the first run, and serve."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=_port, default=8000, help="default: 8000")
        parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
        parser.add_argument(
            "--workers", type=_workers, default=2, help="web server processes, default: 2"
        )
        parser.add_argument(
            "--no-sample",
            action="store_true",
            help="load no sample conversations on the first run",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        host, port, workers = options["host"], options["port"], options["workers"]
        try:
            check_address(host, port)
            self._migrate()
            threads = _threads_of_each(workers)
            self._collect_static_files()
            account = self._account(sample=not options["no_sample"])
            self._tell_how_to_reach_it(_address(host, port), account)
            # Workers are copies of this process: a connection must not be shared with them.
            connections.close_all()
            serve(host=host, port=port, workers=workers, threads=threads)
        except CannotListen as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, EmbeddedPostgresError) as error:
            raise CommandError(NO_DATABASE.format(why=str(error).strip())) from error
        except KeyboardInterrupt:  # before the server has taken over both signals
            pass
        self._say("Stopped.")

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if missing:
            call_command("migrate", verbosity=0, interactive=False)
        done = f"{missing} migrations applied" if missing else "up to date"
        self._say(f"Database  {done}, {_where()}")

    def _collect_static_files(self) -> None:
        try:
            if collect_static_files():
                self._say(f"Static    files in {_short(settings.STATIC_ROOT)}")
        except OSError as error:  # they are served from the packages then
            self.stderr.write(f"Static files are served uncompressed: {error}")

    def _account(self, *, sample: bool) -> str:
        """How to log in; the first run makes the account, and the sample before it."""
        if (admin := find_admin()) is not None:
            return f"user {admin} exists; a new password: {_manage('changepassword', admin)}"
        # The administrator last: a first run that breaks off before is done again.
        if sample:
            self._load_sample()
        password = create_admin()
        if password is None:
            return f"{NAME_TAKEN} Make one: {_manage('createsuperuser')}"
        return f"user {ADMIN_NAME}, password {password} (shown only this once)"

    def _load_sample(self) -> None:
        report = load_sample()
        count = report.created + report.already_there
        self._say(f"Sample    {count} conversations of the user {SAMPLE_OWNER}")

    def _tell_how_to_reach_it(self, address: str, account: str) -> None:
        self._say(f"API       {address}/api/conversations")
        self._say(f"Docs      {address}/api/docs")
        self._say(f"Admin     {address}/admin/")
        self._say(f"Account   {account}")
        self._say(f"Token     {_manage('create_token', 'NAME')}")
        self._say(f"Serving   {address} (Ctrl-C stops it)")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        # Each worker would otherwise write once more what is left in the buffer.
        self.stdout.flush()


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _threads_of_each(workers: int) -> int:
    limit = _max_connections()
    threads = threads_per_worker(workers, limit)
    if threads < 1:
        raise CommandError(TOO_MANY_WORKERS.format(limit=limit, workers=workers))
    return threads


def _max_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        return int(cursor.fetchone()[0])


def _where() -> str:
    embedded = connection.settings_dict.get("EMBEDDED")
    if embedded:
        return f"its files in {_short(embedded['directory'])}"
    return (
        f"{connection.settings_dict['NAME']} on {connection.settings_dict['HOST'] or 'localhost'}"
    )


def _address(host: str, port: int) -> str:
    shown = EVERY_ADDRESS.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _manage(*arguments: str) -> str:
    """A command line that works as it stands: this interpreter, this manage.py."""
    return shlex.join([_short(sys.executable), _short(settings.BASE_DIR / "manage.py"), *arguments])


def _short(path: str | Path) -> str:
    """Relative where that is shorter to read, as it is from the project's own folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
