"""The server process on one data directory: whether it runs, its start and its stop.

Whoever calls `ensure_runs` or `stop` holds the start lock of a SharedServer; nothing here knows who
shares the server.
"""

import hashlib
import logging
import os
import shlex
import signal
import time
from contextlib import closing, suppress
from pathlib import Path

import psycopg2

from conversations import process_locks

from . import cluster
from .accounts import Account, account_for, let_pass, let_read, make_private
from .errors import EmbeddedPostgresError, is_away
from .programs import Programs, files_to_run, newest, programs_for

PORT = "5432"
LONGEST_SOCKET_PATH = 103  # bytes on macOS; Linux takes 107
SECONDS_TO_START = 60  # a server that was killed replays its log first
SECONDS_TO_STOP = 60
SECONDS_BETWEEN_LOOKS = 0.01
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

logger = logging.getLogger(__name__)


class Postmaster:
    def __init__(self, directory: Path, *, durable: bool) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.logs = directory / "log"
        self.socket_directory = socket_folder(directory)
        self.durable = durable

    def ensure_runs(self) -> None:
        """Return once it accepts connections, having started it if need be."""
        account = account_for(self.directory, self.data)
        make_private(self.socket_directory, account)
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if time.monotonic() > deadline:
                raise self._error(f"accepts no connections after {SECONDS_TO_START} s")
            if self._is_alive():  # starting, recovering or stopping
                time.sleep(SECONDS_BETWEEN_LOOKS)
            else:
                self._start(account)

    def ensure_database(self, name: str) -> None:
        with closing(self._connect()) as connection:
            connection.autocommit = True  # CREATE DATABASE runs in no transaction
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
                if not cursor.rowcount:
                    cursor.execute(f'CREATE DATABASE "{name}"')

    def stop(self) -> None:
        """End every session and stop. A slow one is left to it: the next start waits for that."""
        if (pid := self._pid()) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)  # a "fast shutdown"
        deadline = time.monotonic() + SECONDS_TO_STOP
        while self._is_alive() and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        with suppress(OSError):
            self.socket_directory.rmdir()

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg2.OperationalError as error:
            return not is_away(error)
        return True

    def _connect(self) -> "psycopg2.extensions.connection":
        return psycopg2.connect(
            host=str(self.socket_directory),
            port=PORT,
            user="postgres",
            dbname="postgres",
            connect_timeout=10,
        )

    def _is_alive(self) -> bool:
        """Whether any process of it runs, even one that outlived a killed postmaster or initdb."""
        return process_locks.is_locked(self._lock_file) or self._pid() is not None

    @property
    def _lock_file(self) -> Path:
        return self.directory / "server.lock"

    def _pid(self) -> int | None:
        """The running postmaster. The number in the file may be another process's by now."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        return pid if _works_in(self.data, pid) else None

    def _start(self, account: Account) -> None:
        version = cluster.version_of(self.data)
        folder = programs_for(version or newest(), self.data)
        make_private(self.logs, account)
        if account.is_another:
            self._give_access(account, files_to_run(folder))
        with process_locks.locked_for_children(self._lock_file) as lock:
            programs = Programs(folder, account, lock)
            if version is None:
                cluster.make_cluster(self.data, programs, durable=self.durable)
            failure = self._launch(programs)
        if failure is not None and not self._is_alive():
            raise self._error(f"does not start: {failure}")

    def _give_access(self, account: Account, files: list[Path]) -> None:
        if self.data.exists() and self.data.stat().st_uid == os.geteuid():
            account.own_tree(self.data)  # copied or restored by root
        let_pass(account, [self.data, self.socket_directory, *files])
        let_read(account, files)

    def _launch(self, programs: Programs) -> str | None:
        logger.info("Starting PostgreSQL in %s", self.data)
        self._remove_stale_files()
        cluster.remove_old_logs(self.logs)
        return programs.run("pg_ctl", "start", *self._start_options())

    def _remove_stale_files(self) -> None:
        # After a crash of the machine, or in a new container, the process number in these files
        # may be another program's, and PostgreSQL would take that one for its postmaster.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_directory / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _start_options(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "unix_socket_permissions": "0700",  # whoever reaches the socket is let in
        }
        settings |= {} if self.durable else NOT_DURABLE
        options = ["-p", PORT] + [f"--{name}={value}" for name, value in settings.items()]
        return [
            f"--pgdata={self.data}",
            f"--log={self.logs / 'startup.log'}",
            f"--options={shlex.join(options)}",
            f"--timeout={SECONDS_TO_START}",
            "--wait",
        ]

    def _error(self, what: str) -> EmbeddedPostgresError:
        log = cluster.end_of_logs(self.logs)
        return EmbeddedPostgresError(f"The embedded PostgreSQL in {self.directory} {what}", log=log)


def socket_folder(directory: Path) -> Path:
    """The folder of the socket: inside `directory` if that is short enough for a socket."""
    inside = directory / "run"
    path = os.fsencode(inside / f".s.PGSQL.{PORT}")
    # The driver takes a comma for the end of a host name.
    if len(path) <= LONGEST_SOCKET_PATH and b"," not in path:
        return inside
    # Not TMPDIR or XDG_RUNTIME_DIR: a login, a cron job and a service see different ones, and
    # each process must find the same socket.
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path("/tmp", f"chatproject-{name}")  # noqa: S108 - make_private() checks it


def _works_in(folder: Path, pid: int) -> bool:
    """Whether process `pid` runs in `folder`, where a postmaster works; elsewhere than on Linux
    only whether it runs."""
    try:
        if Path("/proc/self/cwd").exists():
            return os.path.samefile(f"/proc/{pid}/cwd", folder)
        os.kill(pid, 0)
    except OSError:
        return False
    return True
