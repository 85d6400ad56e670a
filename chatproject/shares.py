"""Who shares a server: the first process to need it starts it, the last one stops it.

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
from collections.abc import Callable
from pathlib import Path

from . import locks

logger = logging.getLogger(__name__)

_all: list["Share"] = []


class Share:
    """This process's share of the server in `directory`.

    `start` returns once the server runs, whether it ran before or not; `stop` ends it.
    """

    _share: int | None

    def __init__(
        self, directory: Path, *, start: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        self.directory = directory
        self._start = start
        self._stop = stop
        self._begin_without_share()
        atexit.register(self.give_up)
        _all.append(self)

    @property
    def is_held(self) -> bool:
        return self._share is not None

    def take(self) -> None:
        """Return with the server running and this process counted as a user of it.

        Cheap to call again, which restarts a server that has died meanwhile.
        """
        with self._guard, locks.exclusive(start_lock(self.directory)):
            self._start()
            self._hold()

    def give_up(self) -> None:
        """Stop the server if this was the last share of it. Runs when the process ends."""
        with self._guard:
            if self._share is None:
                return
            share, self._share = self._share, None
            try:
                with locks.exclusive(start_lock(self.directory)):
                    if locks.upgrade(share):
                        self._stop()
            except OSError as error:  # somebody has removed the folder, for one
                logger.warning("The server in %s was not stopped: %s", self.directory, error)
            finally:
                locks.drop(share)

    def _hold(self) -> None:
        # Taken anew each time, since the folder may have been removed and made again.
        previous = self._share
        self._share = locks.hold(clients_lock(self.directory), fcntl.LOCK_SH)
        if previous is not None:
            locks.drop(previous)
        elif multiprocessing.parent_process() is not None:
            # The children of multiprocessing end without atexit.
            multiprocessing.util.Finalize(None, self.give_up, exitpriority=0)

    def _begin_without_share(self) -> None:
        self._guard = threading.RLock()
        self._share = None


def start_lock(directory: Path) -> Path:
    return directory / "start.lock"


def clients_lock(directory: Path) -> Path:
    return directory / "clients.lock"


def _forget_shares_of_parent() -> None:
    # `locks` has closed their descriptors; a thread that held a guard is not in this process.
    for share in _all:
        share._begin_without_share()


os.register_at_fork(after_in_child=_forget_shares_of_parent)
