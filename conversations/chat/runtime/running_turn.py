"""One turn that this process runs: from the stored question to the stored end of the answer.

All of it runs in the runner's event loop, which alone changes the turn. Each part is stored before
those who watch are told of it, but for text, which the runner saves about once a second. Where the
answer comes from is what subclasses differ in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

from django.conf import settings

from conversations import metrics, tracing
from conversations.chat.errors import FAILURES, Failure, TurnFailed, failure_of
from conversations.chat.llm.extras import storable_extra
from conversations.chat.llm.mcp_servers import McpServers
from conversations.chat.llm.observed_model import Observed
from conversations.chat.llm.providers import Provider, started
from conversations.chat.llm.token_usage import cost_of
from conversations.chat.runtime.db_worker import DatabaseWorker
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.db import replicas
from conversations.models import Status
from conversations.models.interrupted import INTERRUPTED
from conversations.models.turn import USAGE, Turn
from conversations.selectors.turn_log import read_turn
from conversations.services.errors import TurnEnded
from conversations.services.turns import finish_turn, why_not_stored
from conversations.services.unstored_turns import count_turn

# How often the row of a silent turn is written, in parts of the time after which it would count as
# abandoned; less DATABASE_REPLICA_MAX_LAG_SECONDS on a replica.
HEARTBEAT = 1 / 6

log = logging.getLogger(__name__)

T = TypeVar("T")


class RunningTurn(WatchedTurn):
    """The runner gives it `loop` and `database`, then awaits `run` as a task of its own, which is
    then `task`."""

    loop: asyncio.AbstractEventLoop
    database: DatabaseWorker
    _is_imported: ClassVar[bool] = False

    def __init__(self, turn: Turn, provider: Provider) -> None:
        super().__init__(turn)
        self.begun_at = time.monotonic()
        self.task: asyncio.Task[None] | None = None
        # Its row is being ended or a next one opened: it is no sign of anything if the row is not
        # found as it was.
        self.writing = False
        self._provider = provider
        # Whose data the request wrote that began it, and the turn goes on to write.
        self._written = replicas.written_by_request() | {turn.owner_id}
        # What its row says, and since when.
        self._saved, self._saved_at = _progress(turn), self.begun_at
        self._observed = Observed()
        # The request that began it.
        self._trace = tracing.current()
        # What the answer's row keeps of the request, where no question was stored with it.
        self._request = turn.last.extra or {}
        # Why it is to end before the model does: "stopped", "interrupted" or "lost".
        self._ended_by = ""

    # What subclasses do:

    def _import(self) -> None:
        """Import what it takes to ask the model; in a thread of its own."""

    async def _answer(self, mcp_servers: McpServers) -> Turn:
        """Ask the model and add what it answers to the turn; the turn at its end."""
        raise NotImplementedError

    # From any thread:

    def end_soon(self, why: str) -> None:
        if not self.turn.ended:
            self.loop.call_soon_threadsafe(self.end, why)

    # In the loop's thread:

    def end(self, why: str) -> None:
        """End it; what came is kept."""
        if self._ended_by or self.writing:
            return
        self._ended_by = why
        if self.task is not None:
            self.task.cancel()

    def is_saved(self, now: float) -> bool:
        """Whether its row says all that has come, and has shown lately that it lives."""
        since = now - self._saved_at
        late = since > settings.CHAT_TURN_STALE_SECONDS * HEARTBEAT
        return self._saved == _progress(self.turn) and not late

    def note_saved(self, turn: Turn, at: float) -> None:
        self._saved, self._saved_at = _progress(turn), at

    async def run(self, mcp_servers: McpServers) -> None:
        self.task = asyncio.current_task()
        if self._ended_by and self.task is not None:
            self.task.cancel()
        with tracing.going_on(self._trace), tracing.span("turn"):
            await self._run(mcp_servers)

    async def _run(self, mcp_servers: McpServers) -> None:
        try:
            await self._import_once()
            async with asyncio.timeout(settings.CHAT_TURN_SECONDS):
                self._provider = await started(self._provider)
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

    async def _import_once(self) -> None:
        """It may take seconds, which are not the model's, and in which this thread must see a
        request to end the process."""
        if not type(self)._is_imported:
            await asyncio.to_thread(self._import)
            type(self)._is_imported = True

    async def _record(self, write: Callable[..., object], **what: Any) -> None:
        """Do a write of the turn, unless nothing of it is stored."""
        if self.turn.stored:
            await self._store(partial(write, turn=self.turn, **what))

    async def _store(self, write: Callable[[], T]) -> T:
        """Commit a write and keep its position: who is told of it finds it on any replica."""

        def stored() -> T:
            result = write()
            replicas.keep_written(*self._written)
            return result

        return await self.database.run(stored)

    def _say(self, text: str, reasoning: str = "") -> None:
        """Add a piece of what the model says, and of what it thinks, to the answer.

        Raises TurnFailed where it becomes longer than a body may be.
        """
        said = len(self.turn.last.content) + len(self.turn.last.reasoning)
        if said + len(text) + len(reasoning) > settings.CHAT_MAX_BODY_BYTES:
            raise TurnFailed(FAILURES["answer_too_long"])
        with self.change() as turn:
            turn.last.content += text
            turn.last.reasoning += reasoning
            if text and turn.first_token_ms is None:
                turn.last.first_token_ms = self._milliseconds()

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
        self._note(failure)
        return self._ended(Status.FAILED, failure.code, failure.text)

    def _note(self, failure: Failure) -> None:
        """Keep what only a client that waits is told of it."""
        self.retry_after = failure.retry_after

    async def _finish(self, ended: Turn) -> None:
        """Store the end, then tell it: who hears `done` finds it in the record."""
        try:
            stored = await self._store(partial(_store_end, ended))
        except Exception:
            log.exception("The end of a turn could not be stored")
            stored = self._ended(Status.FAILED, "not_stored", FAILURES["not_stored"].text)
        metrics.count_turn(stored, time.monotonic() - self.begun_at)
        self.replace(stored)


def _progress(turn: Turn) -> tuple[Any, ...]:
    """What changes as long as its last step runs: texts only grow."""
    last = turn.last
    return last.message_id, len(last.content), len(last.reasoning), last.first_token_ms


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
