"""The parent of the web server's processes: it listens, starts them, replaces those that die, and
on SIGHUP replaces all of them by new ones.

Each is a new interpreter, so that a reload takes new code and settings, and the last that worked
go on where these do not start. All take their connections from one socket, which is open here:
while one is replaced, connections wait for another one, and none is refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from conversations.server.worker import BACKLOG, END_SECONDS, READY, RETIRE

# A process must be ready within so many seconds.
START_SECONDS = 60.0
# Between starts that fail, the first and the longest pause in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
# Longer than a worker takes that is told to end.
KILL_AFTER = END_SECONDS + 4
# A client that does not read what it is sent is cut off after so many milliseconds.
UNREAD_MILLISECONDS = 30_000

# Imports from this project, wherever it was started. Not by PYTHONPATH, which programs that a
# worker starts, such as MCP servers, would inherit.
_PROJECT = str(Path(__file__).resolve().parents[2])
RUN_WORKER = f"""import sys
sys.path.insert(0, {_PROJECT!r})
from conversations.server.worker import main
main()
"""

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
class WorkerProcess:
    """A process that is ready; `channel` tells it of the end of this one."""

    process: asyncio.subprocess.Process
    channel: socket.socket
    # How many reloads were asked for before it was started.
    reloads: int

    def tell(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                # Not `send_signal`, which may reap the process before asyncio does.
                os.kill(self.process.pid, number)

    async def ended(self) -> int:
        status = await self.process.wait()
        self.channel.close()
        return status

    async def end(self) -> None:
        """Told to, and after a while killed."""
        self.tell(signal.SIGTERM)
        try:
            async with asyncio.timeout(KILL_AFTER):
                await self.ended()
        except TimeoutError:
            self.tell(signal.SIGKILL)
            await self.ended()


@dataclass(eq=False)
class Supervisor:
    """Runs `workers` processes of the application (`module:name`) until it is told to stop."""

    application: str
    listener: socket.socket
    workers: int
    # Of the workers, beside that of this process.
    environment: dict[str, str]
    _has_served: bool = False
    _reloads: int = 0
    _running: set[WorkerProcess] = field(default_factory=set)
    _retiring: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises CannotStart."""
        self._stopped, self._reload = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_all)
        places = [asyncio.create_task(self._keep_one()) for _ in range(self.workers)]
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait([stopped, *places], return_when=asyncio.FIRST_COMPLETED)
            for place in places:
                if place.done():
                    place.result()
        finally:
            for task in (stopped, *places, *self._retiring):
                task.cancel()
            await asyncio.gather(*places, return_exceptions=True)
            await asyncio.gather(*(worker.end() for worker in self._running))

    def _reload_all(self) -> None:
        self._reloads += 1
        self._reload.set()
        self._reload = asyncio.Event()

    async def _keep_one(self) -> None:
        """One process, and those that follow it."""
        worker = await self._start()
        if worker is None and not self._has_served:
            raise CannotStart
        worker = worker or await self._start_again()
        while True:
            if await self._ended_before_reload(worker):
                worker = await self._start_again()
            elif following := await self._start():
                self._retire(worker)
                worker = following
            else:
                log.error("A reload has failed: the process of before goes on")
                worker.reloads = self._reloads

    async def _ended_before_reload(self, worker: WorkerProcess) -> bool:
        if worker.reloads < self._reloads:  # asked for while it started
            return False
        ended = asyncio.create_task(worker.ended())
        reload = asyncio.create_task(self._reload.wait())
        try:
            await asyncio.wait([ended, reload], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, reload):
                task.cancel()
        if not ended.done():
            return False
        self._running.discard(worker)
        log.error("A web process has ended (status %d) and is replaced", ended.result())
        return True

    async def _start_again(self) -> WorkerProcess:
        """However often it takes."""
        pause = FIRST_PAUSE
        while (worker := await self._start()) is None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return worker

    async def _start(self) -> WorkerProcess | None:
        """A process that is ready; None if it has ended before, or was not ready in time."""
        reloads = self._reloads
        ours, its = socket.socketpair()
        ours.setblocking(False)
        with its:
            descriptors = (self.listener.fileno(), its.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                RUN_WORKER,
                self.application,
                *map(str, descriptors),
                pass_fds=descriptors,
                env=os.environ | self.environment,
                # Ctrl-C and a hangup are signals to all processes of a terminal, of which the
                # parent alone is to act.
                preexec_fn=_block_signals_of_terminal,
            )
        worker = WorkerProcess(process, ours, reloads)
        self._running.add(worker)
        if await _is_ready(ours):
            self._has_served = True
            return worker
        worker.tell(signal.SIGKILL)
        log.error("A web process has not started (status %d)", await worker.ended())
        self._running.discard(worker)
        return None

    def _retire(self, worker: WorkerProcess) -> None:
        task = asyncio.create_task(self._end_of_retired(worker))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _end_of_retired(self, worker: WorkerProcess) -> None:
        worker.tell(RETIRE)
        await worker.ended()
        self._running.discard(worker)


async def _is_ready(channel: socket.socket) -> bool:
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(START_SECONDS):
            return await asyncio.get_running_loop().sock_recv(channel, 1) == READY
    return False


def _block_signals_of_terminal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
