"""The web server that `quickstart` runs: granian, with WSGI and threads.

This module must not import models: if processes are spawned instead of forked, a worker imports it
before django.setup().
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

from django.core.management.base import CommandError
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from conversations.chat.runtime.shutdown import listen_for_end

APPLICATION = "chatproject.wsgi:application"
THREADS_PER_WORKER = 16
# Reserved for commands, migrations and the superuser of the database.
RESERVED_CONNECTIONS = 20
SHUTDOWN_SECONDS = 10
MAX_PORT = 65_535

PORT_IN_USE = (
    "Port {port} of {host} is in use. Stop the server that uses it, or choose another port: "
    "`make run PORT={other}`, or `quickstart --port {other}`."
)
CANNOT_LISTEN = "Cannot listen on port {port} of {host}: {reason}."


def check_address(host: str, port: int) -> None:
    """Raise CommandError unless a server can listen there.

    granian cannot detect a port in use: it binds with SO_REUSEPORT, which lets two servers share
    one port, each receiving a part of the requests.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections in TIME_WAIT of a server that has just stopped do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        text = PORT_IN_USE if error.errno == errno.EADDRINUSE else CANNOT_LISTEN
        other = port + 1 if port < MAX_PORT else port - 1
        raise CommandError(
            text.format(host=host, port=port, other=other, reason=error.strerror)
        ) from None


def threads_per_worker(workers: int, max_connections: int) -> int:
    """The number of threads of each worker, of which each holds a database connection.

    0 if the database has too few connections for so many workers.
    """
    return min(THREADS_PER_WORKER, (max_connections - RESERVED_CONNECTIONS) // workers)


def serve(*, host: str, port: int, workers: int, threads: int) -> None:
    """Serve until SIGINT or SIGTERM. Exits with status 1 if the workers crash repeatedly.

    The caller must have closed its database connections, since the workers are forked.
    """
    Server(
        APPLICATION,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        respawn_failed_workers=True,
        workers_kill_timeout=SHUTDOWN_SECONDS,
        log_level=LogLevels.error,
    ).serve(target_loader=load_in_worker)


def load_in_worker(target: str) -> Any:
    """Runs first in each worker: sets up its signal handlers and returns the application."""
    # The forked worker inherits the handlers of its parent, which do nothing in it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C sends SIGINT to all processes of the terminal. A worker that exits before the parent
    # stops it is counted as crashed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    listen_for_end()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _end_with_parent() -> None:
    """Exit with the parent: after `kill -9` of it, orphaned workers would hold the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SHUTDOWN_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
