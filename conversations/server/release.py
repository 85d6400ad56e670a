"""A release: the application as a new interpreter has loaded it (`fork_server`), and the web
processes that are forked from that one and replaced when they die.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conversations.server.fork_server import FORK
from conversations.server.worker import END_SECONDS, READY, RETIRE

# A process must be ready within so many seconds.
START_SECONDS = 60.0
# A process that lives no longer, or does not start, is replaced after a pause, which grows from the
# first to the longest while this goes on; in seconds.
SHORT_LIFE = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
# Longer than a worker takes that is told to end.
KILL_AFTER = END_SECONDS + 4
# Imports from this project, wherever it was started. Not by PYTHONPATH, which programs that a
# web process starts, such as MCP servers, would inherit.
_PROJECT = str(Path(__file__).resolve().parents[2])
RUN_FORK_SERVER = f"""import sys
sys.path.insert(0, {_PROJECT!r})
from conversations.server.fork_server import main
main()
"""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class WorkerProcess:
    """A web process. `channel` is closed when either it or this process ends."""

    channel: socket.socket
    pid: int = 0
    _ended: asyncio.Task[None] | None = None

    async def starts(self) -> bool:
        """Whether it is ready in time."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(START_SECONDS):
                self.pid = int.from_bytes(await loop.sock_recv(self.channel, 4))
                if self.pid and await loop.sock_recv(self.channel, 1) == READY:
                    self._ended = asyncio.create_task(self._closed())
                    return True
        self.tell(signal.SIGKILL)
        self.channel.close()
        return False

    async def _closed(self) -> None:
        with suppress(ConnectionError):
            await asyncio.get_running_loop().sock_recv(self.channel, 1)
        self.channel.close()

    async def ended(self) -> None:
        if self._ended is not None:
            await asyncio.shield(self._ended)

    def tell(self, number: signal.Signals) -> None:
        if self.pid and not (self._ended and self._ended.done()):
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

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
class ForkServer:
    """A process that has loaded the application."""

    process: asyncio.subprocess.Process
    channel: socket.socket

    async def fork(self) -> WorkerProcess | None:
        """A web process that is ready; None if it has ended before, or was not ready in time."""
        ours, its = socket.socketpair()
        ours.setblocking(False)
        try:
            with its:
                socket.send_fds(self.channel, [FORK], [its.fileno()])
            worker = WorkerProcess(ours)
            return worker if await worker.starts() else None
        except OSError:  # this process has ended
            ours.close()
            return None
        except BaseException:
            ours.close()
            raise

    async def end(self) -> None:
        """After its web processes."""
        self.channel.close()
        try:
            async with asyncio.timeout(KILL_AFTER):
                await self.process.wait()
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                # Not `Process.kill`, which may reap the process before asyncio does.
                os.kill(self.process.pid, signal.SIGKILL)


@dataclass(eq=False)
class Release:
    """The application as it was when it was loaded, served by `workers` processes."""

    application: str
    listener: socket.socket
    workers: int
    # All of it, of the processes.
    environment: dict[str, str]
    _fork_server: ForkServer | None = None
    _running: set[WorkerProcess] = field(default_factory=set)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> bool:
        """Whether it serves: at least one process is ready."""
        self._fork_server = await self._load()
        if self._fork_server is None:
            return False
        first = await asyncio.gather(*(self._fork() for _ in range(self.workers)))
        if not any(first):
            return False
        self._keep(self._keep_loaded(self._fork_server))
        for worker in first:
            self._keep(self._keep_one(worker))
        return True

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def retire(self) -> None:
        """Each process ends after its last request and turn, and is not replaced."""
        await self._stop_keeping()
        for worker in self._running:
            worker.tell(RETIRE)
        await asyncio.gather(*(worker.ended() for worker in self._running))
        await self.end()

    async def end(self) -> None:
        await self._stop_keeping()
        await asyncio.gather(*(worker.end() for worker in self._running))
        if self._fork_server is not None:
            await self._fork_server.end()

    async def _stop_keeping(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_one(self, worker: WorkerProcess | None) -> None:
        """One web process, and those that follow it."""
        pause, started = 0.0, time.monotonic()
        while True:
            if worker is not None:
                await worker.ended()
                self._running.discard(worker)
                log.error("Web process %d has ended and is replaced", worker.pid)
            pause = _next_pause(pause, time.monotonic() - started)
            await asyncio.sleep(pause)
            started = time.monotonic()
            worker = await self._fork()

    async def _keep_loaded(self, fork_server: ForkServer) -> None:
        """The process that the others are forked from: they go on without it."""
        pause = 0.0
        while True:
            started = time.monotonic()
            status = await fork_server.process.wait()
            log.error("The process that web processes are forked from has ended (%d)", status)
            while (following := await self._load()) is None:
                pause = _next_pause(pause, 0)
                await asyncio.sleep(pause)
            pause = _next_pause(pause, time.monotonic() - started)
            fork_server.channel.close()
            self._fork_server = fork_server = following

    async def _fork(self) -> WorkerProcess | None:
        assert self._fork_server is not None
        worker = await self._fork_server.fork()
        if worker is None:
            log.error("A web process has not started")
        else:
            self._running.add(worker)
        return worker

    async def _load(self) -> ForkServer | None:
        """None if the application cannot be loaded, or not in time."""
        ours, its = socket.socketpair()
        ours.setblocking(False)
        with its:
            descriptors = (self.listener.fileno(), its.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                RUN_FORK_SERVER,
                self.application,
                *map(str, descriptors),
                pass_fds=descriptors,
                env=self.environment,
                # Ctrl-C and a hangup are signals to all processes of a terminal, of which the
                # parent alone is to act.
                preexec_fn=_block_signals_of_terminal,
            )
        fork_server = ForkServer(process, ours)
        try:
            if await _is_ready(ours):
                return fork_server
        except BaseException:
            fork_server.kill()
            raise
        fork_server.kill()
        log.error("The application has not been loaded (status %d)", await process.wait())
        ours.close()
        return None


def _next_pause(last: float, lived: float) -> float:
    if lived > SHORT_LIFE:
        return 0.0
    return min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE)


async def _is_ready(channel: socket.socket) -> bool:
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(START_SECONDS):
            return await asyncio.get_running_loop().sock_recv(channel, 1) == READY
    return False


def _block_signals_of_terminal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
