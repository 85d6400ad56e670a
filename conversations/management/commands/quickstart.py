"""`quickstart`: migrate, create an administrator on the first run, and start the web server."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from argparse import ArgumentTypeError
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from chatproject.embedded_postgres import EmbeddedPostgresError
from chatproject.production import refuse_unsafe_settings
from chatproject.static_files import collect_static_files
from conversations.db.one_at_a_time import one_at_a_time
from conversations.management.arguments import USAGE_ERROR, add_epilog
from conversations.management.serving import (
    MAX_PORT,
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

NOT_A_PORT = f"a port must be 1 to {MAX_PORT}"
NO_WORKERS = "must be at least 1"
TOO_MANY_WORKERS = "The database allows {limit} connections, too few for {workers} workers."
NO_DATABASE = "Cannot use the database: {reason}"
NAME_TAKEN = f"There is no administrator, and the username {ADMIN_NAME} belongs to another user."

WAITING = "Database  waiting for another quickstart to set it up"

# The advisory lock of a quickstart that sets the database up: any number of its own.
SET_UP = 7_267_240_113

# The address to show for a server that listens on all interfaces.
_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PORT:
        raise ArgumentTypeError(NOT_A_PORT)
    return int(text)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(NO_WORKERS)
    return int(text)


EPILOG = """
Also the server for production: docs/deploy.md. With HTTPS=true it does not start with DEBUG, a
short SECRET_KEY or ALLOWED_HOSTS=*. SIGHUP reloads code and settings. Exit status: 0 after Ctrl-C
or SIGTERM, 1 if it could not start, 2 for unsafe settings or wrong arguments.

Examples:
  manage.py quickstart
  manage.py quickstart --port 8080 --workers 4 --no-sample
  HTTPS=true ALLOWED_HOSTS=chat.example.org manage.py quickstart --no-sample
"""


class Command(BaseCommand):
    help = "Migrate the database, create an administrator on the first run, and serve."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument("--port", type=_port, default=8000, help="default: 8000")
        parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
        parser.add_argument(
            "--workers", type=_workers, default=2, help="web server processes, default: 2"
        )
        parser.add_argument(
            "--no-sample",
            action="store_true",
            help="do not load the sample conversations on the first run",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        host, port, workers = options["host"], options["port"], options["workers"]
        try:
            refuse_unsafe_settings()
            check_address(host, port)
            # Several machines may be started on one database at the same moment.
            with one_at_a_time(SET_UP, on_wait=partial(self._say, WAITING)):
                self._migrate()
                threads = _threads_of_each(workers)
                self._collect_static_files()
                account = self._account(sample=not options["no_sample"])
            self._print_addresses(_address(host, port), account)
            # Workers are forked from this process and must not share its connections.
            connections.close_all()
            serve(host=host, port=port, workers=workers, threads=threads)
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=USAGE_ERROR) from error
        except (DatabaseError, EmbeddedPostgresError) as error:
            raise CommandError(NO_DATABASE.format(reason=str(error).strip())) from error
        except KeyboardInterrupt:  # before the server has installed its signal handlers
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
        """How to log in. On the first run creates the account, after loading the sample."""
        if (admin := find_admin()) is not None:
            return f"user {admin} exists; to set a new password: {_manage('changepassword', admin)}"
        # The administrator last: an interrupted first run is then repeated as a whole.
        if sample:
            self._load_sample()
        password = create_admin()
        if password is None:
            return f"{NAME_TAKEN} Create one: {_manage('createsuperuser')}"
        return f"user {ADMIN_NAME}, password {password} (shown only this once)"

    def _load_sample(self) -> None:
        report = load_sample()
        count = report.created + report.already_there
        self._say(f"Sample    {count} conversations of the user {SAMPLE_OWNER}")

    def _print_addresses(self, address: str, account: str) -> None:
        self._say(f"API       {address}/api/conversations")
        self._say(f"Docs      {address}/api/docs")
        self._say(f"Admin     {address}/admin/")
        self._say(f"Account   {account}")
        self._say(f"Token     {_manage('create_token', 'NAME')}")
        self._say(f"Serving   {address} (stop with Ctrl-C)")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        # Forked workers would otherwise write the buffered lines again.
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
        return f"stored in {_short(embedded['directory'])}"
    return (
        f"{connection.settings_dict['NAME']} on {connection.settings_dict['HOST'] or 'localhost'}"
    )


def _address(host: str, port: int) -> str:
    shown = _LOOPBACK_OF.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _manage(*arguments: str) -> str:
    """A command line to copy, with this interpreter and this manage.py."""
    return shlex.join([_short(sys.executable), _short(settings.BASE_DIR / "manage.py"), *arguments])


def _short(path: str | Path) -> str:
    """Relative to the working directory if it is below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
