"""This process's use of the embedded server: the server's start and stop, and who shares it.

`database_settings` gives the entry for `DATABASES` that leads here.
"""

import hashlib
import logging
import os
import shlex
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2

from conversations import process_locks
from conversations.process_locks import SharedServer

from . import cluster
from .accounts import (
    Account,
    account_for,
    let_pass,
    let_read,
    make_private,
    name_of,
    refuse_other_owner,
)
from .errors import EmbeddedPostgresError, is_away
from .programs import Run, files_to_run, newest, programs_for, run_program

DATABASE = "chatproject"
PORT = "5432"
LONGEST_SOCKET_PATH = 103  # bytes on macOS; Linux takes 107
SECONDS_TO_START = 60  # a server that was killed replays its log first
SECONDS_TO_STOP = 60
SECONDS_BETWEEN_LOOKS = 0.01
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

logger = logging.getLogger(__name__)

_by_directory: dict[Path, "EmbeddedPostgres"] = {}


class EmbeddedPostgres(SharedServer):
    """This process's use of the server in `directory`.

    `durable=False` is for tests: a crash of the machine may then lose or break the data.
    """

    # The start that threads wait for, and until when.
    _acquiring: Future[None] | None
    _deadline: float

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        super().__init__(directory)
        self.data = self.directory / "data"
        self.logs = self.directory / "log"
        # Where clients connect; known before anything has started.
        self.socket_directory = socket_folder(self.directory)
        self.durable = durable

    def acquire(self) -> None:
        """Return with the server accepting connections and this process counted as a user of it.

        Cheap to call again, which restarts a server that has died meanwhile.
        """
        try:
            # Root's server runs as another account, which has to pass through here.
            self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            refuse_other_owner(self.data)
            self._start_and_hold()
        except OSError as error:
            user = name_of(os.geteuid())
            raise EmbeddedPostgresError(
                f"{user} cannot use the embedded PostgreSQL in {self.directory}: {error}"
            ) from error

    def acquire_within(self, seconds: float) -> None:
        """As `acquire`, but raises EmbeddedPostgresError so many seconds after it was begun.

        It goes on in a thread, for which all other threads wait, and no longer.
        """
        with self._beginning:
            if self._acquiring is None or self._acquiring.done():
                self._acquiring, self._deadline = Future(), time.monotonic() + seconds
                threading.Thread(
                    target=self._acquire_for, args=[self._acquiring], name="database", daemon=True
                ).start()
            acquiring, deadline = self._acquiring, self._deadline
        try:
            acquiring.result(max(0, deadline - time.monotonic()))
        except TimeoutError:
            raise self._error(f"has not started within {seconds:g} s") from None

    def _acquire_for(self, future: Future[None]) -> None:
        try:
            self.acquire()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    def _forget_client_lock(self) -> None:
        super()._forget_client_lock()
        self._beginning = threading.Lock()
        self._acquiring = None
        self._deadline = 0.0

    def _start(self) -> None:
        self._ensure_runs()
        self._ensure_database(DATABASE)

    def _ensure_runs(self) -> None:
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
                self._start_postgres(account)

    def _ensure_database(self, name: str) -> None:
        with closing(self._connect()) as connection:
            connection.autocommit = True  # CREATE DATABASE runs in no transaction
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
                if not cursor.rowcount:
                    cursor.execute(f'CREATE DATABASE "{name}"')

    def _stop(self) -> None:
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

    def _start_postgres(self, account: Account) -> None:
        version = cluster.version_of(self.data)
        folder = programs_for(version or newest(), self.data)
        make_private(self.logs, account)
        if account.is_another:
            self._give_access(account, files_to_run(folder))
        with process_locks.locked_for_children(self._lock_file) as lock:
            run = partial(run_program, folder, account=account, lock=lock)
            if version is None:
                cluster.make_cluster(self.data, account, run, durable=self.durable)
            failure = self._launch(run)
        if failure is not None and not self._is_alive():
            raise self._error(f"does not start: {failure}")

    def _give_access(self, account: Account, files: list[Path]) -> None:
        if self.data.exists() and self.data.stat().st_uid == os.geteuid():
            account.own_tree(self.data)  # copied or restored by root
        let_pass(account, [self.data, self.socket_directory, *files])
        let_read(account, files)

    def _launch(self, run: Run) -> str | None:
        logger.info("Starting PostgreSQL in %s", self.data)
        self._remove_stale_files()
        cluster.remove_old_logs(self.logs)
        return run("pg_ctl", "start", *self._start_options())

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


def server_at(directory: Path, *, durable: bool = True) -> EmbeddedPostgres:
    """The one object of this process for `directory`."""
    directory = Path(directory).resolve()
    if directory not in _by_directory:
        _by_directory.setdefault(directory, EmbeddedPostgres(directory, durable=durable))
    return _by_directory[directory]


def database_settings(directory: Path, *, durable: bool = True, **extra: Any) -> dict[str, Any]:
    """The entry for `DATABASES`. It starts nothing: the first connection does."""
    directory = Path(directory).resolve()
    return {
        "ENGINE": "chatproject.embedded_postgres",
        "NAME": DATABASE,
        "USER": "postgres",
        "HOST": str(socket_folder(directory)),
        "PORT": PORT,
        "EMBEDDED": {"directory": str(directory), "durable": durable},
        **extra,
    }


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
