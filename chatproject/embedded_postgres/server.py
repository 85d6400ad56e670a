"""Who shares an embedded server: the first process to need it starts it, the last one stops it.

Each process that uses the server holds a shared lock on `clients.lock`. The kernel drops it with
the process, so `kill -9` leaves no stale entry. Starting and stopping happen under the exclusive
`start.lock`, so that nobody starts what another one is just about to stop.
"""

import atexit
import fcntl
import logging
import multiprocessing
import multiprocessing.util
import os
import threading
from pathlib import Path
from typing import Any

from . import locks
from .accounts import name_of, refuse_stranger
from .errors import EmbeddedPostgresError
from .folders import PORT, socket_folder
from .postmaster import Postmaster

DATABASE = "chatproject"

logger = logging.getLogger(__name__)

_all: list["EmbeddedPostgres"] = []
_by_directory: dict[Path, "EmbeddedPostgres"] = {}


class EmbeddedPostgres:
    """This process's share of the server in `directory`.

    `durable=False` is for tests: a crash of the machine may then lose or break the data.
    """

    _share: int | None

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = Path(directory).resolve()
        self._postmaster = Postmaster(self.directory, durable=durable)
        self._start_lock = self.directory / "start.lock"
        self._begin_without_share()
        atexit.register(self.release)
        _all.append(self)

    @property
    def socket_directory(self) -> Path:
        """Where clients connect; known before anything has started."""
        return self._postmaster.socket_directory

    @property
    def is_held(self) -> bool:
        return self._share is not None

    def acquire(self) -> None:
        """Return with the server accepting connections and this process counted as a user of it.

        Cheap to call again, which restarts a server that has died meanwhile.
        """
        with self._guard:
            try:
                self._acquire()
            except OSError as error:
                user = name_of(os.geteuid())
                raise EmbeddedPostgresError(
                    f"{user} cannot use the embedded PostgreSQL in {self.directory}: {error}"
                ) from error

    def release(self) -> None:
        """Give the share up, and stop the server if it was the last. Runs when the process ends."""
        with self._guard:
            if self._share is None:
                return
            share, self._share = self._share, None
            try:
                with locks.exclusive(self._start_lock):
                    if locks.upgrade(share):
                        self._postmaster.stop()
            except OSError as error:  # somebody has removed the folder, for one
                logger.warning("PostgreSQL in %s was not stopped: %s", self.directory, error)
            finally:
                locks.drop(share)

    def _acquire(self) -> None:
        # Root's server runs as another account, which has to pass through here.
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        refuse_stranger(self._postmaster.data)
        with locks.exclusive(self._start_lock):
            self._postmaster.ensure_runs()
            self._postmaster.ensure_database(DATABASE)
            self._take_share()

    def _take_share(self) -> None:
        # Taken anew each time, since the folder may have been removed and made again.
        previous = self._share
        self._share = locks.hold(self.directory / "clients.lock", fcntl.LOCK_SH)
        if previous is not None:
            locks.drop(previous)
        elif multiprocessing.parent_process() is not None:
            # The children of multiprocessing end without atexit.
            multiprocessing.util.Finalize(None, self.release, exitpriority=0)

    def _begin_without_share(self) -> None:
        self._guard = threading.RLock()
        self._share = None


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


def _forget_shares_of_parent() -> None:
    # `locks` has closed their descriptors; a thread that held a guard is not in this process.
    for server in _all:
        server._begin_without_share()


os.register_at_fork(after_in_child=_forget_shares_of_parent)
