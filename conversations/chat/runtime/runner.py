"""Runs turns in the background: one thread with an event loop for all turns of a process.

A client that leaves does not end a turn. No turn holds a database connection while its model talks:
about once a second, one statement writes what has come of all turns.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextlib import suppress
from functools import partial

from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.runtime.db_worker import DatabaseWorker
from conversations.chat.runtime.process_liveness import announce
from conversations.chat.runtime.remote_turns import RemoteTurns
from conversations.chat.runtime.running_turn import RunningTurn
from conversations.chat.runtime.shutdown import before_end
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.models import Status
from conversations.models.turn import Turn, TurnPk
from conversations.services.turns import save_progress

SAVE_SECONDS = 1.0
END_SECONDS = 5.0
MCP_SECONDS = 60.0

log = logging.getLogger(__name__)


class Runner:
    """The turns of one process. Made by `runner()`."""

    def __init__(self) -> None:
        self.name = announce()
        self._database = DatabaseWorker("turn-database", threads=2)
        # Not behind writes that wait for a lock: what is saved late is taken for dead.
        self._saver = DatabaseWorker("turn-saver", threads=1)
        self._turns: dict[TurnPk, RunningTurn] = {}
        self._loop = asyncio.new_event_loop()
        self._remote = RemoteTurns(self._database, self._loop)
        self._mcp_servers = McpServers()
        self._ending = False
        threading.Thread(target=self._loop.run_forever, name="turns", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._save_now_and_then(), self._loop)

    # From any thread:

    def start(self, live: RunningTurn) -> None:
        """Run a turn whose question is stored, or which is not to be."""
        live.loop, live.database = self._loop, self._database
        self._turns[live.turn.pk] = live
        asyncio.run_coroutine_threadsafe(self._run(live), self._loop)

    def mcp_tool_names(self) -> list[str]:
        """The names of the tools of the configured MCP servers, of those that answer."""
        asked = asyncio.run_coroutine_threadsafe(self._mcp_servers.tool_names(), self._loop)
        return asked.result(MCP_SECONDS)

    def runs(self, pk: TurnPk) -> bool:
        return pk in self._turns

    @property
    def count(self) -> int:
        return len(self._turns)

    def watch(self, turn: Turn) -> WatchedTurn:
        """A stored turn to look at, whichever process runs it; `leave` it afterwards."""
        return self._turns.get(turn.pk) or self._remote.join(turn)

    def stop(self, pk: TurnPk) -> bool:
        """End a turn of this process at once, keeping what came. False for any other's."""
        live = self._turns.get(pk)
        if live is None:
            return False
        self._loop.call_soon_threadsafe(live.end, Status.STOPPED)
        return True

    def shut_down(self) -> None:
        """End all turns as `interrupted`, since the process ends."""
        self._ending = True
        with suppress(Exception):
            ended = asyncio.run_coroutine_threadsafe(self._end_all(), self._loop)
            ended.result(END_SECONDS)

    # In the loop's thread:

    async def _run(self, live: RunningTurn) -> None:
        if self._ending:
            live.end(Status.INTERRUPTED)
        try:
            await live.run(self._mcp_servers)
        finally:
            self._turns.pop(live.turn.pk, None)

    async def _end_all(self) -> None:
        turns = list(self._turns.values())
        for live in turns:
            live.end(Status.INTERRUPTED)
        tasks = [live.task for live in turns if live.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._mcp_servers.close()

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            turns = [live for live in self._turns.values() if live.turn.stored]
            if not turns:
                continue
            try:
                await self._save(turns)
            except Exception as error:
                log.warning("Running turns were not saved: %s", type(error).__name__)

    async def _save(self, turns: list[RunningTurn]) -> None:
        now = time.monotonic()
        copies = [live.turn.copy() for live in turns]
        unchanged = {live.turn.last.message_id for live in turns if live.is_saved(now)}
        running = await self._saver.run(partial(save_progress, copies, unchanged=unchanged))
        for live, turn in zip(turns, copies, strict=True):
            message_id = turn.last.message_id
            if live.writing or live.turn.last.message_id != message_id:
                continue
            if (saved := running.get(message_id)) is None:
                live.end("lost")
            elif saved.is_stopping:
                live.end(Status.STOPPED)
            elif saved.is_written:
                live.note_saved(turn, now)


_lock = threading.Lock()
_runner: tuple[int, Runner] | None = None


def runner() -> Runner:
    """This process's runner, made at the first turn; a forked process gets one of its own."""
    global _runner
    with _lock:
        if _runner is None or _runner[0] != os.getpid():
            made = Runner()
            _runner = (os.getpid(), made)
            before_end(made.shut_down)
        return _runner[1]


def running_turns() -> int:
    """How many turns this process runs."""
    return _runner[1].count if _runner is not None and _runner[0] == os.getpid() else 0
