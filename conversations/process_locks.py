"""File locks (flock) held by living processes, and server processes that several others share.

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
    """Lock the file, made if need be; the open descriptor that holds the lock.

    BlockingIOError where `wait` is False and another process holds it.
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
    """Turn a shared lock into the exclusive one; False, and no lock at all, if others share it."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def unlock(descriptor: int) -> None:
    """Unlock and close. Unlocking also takes the lock from copies that a forked child has."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    close(descriptor)


def close(descriptor: int) -> None:
    """Close this process's copy: the lock stays for as long as another process has one."""
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
    """The exclusive lock for processes that inherit the descriptor: it lasts until all of them
    have ended."""
    descriptor = lock(path)
    try:
        yield descriptor
    finally:
        close(descriptor)


class SharedServer(ABC):
    """A server process in `directory`: the first process that needs it starts it, the last one to
    release it stops it.

    Each process that uses the server holds a shared lock on `clients.lock`. Starting and stopping
    happen under the exclusive `start.lock`, so that nobody stops what another one just starts.
    """

    _client_lock: int | None

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory).resolve()
        self._forget_client_lock()
        atexit.register(self.release)
        _servers.append(self)

    @abstractmethod
    def _start(self) -> None:
        """Return once the server runs, whether it ran before or not."""

    @abstractmethod
    def _stop(self) -> None:
        """End the server."""

    @property
    def is_held(self) -> bool:
        """Whether this process counts as a user of the server."""
        return self._client_lock is not None

    def release(self) -> None:
        """Stop the server if this process was its last user. Runs when the process ends."""
        with self._guard:
            if self._client_lock is None:
                return
            client_lock, self._client_lock = self._client_lock, None
            try:
                with locked(start_lock(self.directory)):
                    if upgrade(client_lock):
                        self._stop()
            except OSError as error:  # somebody has removed the folder, for one
                logger.warning("The server in %s was not stopped: %s", self.directory, error)
            finally:
                unlock(client_lock)

    def _start_and_hold(self) -> None:
        """Return with the server running and this process counted as a user of it.

        Cheap to call again, which restarts a server that has died meanwhile.
        """
        with self._guard, locked(start_lock(self.directory)):
            self._start()
            self._lock_as_client()

    def _lock_as_client(self) -> None:
        # Taken anew each time, since the folder may have been removed and made again.
        previous = self._client_lock
        self._client_lock = lock(clients_lock(self.directory), shared=True)
        if previous is not None:
            unlock(previous)
        elif multiprocessing.parent_process() is not None:
            # The children of multiprocessing end without atexit.
            multiprocessing.util.Finalize(None, self.release, exitpriority=0)

    def _forget_client_lock(self) -> None:
        self._guard = threading.RLock()
        self._client_lock = None


def start_lock(directory: Path) -> Path:
    return directory / "start.lock"


def clients_lock(directory: Path) -> Path:
    return directory / "clients.lock"


def _give_to_owner_of_folder(descriptor: int, path: Path) -> None:
    # So that `sudo manage.py ...` leaves no lock file that the folder's owner cannot open.
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _close_locks_of_parent() -> None:
    # Or a child would keep its parent's locks after the parent has ended. A thread of the parent
    # that held a guard is not in the child.
    for descriptor in list(_descriptors):
        close(descriptor)
    for server in _servers:
        server._forget_client_lock()


os.register_at_fork(after_in_child=_close_locks_of_parent)
