"""The web server that `quickstart` runs, and whether it can."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from pathlib import Path

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
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

PORT_IN_USE = (
    "Port {port} of {host} is in use. Stop the server that uses it, or choose another port: "
    "`make run PORT={other}`, or `quickstart --port {other}`."
)
CANNOT_LISTEN = "Cannot listen on port {port} of {host}: {reason}."
CANNOT_START = "The web server's processes do not start; the reason is above."

log = logging.getLogger(__name__)


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
        environment = _given_environment() | {"WEB_THREADS": str(threads)}
        environment |= _metrics_folder(host, port)
        try:
            asyncio.run(Supervisor(APPLICATION, listener, workers, environment).run())
        except CannotStart:
            raise CommandError(CANNOT_START) from None


def _metrics_folder(host: str, port: int) -> dict[str, str]:
    """Where the workers share their figures: emptied, since nobody else listens on this address.

    On a disk that cannot be written, each has its own figures.
    """
    given = os.environ.get(METRICS_FOLDER)
    folder = Path(given) if given else settings.DATA_DIR / "metrics" / f"{host}-{port}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for pattern in ("[a-z]*_[0-9]*.db", "[0-9]*.lock"):  # a given folder may have other files
            for path in folder.glob(pattern):
                path.unlink()
    except OSError as error:
        log.warning("Metrics are those of each process alone: %s", error)
        return {METRICS_FOLDER: ""}
    return {METRICS_FOLDER: str(folder)}


def _given_environment() -> dict[str, str]:
    """Without what the settings took from `.env`, which is read again at a reload."""
    file = settings.NAMES_FROM_ENV_FILE
    return {name: value for name, value in os.environ.items() if name not in file}


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        text = PORT_IN_USE if error.errno == errno.EADDRINUSE else CANNOT_LISTEN
        other = port + 1 if port < MAX_PORT else port - 1
        raise CommandError(
            text.format(host=host, port=port, other=other, reason=error.strerror)
        ) from None
