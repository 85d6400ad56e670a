"""Runs turns in the background: one thread with an event loop for all turns of a process.

A client that leaves does not end a turn. No database connection is held while a model talks:
about once a second, one statement writes what has come of all turns.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings

from conversations.chat.errors import FAILURES, failure_of
from conversations.chat.llm.agent_loop import (
    AgentEvent,
    Request,
    StepBegan,
    StepEnded,
    Text,
    converse,
    library,
)
from conversations.chat.llm.context_window import history_before
from conversations.chat.llm.intent import detect_mode
from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.llm.providers import Provider
from conversations.chat.llm.retrieval import retrieve_sources, with_sources
from conversations.chat.llm.tools import tools
from conversations.chat.runtime.db_worker import DatabaseWorker
from conversations.chat.runtime.live_turn import LiveTurn, Watched
from conversations.chat.runtime.process_liveness import announce
from conversations.chat.runtime.remote_turns import RemoteTurns
from conversations.chat.runtime.shutdown import before_end
from conversations.chat.state import Step, ToolResult, TurnState, state_of
from conversations.chat.tool_results import storable
from conversations.models import Status
from conversations.models.interrupted import INTERRUPTED
from conversations.selectors.turn_log import StoredTurn, TurnName, read_turn
from conversations.services.errors import TurnEnded
from conversations.services.turns import (
    Begun,
    Ending,
    Turn,
    finish_turn,
    open_step,
    record_opening,
    record_tool_calls,
    record_tool_result,
    save_progress,
    why_not_stored,
)

SAVE_SECONDS = 1.0
END_SECONDS = 5.0
TOO_LONG = FAILURES["provider_timeout"]

log = logging.getLogger(__name__)


class Runner:
    """The turns of one process. Made by `runner()`."""

    def __init__(self) -> None:
        self.name = announce()
        self._database = DatabaseWorker()
        self._turns: dict[TurnName, LiveTurn] = {}
        self._loop = asyncio.new_event_loop()
        self._remote = RemoteTurns(self._database)
        self._mcp = McpServers()
        self._ending = False
        threading.Thread(target=self._run_loop, name="turns", daemon=True).start()
        self._spawn(self._save_now_and_then())

    # From any thread:

    def start(self, begun: Begun, provider: Provider, question: str) -> LiveTurn:
        """Run a turn whose question is stored."""
        live = LiveTurn(begun.turn)
        self._turns[live.name] = live
        self._spawn(self._run(live, partial(self._request, live, begun, provider, question)))
        return live

    def watch(self, turn: StoredTurn) -> Watched:
        """A turn to look at, whoever runs it; `leave` it afterwards."""
        return self._turns.get(turn.name) or self._remote.join(turn, self._loop)

    def watch_live(self, turn: TurnName) -> LiveTurn | None:
        return self._turns.get(turn)

    def leave(self, watched: Watched) -> None:
        self._remote.leave(watched)

    def stop(self, turn: TurnName) -> bool:
        """End a turn of this process at once, keeping what came. False for any other's."""
        live = self._turns.get(turn)
        if live is None:
            return False
        self._loop.call_soon_threadsafe(live.end, Status.STOPPED)
        return True

    def shut_down(self) -> None:
        """End all turns as `interrupted`, since the process ends."""
        self._ending = True
        with suppress(Exception):
            self._spawn(self._end_all()).result(END_SECONDS)

    def forget_mcp_servers(self) -> None:
        """End the MCP servers of this process; the next turn connects what is configured then."""
        self._spawn(self._mcp.close()).result(END_SECONDS)

    # In the loop's thread:

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _end_all(self) -> None:
        tasks = [live.task for live in self._turns.values() if live.task is not None]
        for live in list(self._turns.values()):
            live.end(Status.INTERRUPTED)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._mcp.close()

    async def _run(
        self, live: LiveTurn, request: Callable[[], Coroutine[Any, Any, Request]]
    ) -> None:
        live.task = asyncio.current_task()
        if self._ending:
            live.end(Status.INTERRUPTED)
        try:
            # Its import takes seconds, which are not the model's, and in which this thread must see
            # a request to end the process.
            await asyncio.to_thread(library)
            ending = await self._answer(live, request)
        except asyncio.CancelledError:
            ending = _ended_by(live)
        except TurnEnded:
            live.ended_by = "lost"
            ending = _ended_by(live)
        except Exception as error:
            ending = _failed(live, error)
        live.writing = True
        try:
            await self._finish(live, ending)
        finally:
            self._turns.pop(live.name, None)

    async def _answer(
        self, live: LiveTurn, request: Callable[[], Coroutine[Any, Any, Request]]
    ) -> Ending:
        async with asyncio.timeout(settings.CHAT_TURN_SECONDS):
            agent_events = converse(await request())
            finish_reason = None
            async with aclosing(agent_events):  # type: ignore[type-var]
                async for agent_event in agent_events:
                    await self._take(live, agent_event)
                    if isinstance(agent_event, StepEnded):
                        finish_reason = agent_event.finish_reason
        if not live.state.last.content:
            return _ending(live, Status.FAILED, "empty_answer", FAILURES["empty_answer"].text)
        return _ending(live, Status.COMPLETE, finish_reason)

    async def _request(
        self, live: LiveTurn, begun: Begun, provider: Provider, question: str
    ) -> Request:
        turn = live.turn
        history, sources, mode, servers = await asyncio.gather(
            self._database.run(
                partial(
                    history_before,
                    turn.conversation_id,
                    last_sequence=begun.sequence,
                    tokens=provider.context_tokens,
                )
            ),
            retrieve_sources(question),
            detect_mode(provider, turn.model, question),
            self._mcp.ready(),
        )
        if sources is not None or mode is not None:
            await self._database.run(partial(record_opening, turn=turn, mode=mode, sources=sources))
            with live.change() as state:
                state.sources, state.mode = sources, mode
        return Request(
            provider=provider,
            model=turn.model,
            instructions=with_sources(settings.CHAT_SYSTEM_PROMPT, sources) or None,
            history=history,
            tools=tools(),
            mcp_servers=servers,
            max_tool_rounds=settings.CHAT_MAX_TOOL_ROUNDS,
        )

    async def _take(self, live: LiveTurn, agent_event: AgentEvent) -> None:
        match agent_event:
            case Text(text):
                self._take_text(live, storable(text))
            case StepBegan():
                await self._take_step(live)
            case StepEnded():
                await self._take_end_of_step(live, agent_event)
            case ToolResult():
                await self._take_result(live, agent_event)

    def _take_text(self, live: LiveTurn, text: str) -> None:
        if not text:
            return
        with live.change() as state:
            state.last.content += text
            if state.first_token_ms is None:
                state.first_token_ms = live.milliseconds()

    async def _take_step(self, live: LiveTurn) -> None:
        if not live.state.last.calls:
            return  # the first step is there from the beginning
        step = len(live.state.steps) + 1
        before = _ending(live, Status.COMPLETE, "tool_calls")
        live.writing = True
        await self._database.run(partial(open_step, turn=live.turn, step=step, before=before))
        with live.change() as state:
            state.steps.append(Step(live.step_id(step)))
        live.writing = False

    async def _take_end_of_step(self, live: LiveTurn, ended: StepEnded) -> None:
        with live.change() as state:
            state.last.prompt_tokens = ended.prompt_tokens
            state.last.completion_tokens = ended.completion_tokens
        if not ended.calls:
            return
        await self._database.run(
            partial(
                record_tool_calls,
                turn=live.turn,
                step=len(live.state.steps),
                content=live.state.last.content,
                tool_calls=[
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.tool, "arguments": storable(call.arguments)},
                    }
                    for call in ended.calls
                ],
            )
        )
        with live.change() as state:
            state.last.calls = ended.calls

    async def _take_result(self, live: LiveTurn, result: ToolResult) -> None:
        step = live.state.last
        place = [call.id for call in step.calls].index(result.tool_call_id)
        await self._database.run(
            partial(
                record_tool_result,
                turn=live.turn,
                step=len(live.state.steps),
                call=place,
                tool_call_id=result.tool_call_id,
                name=result.tool,
                content=result.content,
            )
        )
        with live.change() as state:
            state.last.results.append(result)

    async def _finish(self, live: LiveTurn, ending: Ending) -> None:
        """Store the end, then tell it: who hears `done` finds it in the record.

        Where somebody else has ended or deleted the answer, what is told is what the row says.
        """
        step = len(live.state.steps)
        try:
            stored = await self._database.run(partial(_store_end, live.turn, step, ending))
        except Exception:
            log.exception("The end of a turn could not be stored")
            stored = _ending(live, Status.FAILED, "not_stored", FAILURES["not_stored"].text)
        if isinstance(stored, TurnState):
            stored.user_message_id = live.turn.user_message_id
            live.replace(stored)
            return
        with live.change() as state:
            state.status, state.finish_reason = stored.status, stored.finish_reason
            state.error, state.latency_ms = stored.error, stored.latency_ms

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            turns = [live for live in list(self._turns.values()) if not live.writing]
            if not turns:
                continue
            try:
                await self._save(turns)
            except Exception as error:
                log.warning("Running turns were not saved: %s", type(error).__name__)

    async def _save(self, turns: list[LiveTurn]) -> None:
        progress = [live.progress() for live in turns]
        alive = await self._database.run(partial(save_progress, progress))
        for live, saved in zip(turns, progress, strict=True):
            if live.writing or live.state.last.message_id != saved.message_id:
                continue
            if saved.message_id not in alive:
                live.end("lost")
            elif alive[saved.message_id]:
                live.end(Status.STOPPED)


