"""Kernel file locks (flock) that a killed process cannot leave behind and a fork cannot steal."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_open: set[int] = set()


def hold(path: Path, operation: int) -> int:
    """A descriptor that holds the lock: LOCK_SH or LOCK_EX, waited for; with LOCK_NB, at once
    or BlockingIOError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    _open.add(descriptor)
    try:
        _give_to_owner_of_folder(descriptor, path)
        fcntl.flock(descriptor, operation)
    except BaseException:
        forget(descriptor)
        raise
    return descriptor


def is_free(path: Path) -> bool:
    try:
        drop(hold(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def upgrade(descriptor: int) -> bool:
    """Turn a shared lock into the exclusive one; False, and no lock at all, if others share it."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def drop(descriptor: int) -> None:
    """Unlock and close. Unlocking also takes the lock from copies that a forked child has."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    forget(descriptor)


def forget(descriptor: int) -> None:
    """Close this process's copy: the lock stays for as long as another process has one."""
    _open.discard(descriptor)
    os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    descriptor = hold(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        drop(descriptor)


@contextmanager
def lent(path: Path) -> Iterator[int]:
    """An exclusive lock for processes that inherit it: it lasts until all of them have ended."""
    descriptor = hold(path, fcntl.LOCK_EX)
    try:
        yield descriptor
    finally:
        forget(descriptor)


def _give_to_owner_of_folder(descriptor: int, path: Path) -> None:
    # So that `sudo manage.py ...` leaves no lock file that the folder's owner cannot open.
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _close_copies_of_parent() -> None:
    # Or a child would keep its parent's share of the server alive after the parent has ended.
    for descriptor in list(_open):
        forget(descriptor)


os.register_at_fork(after_in_child=_close_copies_of_parent)
