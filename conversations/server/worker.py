"""One process of the web server, forked with the application loaded; the supervisor listens."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, NoReturn

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

# After a process is told to end: its turns are stored as interrupted, its requests are answered.
END_SECONDS = 10.0
# For so long a retired process goes on to take requests, whose answers close the connection: a
# client that keeps its connection does not find it closed when it sends the next one.
RETIRING_SECONDS = 1.0
LOOK_SECONDS = 0.1
READY = b"r"
# Connections that wait to be taken, for the kernel.
BACKLOG = 4096
# Of all open files, those that are no connections.
OTHER_FILES = 200
MOST_FILES = 65_536

RETIRE = signal.SIGUSR1

log = logging.getLogger(__name__)


class HttpServer(Server):
    """granian in this event loop, on a socket that all processes share.

    One queue of connections for all: those that wait for a process that is busy or dead go to
    another one. With a socket for each process, as granian makes them, they are lost with it.
    HTTP/1.1 alone, since granian limits the time of a request's head only there.
    """

    def __init__(self, application: Any, listener: socket.socket, header_seconds: float) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backpressure=_raise_limit_of_files() - OTHER_FILES,
            http1_settings=HTTP1Settings(header_read_timeout=round(header_seconds * 1000)),
            log_level=LogLevels.error,
        )
        self._listener = listener
        self._shd: Any = None

    def _init_shared_socket(self) -> None:
        descriptor = self._listener.detach()
        make: Any = SocketHolder
        backlog = (BACKLOG,) if sys.platform.startswith(("linux", "freebsd")) else ()
        self._shd = make(descriptor, False, *backlog)


class Worker:
    """`end` stops it within END_SECONDS; `retire` once nothing is left to do here."""

    def __init__(self, application: Any, listener: socket.socket, parent: socket.socket) -> None:
        self._application, self._parent = application, parent
        self._server = HttpServer(application, listener, application.header_seconds)
        self._told = asyncio.Event()
        self._ends = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(RETIRE, self._told.set)
        loop.add_reader(self._parent, self._end)  # it sends nothing: it has ended
        self._application.start()
        serving = asyncio.create_task(self._server.serve())
        with suppress(ConnectionError):  # it has ended, which its reader sees
            self._parent.send(READY)
        await self._told.wait()
        if not self._ends:
            await self._retire()
        if self._ends:
            await asyncio.to_thread(self._application.end)
        self._stop_listening()
        self._application.give_streams_away()
        await serving

    def _end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._parent)
        self._ends = True
        self._told.set()
        loop.call_later(END_SECONDS, _exit)
        signal.alarm(round(END_SECONDS) + 2)  # kills this process even if the loop is stuck

    def _stop_listening(self) -> None:
        """Idle connections are closed, the others after their response."""
        self._server.stop()  # type: ignore[no-untyped-call]

    async def _retire(self) -> None:
        """Until nothing is left to do here, or this process is told to end."""
        self._application.close_connections()
        await asyncio.sleep(RETIRING_SECONDS)
        self._stop_listening()
        await asyncio.sleep(LOOK_SECONDS)  # what comes back must not find this process again
        self._application.give_streams_away()
        while not (self._ends or self._application.is_idle):
            await asyncio.sleep(LOOK_SECONDS)


def run(application: Any, listener: socket.socket, parent: socket.socket) -> NoReturn:
    """Serve until told to end. The parent says nothing over its connection but closes it."""
    # The event loop gets its turn sooner while all request threads compute.
    sys.setswitchinterval(0.001)
    asyncio.run(_run(application, listener, parent))
    _exit()


async def _run(application: Any, listener: socket.socket, parent: socket.socket) -> None:
    await Worker(application, listener, parent).run()


def _exit() -> NoReturn:
    """At once, with what the modules have registered for the end. Threads may still run, and those
    of granian do not survive the end of the interpreter."""
    atexit._run_exitfuncs()
    logging.shutdown()
    os._exit(0)


def _raise_limit_of_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