def _store_end(turn: Turn, step: int, ending: Ending) -> Ending | TurnState:
    """The end as it is stored: `ending`, or what the rows say where they had ended before."""
    if finish_turn(turn=turn, step=step, ending=ending):
        return ending
    stored = read_turn((turn.conversation_id, turn.id))
    if stored is not None and len(stored.steps) == step and stored.last.status != Status.STREAMING:
        return state_of(stored)
    why = why_not_stored(turn.conversation_id)
    return replace(ending, status=Status.FAILED, finish_reason="not_stored", error=why)


def _ending(
    live: LiveTurn, status: str, finish_reason: str | None, error: str | None = None
) -> Ending:
    state, step = live.state, live.state.last
    return Ending(
        status=status,
        finish_reason=finish_reason,
        error=error,
        content=step.content,
        provider=state.provider,
        model=state.model,
        prompt_tokens=step.prompt_tokens,
        completion_tokens=step.completion_tokens,
        latency_ms=live.milliseconds(),
        first_token_ms=state.first_token_ms if len(state.steps) == 1 else None,
    )


def _ended_by(live: LiveTurn) -> Ending:
    if live.ended_by == Status.STOPPED:
        return _ending(live, Status.STOPPED, "stopped")
    return _ending(live, Status.INTERRUPTED, "interrupted", INTERRUPTED)


def _failed(live: LiveTurn, error: Exception) -> Ending:
    if isinstance(error, TimeoutError):
        failure = TOO_LONG
    else:
        failure = failure_of(error, begun=bool(live.state.last.content))
    if failure.code == "internal_error":
        log.exception("A turn failed", exc_info=error)
    else:
        log.info("A turn failed: %s (%s)", failure.code, type(error).__name__)
    live.retry_after = failure.retry_after
    return _ending(live, Status.FAILED, failure.code, failure.text)


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
