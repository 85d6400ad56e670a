"""Limits the time of a statement whose server does not answer at all.

A timeout of PostgreSQL's own needs a server that still runs, one of TCP a network that loses
packets: the client library waits for a frozen server without end.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

LOOK_SECONDS = 0.25

_lock = threading.Lock()
# Deadline and connection of each statement that runs.
_running: dict[object, tuple[float, Any]] = {}
_watcher: threading.Thread | None = None


@contextmanager
def at_most(seconds: float, connection: Any) -> Iterator[None]:
    """Break the connection (psycopg2's) off if the block takes longer; its statement then fails
    with an OperationalError, as when the server had ended."""
    key = object()
    with _lock:
        _running[key] = (time.monotonic() + seconds, connection)
        _ensure_watched()
    try:
        yield
    finally:
        with _lock:  # not while the watcher uses the connection's socket
            del _running[key]


def _ensure_watched() -> None:
    global _watcher
    if _watcher is None or not _watcher.is_alive():  # a forked process has none
        _watcher = threading.Thread(target=_watch, name="time-limits", daemon=True)
        _watcher.start()


def _watch() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        with _lock:
            for deadline, connection in _running.values():
                if deadline < now and not connection.closed:
                    _break_off(connection)


def _break_off(connection: Any) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)
