"""Work that one process of all machines on a database does at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

LOOK_SECONDS = 0.5


@contextmanager
def one_at_a_time(key: int, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Wait until no other process is in a block with this key; `on_wait` is called if one is.

    An advisory lock, in a transaction on a connection of its own, so that the block may use
    transactions of any kind and a pooler may be between. The lock ends with the process.
    """
    with _own_connection() as own:
        if not _lock(own, key):
            on_wait()
            # Asked again and again: a statement that waited would hold a snapshot, for which
            # CREATE INDEX CONCURRENTLY waits, in the very migration that is waited for.
            while not _lock(own, key):
                time.sleep(LOOK_SECONDS)
        yield


@contextmanager
def unless_elsewhere(key: int) -> Iterator[bool]:
    """The same without waiting: whether no other process is in a block with this key."""
    with _own_connection() as own:
        yield _lock(own, key)


@contextmanager
def _own_connection() -> Iterator[BaseDatabaseWrapper]:
    own = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        own.set_autocommit(False)
        yield own
    finally:
        own.close()


def _lock(own: BaseDatabaseWrapper, key: int) -> bool:
    with own.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
        locked: bool = cursor.fetchone()[0]
    if not locked:
        own.rollback()
    return locked
