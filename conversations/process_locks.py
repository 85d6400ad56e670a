"""File locks (flock) of running processes, and server processes shared by several others.

The kernel releases a lock when its process ends, so `kill -9` leaves no stale lock. A forked child
closes its copies of the locks of its parent. Imports neither Django nor anything else of this
project: the embedded servers of `chatproject` use it before Django is set up.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import multiprocessing
import multiprocessing.util
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_descriptors: set[int] = set()
_servers: list[SharedServer] = []


def lock(path: Path, *, shared: bool = False, wait: bool = True) -> int:
    """Lock the file, created if it does not exist; returns the file descriptor that holds the lock.

    Raises BlockingIOError if `wait` is False and another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    _descriptors.add(descriptor)
    try:
        _give_to_owner_of_folder(descriptor, path)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BaseException:
        close(descriptor)
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether some process, this one included, holds the exclusive lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def upgrade(descriptor: int) -> bool:
    """Upgrade a shared lock to an exclusive one. Returns False, with no lock held, if others share
    it."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def unlock(descriptor: int) -> None:
    """Unlock and close. Also unlocks the copies of the descriptor in forked children."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    close(descriptor)


def close(descriptor: int) -> None:
    """Close the descriptor of this process. The lock is held while another process has a copy."""
    _descriptors.discard(descriptor)
    os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    descriptor = lock(path)
    try:
        yield
    finally:
        unlock(descriptor)


@contextmanager
def locked_for_children(path: Path) -> Iterator[int]:
    """An exclusive lock for child processes that inherit the descriptor; it is held until all of
    them have exited."""
    descriptor = lock(path)
    try:
        yield descriptor
    finally:
        close(descriptor)


class SharedServer(ABC):
    """A server process with its data in `directory`, started by the first client process and
    stopped by the last.

    Each client holds a shared lock on `clients.lock`. Start and stop are serialised by an exclusive
    lock on `start.lock`.
    """

    _client_lock: int | None

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory).resolve()
        self._forget_client_lock()
        atexit.register(self.release)
        _servers.append(self)

    @abstractmethod
    def _start(self) -> None:
        """Start the server unless it is running; returns once it is ready."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop the server."""

    @property
    def is_held(self) -> bool:
        """Whether this process is a client of the server."""
        return self._client_lock is not None

    def release(self) -> None:
        """Stop the server if this process is its last client. Also runs at exit."""
        with self._guard:
            if self._client_lock is None:
                return
            client_lock, self._client_lock = self._client_lock, None
            try:
                with locked(start_lock(self.directory)):
                    if upgrade(client_lock):
                        self._stop()
            except OSError as error:  # such as a removed folder
                logger.warning("The server in %s was not stopped: %s", self.directory, error)
            finally:
                unlock(client_lock)

    def _start_and_hold(self) -> None:
        """Start the server if it is not running, and register this process as a client.

        Cheap to call again; restarts a server that has crashed.
        """
        with self._guard, locked(start_lock(self.directory)):
            self._start()
            self._lock_as_client()

    def _lock_as_client(self) -> None:
        # A new lock each time, since the folder may have been removed and created again.
        previous = self._client_lock
        self._client_lock = lock(clients_lock(self.directory), shared=True)
        if previous is not None:
            unlock(previous)
        elif multiprocessing.parent_process() is not None:
            # Children of multiprocessing do not run atexit handlers.
            multiprocessing.util.Finalize(None, self.release, exitpriority=0)

    def _forget_client_lock(self) -> None:
        self._guard = threading.RLock()
        self._client_lock = None


def start_lock(directory: Path) -> Path:
    return directory / "start.lock"


def clients_lock(directory: Path) -> Path:
    return directory / "clients.lock"


def _give_to_owner_of_folder(descriptor: int, path: Path) -> None:
    # Otherwise `sudo manage.py ...` would create lock files that the folder's owner cannot open.
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _close_locks_of_parent() -> None:
    # Otherwise a child would hold the locks of its parent after the parent has exited. The guards
    # are replaced because a thread that held one does not exist in the child.
    for descriptor in list(_descriptors):
        close(descriptor)
    for server in _servers:
        server._forget_client_lock()


os.register_at_fork(after_in_child=_close_locks_of_parent)
