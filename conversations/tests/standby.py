"""A real streaming standby of an embedded server, for tests and `bench/replicas.py`.

It is made by pg_basebackup and follows through a replication slot, so that it can be stopped for
as long as a test likes. It listens on a port of 127.0.0.1, as a replica elsewhere would.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2

from chatproject.embedded_postgres.accounts import account_for
from chatproject.embedded_postgres.cluster import version_of
from chatproject.embedded_postgres.programs import programs_for
from chatproject.embedded_postgres.server import PORT, EmbeddedPostgres

STARTS_WITHIN = 60.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "shared_buffers": "32MB",
    "fsync": "off",
    "wal_retrieve_retry_interval": "100ms",  # the shortest: it is back soon after a restart
}


class Standby:
    """A standby in `folder`, of the server that this process holds."""

    def __init__(self, primary: EmbeddedPostgres, folder: Path, name: str) -> None:
        self._primary, self._folder, self._slot = primary, folder, name
        self._account = account_for(primary.directory, primary.data)
        self._programs = programs_for(str(version_of(primary.data)), primary.data)
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str) -> str:
        """As DATABASE_REPLICA_URLS has it."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        self._account.own(self._folder)
        options = {
            "pgdata": self._data,
            "host": self._primary.socket_directory,
            "port": PORT,
            "username": "postgres",
            "slot": self._slot,
            "checkpoint": "fast",
        }
        backup = [str(self._programs / "pg_basebackup"), "--create-slot", "--write-recovery-conf"]
        backup += ["--no-sync", *(f"--{name}={value}" for name, value in options.items())]
        subprocess.run(backup, check=True, **self._options())

    def start(self) -> None:
        """Return once it answers queries."""
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError((self._folder / "log").read_text()[-2_000:])
            if self._process is None or self._process.poll() is not None:
                self._launch()  # also again, while processes of a killed one still end
            time.sleep(0.05)

    def stop(self) -> None:
        """A fast shutdown, which ends the sessions."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    def kill(self) -> None:
        """As a crash does: every process of it, at once."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Its connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        for _ in range(100):  # the primary notices the end of the connection within moments
            with suppress(psycopg2.Error):
                primary_rows(self._primary, "SELECT pg_drop_replication_slot(%s)", self._slot)
                return
            time.sleep(0.05)

    def rows(self, sql: str, *values: Any, database: str = "postgres") -> list[Any]:
        """Of a statement on it, in a session of its own."""
        with closing(self._connect(database)) as connection:
            return _rows(connection, sql, values)

    def pause_replay(self) -> None:
        """It stays as it is from now on, and goes on receiving."""
        self.rows("SELECT pg_wal_replay_pause()")
        while self.rows("SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
            # A pause is seen between two records, of which there may be none.
            primary_rows(self._primary, "SELECT pg_logical_emit_message(false, 'pause', '')")
            time.sleep(0.01)

    def resume_replay(self) -> None:
        self.rows("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Return once it has replayed what is written by now."""
        ((position,),) = primary_rows(self._primary, "SELECT pg_current_wal_insert_lsn()")
        deadline = time.monotonic() + STARTS_WITHIN
        while self.rows("SELECT pg_last_wal_replay_lsn() >= %s", position) != [(True,)]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.02)

    def _launch(self) -> None:
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self._folder)}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    f"-D{self._data}",
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdout=log,
                stderr=log,
                **self._options(),
            )

    def _options(self) -> dict[str, Any]:
        return {"cwd": "/", "start_new_session": True, **self._account.process_options()}

    def _signal(self, number: int) -> None:
        """To its postmaster and all children, if it runs."""
        if self._process is None or self._process.poll() is not None:
            return
        pid = self._process.pid
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False)
        for each in (pid, *map(int, children.stdout.split())):
            with suppress(ProcessLookupError):
                os.kill(each, number)

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> Any:
        connection = psycopg2.connect(self.url(database), connect_timeout=5)
        connection.autocommit = True
        return connection


@contextmanager
def standby_of(primary: EmbeddedPostgres, name: str = "standby") -> Iterator[Standby]:
    """A running standby, removed afterwards. `name` is that of its replication slot."""
    folder = Path(tempfile.mkdtemp(prefix="standby-"))
    standby = Standby(primary, folder, name)
    try:
        standby.make()
        standby.start()
        yield standby
    finally:
        standby.remove()
        shutil.rmtree(folder, ignore_errors=True)


def primary_rows(primary: EmbeddedPostgres, sql: str, *values: Any) -> list[Any]:
    at = f"host={primary.socket_directory} port={PORT} user=postgres dbname=postgres"
    with closing(psycopg2.connect(at)) as connection:
        connection.autocommit = True
        return _rows(connection, sql, values)


def _rows(connection: Any, sql: str, values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall()) if cursor.description else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
