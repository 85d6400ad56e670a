"""The web server that `quickstart` runs: granian, with WSGI and threads.

Nothing here may import models: where processes are spawned and not forked, a worker imports this
module before Django is set up.
"""

from __future__ import annotations

import errno
import importlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from conversations.chat.runtime.shutdown import listen_for_end

APPLICATION = "chatproject.wsgi:application"
THREADS_PER_WORKER = 16
# Connections that are left to commands, migrations and the database's own superuser.
CONNECTIONS_KEPT_FREE = 20
SECONDS_TO_FINISH = 10
HIGHEST_PORT = 65_535

PORT_IN_USE = (
    "Port {port} of {host} is in use. Stop what listens there, or take another: "
    "`make run PORT={other}`, or `quickstart --port {other}`."
)
CANNOT_LISTEN = "Cannot listen on port {port} of {host}: {why}."


class CannotListen(Exception):
    """The address is taken, not this machine's, or not ours to use."""


def check_address(host: str, port: int) -> None:
    """Raise CannotListen unless a server may listen there.

    The server would not find out: it binds with SO_REUSEPORT, which lets two servers share one
    port, each getting half of the requests.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections of a server that has just stopped are not in the way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise CannotListen(_why(error, host, port)) from None


def _why(error: OSError, host: str, port: int) -> str:
    text = PORT_IN_USE if error.errno == errno.EADDRINUSE else CANNOT_LISTEN
    other = port + 1 if port < HIGHEST_PORT else port - 1
    return text.format(host=host, port=port, other=other, why=error.strerror)


def threads_per_worker(workers: int, max_connections: int) -> int:
    """How many threads each worker may have: every one of them keeps a database connection.

    0 when there are too many workers for the database.
    """
    return min(THREADS_PER_WORKER, (max_connections - CONNECTIONS_KEPT_FREE) // workers)


def serve(*, host: str, port: int, workers: int, threads: int) -> None:
    """Serve until SIGINT or SIGTERM. Exits with 1 when the workers keep dying.

    The caller must have closed its database connections: workers are forked from it.
    """
    Server(
        APPLICATION,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        respawn_failed_workers=True,
        workers_kill_timeout=SECONDS_TO_FINISH,
        log_level=LogLevels.error,
    ).serve(target_loader=load_in_worker)


def load_in_worker(target: str) -> Any:
    """Runs first in each worker: the WSGI application, and how the worker ends."""
    # Until the worker has handlers of its own, it has copies of its parent's, which do nothing.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches all processes of a terminal. A worker that ended before its parent told it
    # to would count as crashed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    listen_for_end()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _end_with_parent() -> None:
    """Without this, `kill -9` of the parent would leave workers behind that hold the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_FINISH)
    os.kill(os.getpid(), signal.SIGKILL)
