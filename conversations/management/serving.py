"""The web server that `quickstart` runs, and whether it can."""

from __future__ import annotations

import asyncio
import errno
import socket

from django.conf import settings
from django.core.management.base import CommandError

from conversations.server.supervisor import (
    CannotStart,
    Supervisor,
    listen,
)

APPLICATION = "chatproject.asgi:application"
# Of each process beside its requests: turns and their log, changes, readiness, abandoned turns.
OTHER_CONNECTIONS = 6
# Reserved for commands, migrations and the superuser of the database.
RESERVED_CONNECTIONS = 20
MAX_PORT = 65_535

PORT_IN_USE = (
    "Port {port} of {host} is in use. Stop the server that uses it, or choose another port: "
    "`make run PORT={other}`, or `quickstart --port {other}`."
)
CANNOT_LISTEN = "Cannot listen on port {port} of {host}: {reason}."
CANNOT_START = "The web server's processes do not start; the reason is above."


def check_address(host: str, port: int) -> None:
    """Raise CommandError unless a server can listen there."""
    _listen(host, port).close()


def threads_per_worker(workers: int, max_connections: int) -> int:
    """The number of threads of each worker, of which each holds a database connection.

    0 if the database has too few connections for so many workers.
    """
    available = (max_connections - RESERVED_CONNECTIONS) // workers - OTHER_CONNECTIONS
    return max(0, min(settings.WEB_THREADS, available))


def serve(*, host: str, port: int, workers: int, threads: int) -> None:
    """Serve until SIGINT or SIGTERM; SIGHUP reloads. Raises CommandError if it cannot start."""
    with _listen(host, port) as listener:
        environment = {"WEB_THREADS": str(threads)}
        try:
            asyncio.run(Supervisor(APPLICATION, listener, workers, environment).run())
        except CannotStart:
            raise CommandError(CANNOT_START) from None


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        text = PORT_IN_USE if error.errno == errno.EADDRINUSE else CANNOT_LISTEN
        other = port + 1 if port < MAX_PORT else port - 1
        raise CommandError(
            text.format(host=host, port=port, other=other, reason=error.strerror)
        ) from None
