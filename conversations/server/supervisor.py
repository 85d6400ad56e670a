"""The parent of the web server's processes: it listens, has them started, replaces those that die,
and on SIGHUP replaces all of them by those of a new release.

A reload takes new code and settings, and the last release that worked goes on where these do not
start. All processes take their connections from one socket, which is open here: while one is
replaced, connections wait for another one, and none is refused.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from dataclasses import dataclass, field

from conversations.server.release import Release
from conversations.server.worker import BACKLOG

# A client that does not read what it is sent is cut off after so many milliseconds.
UNREAD_MILLISECONDS = 30_000

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The first processes have ended before they were ready."""


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # Connections in TIME_WAIT of a server that has just stopped do not block the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit these.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


@dataclass(eq=False)
class Supervisor:
    """Serves the application (`module:name`) with `workers` processes until told to stop."""

    application: str
    listener: socket.socket
    workers: int
    # All of it, of the processes.
    environment: dict[str, str]
    _releases: set[Release] = field(default_factory=set)
    _retiring: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises CannotStart."""
        stopped, reload = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        tasks = [asyncio.create_task(self._serve(reload)), asyncio.create_task(stopped.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
        finally:
            for task in (*tasks, *self._retiring):
                task.cancel()
            await asyncio.gather(*tasks, *self._retiring, return_exceptions=True)
            await asyncio.gather(*(release.end() for release in self._releases))

    async def _serve(self, reload: asyncio.Event) -> None:
        current = await self._start()
        if current is None:
            raise CannotStart
        while True:
            await reload.wait()
            reload.clear()
            if following := await self._start():
                retiring = asyncio.create_task(self._retire(current))
                self._retiring.add(retiring)
                retiring.add_done_callback(self._retiring.discard)
                current = following
            else:
                log.error("A reload has failed: the processes of before go on")

    async def _start(self) -> Release | None:
        release = Release(self.application, self.listener, self.workers, self.environment)
        self._releases.add(release)
        if await release.start():
            return release
        await release.end()
        self._releases.discard(release)
        return None

    async def _retire(self, release: Release) -> None:
        await release.retire()
        self._releases.discard(release)
