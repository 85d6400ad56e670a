"""A turn whose model is run by this project: its context, its tools, its steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from django.conf import settings

from conversations.chat.errors import FAILURES
from conversations.chat.llm.agent_loop import (
    AgentEvent,
    Reasoning,
    StepEnded,
    converse,
    library,
)
from conversations.chat.llm.context_window import history_before
from conversations.chat.llm.intent import detect_mode
from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.llm.media_parts import content_of
from conversations.chat.llm.providers import Provider
from conversations.chat.llm.retrieval import retrieve_sources, with_sources
from conversations.chat.llm.tools import tools
from conversations.chat.question import Question
from conversations.chat.runtime.running_turn import RunningTurn
from conversations.models import Role, Status
from conversations.models.turn import Step, ToolResult, Turn
from conversations.models.turn_ids import step_id
from conversations.services.turns import (
    open_step,
    record_opening,
    record_tool_calls,
    record_tool_result,
)


class LiveTurn(RunningTurn):
    """An answer of the agent loop, which any number of clients watch."""

    def __init__(self, turn: Turn, provider: Provider, question: Question) -> None:
        super().__init__(turn, provider)
        self._question = question

    def leave(self) -> None:
        """Nobody can come back to a turn that is not stored: it ends with its only client."""
        if not self.turn.stored:
            self.end_soon(Status.STOPPED)

    def _import(self) -> None:
        library()

    async def _answer(self, mcp_servers: McpServers) -> Turn:
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
            self.database.run(read_history) if turn.stored else self._question_alone(),
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
            self._say("", agent_event.text)
        elif agent_event:
            self._say(agent_event)

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


def _system_prompt(question: Question) -> str:
    return settings.CHAT_SYSTEM_PROMPT if question.system is None else question.system
