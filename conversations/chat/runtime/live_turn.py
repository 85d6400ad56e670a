"""One turn that this process runs: from the stored question to the stored end of the answer.

All of it runs in the runner's event loop, which alone changes the turn. Each part is stored before
those who watch are told of it, but for text, which the runner saves about once a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from django.conf import settings

from conversations import metrics, tracing
from conversations.chat.errors import FAILURES, failure_of
from conversations.chat.llm.agent_loop import (
    AgentEvent,
    Reasoning,
    StepEnded,
    converse,
    library,
)
from conversations.chat.llm.context_window import history_before
from conversations.chat.llm.extras import storable_extra
from conversations.chat.llm.intent import detect_mode
from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.llm.media_parts import content_of
from conversations.chat.llm.observed_model import Observed
from conversations.chat.llm.providers import Provider
from conversations.chat.llm.retrieval import retrieve_sources, with_sources
from conversations.chat.llm.token_usage import cost_of
from conversations.chat.llm.tools import tools
from conversations.chat.question import Question
from conversations.chat.runtime.db_worker import DatabaseWorker
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.db import replicas
from conversations.models import Role, Status
from conversations.models.interrupted import INTERRUPTED
from conversations.models.turn import USAGE, Step, ToolResult, Turn
from conversations.models.turn_ids import step_id
from conversations.selectors.turn_log import read_turn
from conversations.services.errors import TurnEnded
from conversations.services.turns import (
    finish_turn,
    open_step,
    record_opening,
    record_tool_calls,
    record_tool_result,
    why_not_stored,
)
from conversations.services.unstored_turns import count_turn

log = logging.getLogger(__name__)

T = TypeVar("T")


class LiveTurn(WatchedTurn):
    """`run` is to be awaited as a task of its own, which is then `task`."""

    def __init__(
        self, turn: Turn, provider: Provider, question: Question, database: DatabaseWorker
    ) -> None:
        super().__init__(turn)
        self.begun_at = time.monotonic()
        self.task: asyncio.Task[None] | None = None
        # Its row is being ended or a next one opened: it is no sign of anything if the row is not
        # found as it was.
        self.writing = False
        self._provider, self._question, self._database = provider, question, database
        # Whose data the request wrote that began it, and the turn goes on to write.
        self._written = replicas.written_by_request() | {turn.owner_id}
        self._observed = Observed()
        # The request that began it.
        self._trace = tracing.current()
        # What the answer's row keeps of the request, where no question was stored with it.
        self._request = turn.last.extra or {}
        # Why it is to end before the model does: "stopped", "interrupted" or "lost".
        self._ended_by = ""

    def end(self, why: str) -> None:
        """End it from the loop's thread; what came is kept."""
        if self._ended_by or self.writing or self.task is None:
            return
        self._ended_by = why
        self.task.cancel()

    def leave(self) -> None:
        """Nobody can come back to a turn that is not stored: it ends with its only client."""
        if not self.turn.stored and not self.turn.ended and self.task is not None:
            self.task.get_loop().call_soon_threadsafe(self.end, Status.STOPPED)

    async def run(self, mcp_servers: McpServers) -> None:
        with tracing.going_on(self._trace), tracing.span("turn"):
            await self._run(mcp_servers)

    async def _run(self, mcp_servers: McpServers) -> None:
        try:
            # Its import takes seconds, which are not the model's, and in which this thread must see
            # a request to end the process.
            await asyncio.to_thread(library)
            ended = await self._answer(mcp_servers)
        except (asyncio.CancelledError, TurnEnded):
            if self._ended_by == Status.STOPPED:
                ended = self._ended(Status.STOPPED, "stopped")
            else:
                ended = self._ended(Status.INTERRUPTED, "interrupted", INTERRUPTED)
        except Exception as error:
            ended = self._failed(error)
        self.writing = True
        await self._finish(ended)

    async def _answer(self, mcp_servers: McpServers) -> Turn:
        async with asyncio.timeout(settings.CHAT_TURN_SECONDS):
            agent_events = await self._ask_model(mcp_servers)
            async with aclosing(agent_events):
                async for agent_event in agent_events:
                    await self._take(agent_event)
        if not self.turn.last.content:
            return self._ended(Status.FAILED, "empty_answer", FAILURES["empty_answer"].text)
        return self._ended(Status.COMPLETE, self._observed.finish_reason)

    async def _ask_model(self, mcp_servers: McpServers) -> AsyncGenerator[AgentEvent, None]:
        """Gather what the model is given, all at once, and begin its answer."""
        turn, provider, question = self.turn, self._provider, self._question
        read_history = partial(
            history_before,
            turn.owner_id,
            turn.conversation_id,
            # Everything before the answer on its path, which ends with the question.
            branch=turn.place[0],
            last_sequence=turn.place[1] - 1,
            tokens=provider.context_tokens,
            vision=provider.vision,
        )
        history, sources, mode, servers = await asyncio.gather(
            self._database.run(read_history) if turn.stored else self._question_alone(),
            retrieve_sources(question.text.strip()),
            detect_mode(provider, turn.model, question.text.strip()),
            mcp_servers.ready(),
        )
        if sources is not None or mode is not None:
            await self._record(record_opening, mode=mode, sources=sources)
            with self.change():
                turn.sources, turn.mode = sources, mode
        return converse(
            provider=provider,
            model=turn.model,
            instructions=with_sources(_system_prompt(question), sources) or None,
            history=history,
            tools=tools(),
            mcp_servers=servers,
            question=question,
            max_tool_rounds=settings.CHAT_MAX_TOOL_ROUNDS,
            observed=self._observed,
        )

    async def _question_alone(self) -> list[dict[str, Any]]:
        """The history of a turn that has no conversation."""
        question = self._question
        content = content_of(question.text, question.parts or (), sees=self._provider.vision)
        return [{"role": Role.USER.value, "content": content}]

    async def _record(self, write: Callable[..., object], **what: Any) -> None:
        """Do a write of the turn, unless nothing of it is stored."""
        if self.turn.stored:
            await self._store(partial(write, turn=self.turn, **what))

    async def _take(self, agent_event: AgentEvent) -> None:
        if isinstance(agent_event, ToolResult):
            await self._record(record_tool_result, result=agent_event)
            with self.change() as turn:
                turn.last.results.append(agent_event)
            return
        if self.turn.last.calls:
            await self._open_step()
        if isinstance(agent_event, StepEnded):
            await self._take_end_of_step(agent_event)
        elif isinstance(agent_event, Reasoning):
            with self.change() as turn:
                turn.last.reasoning += agent_event.text
        elif agent_event:
            with self.change() as turn:
                turn.last.content += agent_event
                if turn.first_token_ms is None:
                    turn.last.first_token_ms = self._milliseconds()

    async def _open_step(self) -> None:
        self.writing = True
        await self._record(open_step, latency_ms=self._milliseconds())
        message_id = step_id(self.turn.id, len(self.turn.steps) + 1)
        with self.change() as turn:
            turn.steps.append(Step(message_id))
        self.writing = False

    async def _take_end_of_step(self, ended: StepEnded) -> None:
        self._take_observed()
        if not ended.calls:
            return
        await self._record(record_tool_calls, calls=ended.calls)
        with self.change() as turn:
            turn.last.calls = ended.calls

    async def _store(self, write: Callable[[], T]) -> T:
        """Commit a write and keep its position: who is told of it finds it on any replica."""

        def stored() -> T:
            result = write()
            replicas.keep_written(*self._written)
            return result

        return await self._database.run(stored)

    def _take_observed(self) -> None:
        """What the model said of its answer beside the text, as far as it came."""
        usage = self._observed.usage
        with self.change() as turn:
            for name in USAGE:
                setattr(turn.last, name, getattr(usage, name))
            turn.last.cost = cost_of(usage, self._provider, turn.model)
            turn.last.extra = storable_extra(self._with_request(self._observed.extra))

    def _with_request(self, extra: dict[str, Any]) -> dict[str, Any]:
        """In the first message of the turn alone; first, so that nothing else takes its room."""
        if len(self.turn.steps) > 1:
            return extra
        return self._request | extra | self._request

    def _milliseconds(self) -> int:
        return round((time.monotonic() - self.begun_at) * 1000)

    def _ended(self, status: Status, finish_reason: str | None, error: str | None = None) -> Turn:
        """The turn at its end, which is told to nobody before it is stored."""
        if not self.turn.last.calls:  # or the answer that follows the last step had begun
            self._take_observed()
        return replace(
            self.turn,
            status=status.value,
            finish_reason=finish_reason,
            error=error,
            latency_ms=self._milliseconds(),
        )

    def _failed(self, error: Exception) -> Turn:
        if isinstance(error, TimeoutError):
            failure = FAILURES["provider_timeout"]
        else:
            failure = failure_of(error, self.turn.last)
        if failure.code == "internal_error":
            log.exception("A turn failed", exc_info=error)
        else:
            log.info("A turn failed: %s (%s)", failure.code, type(error).__name__)
        self.retry_after = failure.retry_after
        return self._ended(Status.FAILED, failure.code, failure.text)

    async def _finish(self, ended: Turn) -> None:
        """Store the end, then tell it: who hears `done` finds it in the record."""
        try:
            stored = await self._store(partial(_store_end, ended))
        except Exception:
            log.exception("The end of a turn could not be stored")
            stored = self._ended(Status.FAILED, "not_stored", FAILURES["not_stored"].text)
        metrics.count_turn(stored, time.monotonic() - self.begun_at)
        self.replace(stored)


def _system_prompt(question: Question) -> str:
    return settings.CHAT_SYSTEM_PROMPT if question.system is None else question.system


def _store_end(ended: Turn) -> Turn:
    """The end as it is stored: the given one, or what the rows say where they had ended before."""
    if not ended.stored:
        count_turn(ended)
        return ended
    if finish_turn(ended):
        return ended
    stored = read_turn(ended.pk)
    if stored is not None and stored.ended and len(stored.steps) >= len(ended.steps):
        stored.user_message_id = ended.user_message_id
        return stored
    return replace(
        ended,
        status=Status.FAILED.value,
        finish_reason="not_stored",
        error=why_not_stored(ended),
    )
