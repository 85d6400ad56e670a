"""The stored side of a running turn: every write from `begin_turn` on to the end of the answer.

At each moment of a running turn exactly one of its messages is `streaming`; its `updated_at`
moves by the clock of the database, about once a second while the model talks, and its `runner`
names the process that runs it. Whoever finds that row old, or its process dead, ends it as
`interrupted`. No write of a turn touches what belongs to the client: `metadata` and ratings.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from conversations.db.owners import is_distributed
from conversations.formats import MessageDraft
from conversations.formats.reasoning import reasoning_of, reasoning_part
from conversations.models import Conversation, Message, Role, Status
from conversations.models.turn import Step, ToolCall, ToolResult, Turn
from conversations.models.turn_ids import result_id, step_id, step_ids
from conversations.services.appending import append_drafts
from conversations.services.audit import SCRIPT
from conversations.services.errors import NotFound, TurnEnded

CONVERSATION_DELETED = "The conversation was deleted while it was answered."
ANSWER_DELETED = "The answer was deleted while it was written."
# What `finish_reason` says while somebody has asked for an end that has not come yet.
STOPPING = "stopping"
# The parts of a step with reasoning, whose text is put into it.
_PARTS = json.dumps([reasoning_part("")])
# The columns that a step has under the names of the message's.
_OF_STEP = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost",
    "first_token_ms",
    "extra",
)


class Saved(NamedTuple):
    """What became of a running turn's row: whether it was written, and whether somebody asked the
    turn to stop."""

    is_written: bool
    is_stopping: bool


def save_progress(
    turns: Sequence[Turn], *, unchanged: Container[uuid.UUID] = ()
) -> dict[uuid.UUID, Saved]:
    """Write the text and the reasoning of the last step of many running turns, in one statement,
    and show that they live. Those whose message is in `unchanged` are only looked at.

    Both only grow: of two writes that overtake each other the longer stays. A row that another
    transaction has locked is left to the next call: if one waited for it, all would look
    abandoned. By message, those that are still `streaming`; one that is missing was ended or
    deleted by another process or user.
    """
    if not is_distributed():
        return _save(turns, unchanged)
    # On a cluster one statement an owner, who lies on one node.
    by_owner: dict[int, list[Turn]] = {}
    for turn in turns:
        by_owner.setdefault(turn.owner_id, []).append(turn)
    saved: dict[uuid.UUID, Saved] = {}
    for theirs in by_owner.values():
        saved |= _save(theirs, unchanged)
    return saved


def _save(turns: Sequence[Turn], unchanged: Container[uuid.UUID]) -> dict[uuid.UUID, Saved]:
    place = "(%s::integer, %s::uuid, %s::uuid, %s::boolean, %s::text, %s::jsonb, %s::integer)"
    values: list[Any] = []
    for turn in turns:
        last = turn.last
        values += (turn.owner_id, turn.conversation_id, last.message_id)
        if last.message_id in unchanged:
            values += (False, None, None, None)
        else:
            reasoning = json.dumps(last.reasoning) if last.reasoning else None
            values += (True, last.content, reasoning, last.first_token_ms)
    # Said once more where it is one: a cluster then asks the one node.
    owners = {turn.owner_id for turn in turns}
    owner = f"AND stored.user_id = {owners.pop():d}" if len(owners) == 1 else ""
    with connection.cursor() as cursor:
        cursor.execute(
            _SAVE.format(rows=", ".join([place] * len(turns)), owner=owner),
            [*values, Status.STREAMING, _PARTS, STOPPING, Status.STREAMING],
        )
        return {id_: Saved(*saved) for id_, *saved in cursor.fetchall()}


_SAVE = """
    WITH new AS (
        SELECT * FROM (VALUES {rows})
            AS given (user_id, conversation_id, id, changed, content, reasoning, first_token_ms)
    ),
    unlocked AS MATERIALIZED (
        SELECT user_id, conversation_id, id
        FROM conversations_message AS stored JOIN new USING (user_id, conversation_id, id)
        WHERE new.changed AND stored.status = %s {owner}
        FOR NO KEY UPDATE OF stored SKIP LOCKED
    ),
    saved AS (
        UPDATE conversations_message AS stored SET
            content = CASE WHEN starts_with(new.content, stored.content)
                           THEN new.content ELSE stored.content END,
            parts = CASE WHEN octet_length(new.reasoning #>> '{{}}')
                              > COALESCE(octet_length(stored.parts #>> '{{0,content,0,text}}'), 0)
                         THEN jsonb_set(%s, '{{0,content,0,text}}', new.reasoning)
                         ELSE stored.parts END,
            first_token_ms = COALESCE(new.first_token_ms, stored.first_token_ms),
            updated_at = statement_timestamp()
        FROM new JOIN unlocked USING (user_id, conversation_id, id)
        WHERE stored.user_id = new.user_id AND stored.conversation_id = new.conversation_id
            AND stored.id = new.id {owner}
        RETURNING stored.id
    )
    SELECT id, EXISTS (SELECT FROM saved WHERE saved.id = stored.id),
        COALESCE(stored.finish_reason = %s, false)
    FROM conversations_message AS stored JOIN new USING (user_id, conversation_id, id)
    WHERE stored.status = %s {owner}
"""


def record_opening(*, turn: Turn, mode: str | None, sources: list[Any] | None) -> None:
    """What was found out before the model began to answer. Raises TurnEnded."""
    _update_last_step(turn, detected_mode=mode, sources=sources)


def record_tool_calls(*, turn: Turn, calls: Sequence[ToolCall]) -> None:
    """The last step calls tools: stored before they run, so that no call goes without a record.

    Raises TurnEnded.
    """
    said = {"content": turn.last.content} | _parts(turn.last)
    _update_last_step(turn, **said, tool_calls=[call.as_json() for call in calls])


def record_tool_result(*, turn: Turn, result: ToolResult) -> None:
    """What a tool of the last step returned, as a message of its own. Raises TurnEnded."""
    call = [call.id for call in turn.last.calls].index(result.tool_call_id)
    draft = MessageDraft(
        role=Role.TOOL,
        content=result.content,
        tool_call_id=result.tool_call_id,
        name=result.tool,
        provider=turn.provider,
        model=turn.model,
        id=result_id(turn.id, len(turn.steps), call),
    )
    with transaction.atomic():
        _append(turn, draft)
        # After the append: conversation, then message, is the order in which all writes lock.
        _update_last_step(turn)


def open_step(*, turn: Turn, latency_ms: int | None = None) -> uuid.UUID:
    """End the turn's last step, which called tools, and open the next; the id of its message.

    Sources, mode and a stop request belong to the answer, so they move along. It may be called
    again when it is not known whether it was done. Raises TurnEnded.
    """
    next_id = step_id(turn.id, len(turn.steps) + 1)
    ended = replace(
        turn, status=Status.COMPLETE.value, finish_reason="tool_calls", latency_ms=latency_ms
    )
    with transaction.atomic():
        _lock_conversation(turn)
        rows = _running(turn, turn.last.message_id)
        before = rows.values("sources", "detected_mode", "finish_reason", "runner").first()
        if before is None and _running(turn, next_id).exists():
            return next_id
        columns = _columns_at_end(ended) | {"sources": None, "detected_mode": None}
        if before is None or not rows.update(**columns):
            raise TurnEnded
        stops = before["finish_reason"] == STOPPING
        draft = MessageDraft(
            role=Role.ASSISTANT,
            status=Status.STREAMING,
            finish_reason=STOPPING if stops else None,
            provider=turn.provider,
            model=turn.model,
            sources=before["sources"],
            detected_mode=before["detected_mode"],
            runner=before["runner"],
            id=next_id,
        )
        _append(turn, draft)
    return next_id


def finish_turn(turn: Turn) -> bool:
    """Store the end of a turn that has ended; False if the row was ended or deleted meanwhile."""
    if _running(turn, turn.last.message_id).update(**_columns_at_end(turn)):
        return True
    # Where time was up while the next step was being opened, the caller does not know of it.
    following = Step(step_id(turn.id, len(turn.steps) + 1))
    columns = _columns_at_end(replace(turn, steps=[*turn.steps, following]))
    return bool(_running(turn, following.message_id).update(**columns))


def why_not_stored(turn: Turn) -> str:
    """Why a turn has no answer any more."""
    conversations = Conversation.objects.owned_by(turn.owner_id)
    if conversations.filter(pk=turn.conversation_id).exists():
        return ANSWER_DELETED
    return CONVERSATION_DELETED


def request_stop(turn: Turn) -> bool:
    """Ask the process that runs a turn to stop it; it looks about once a second.

    Whichever step of the turn runs is marked. False when none does.
    """
    messages = Message.objects.of(turn.owner_id, turn.conversation_id)
    rows = messages.filter(id__in=step_ids(turn.id), status=Status.STREAMING)
    with transaction.atomic():
        # Before or after a next step is opened, not while: either way the request is seen.
        _lock_conversation(turn)
        return bool(rows.update(finish_reason=STOPPING))


def _append(turn: Turn, draft: MessageDraft) -> None:
    try:
        append_drafts(
            conversation_id=turn.conversation_id,
            owner_id=turn.owner_id,
            drafts=[draft],
            access=SCRIPT,
            from_client=False,
            # Its own, whichever is shown or written to meanwhile.
            branch=turn.branch,
            activate=False,
            beside=True,
        )
    except NotFound:
        raise TurnEnded from None


def _lock_conversation(turn: Turn) -> None:
    """Until the transaction ends. Nothing happens where there is none."""
    conversations = Conversation.objects.owned_by(turn.owner_id)
    found = conversations.filter(pk=turn.conversation_id).select_for_update()
    found.values_list("pk", flat=True).first()


def _update_last_step(turn: Turn, **columns: Any) -> None:
    rows = _running(turn, turn.last.message_id)
    if not rows.update(**columns, updated_at=Now()):
        raise TurnEnded


def _running(turn: Turn, message_id: uuid.UUID) -> QuerySet[Message]:
    messages = Message.objects.of(turn.owner_id, turn.conversation_id)
    return messages.filter(id=message_id, status=Status.STREAMING)


def _columns_at_end(turn: Turn) -> dict[str, Any]:
    """What the row of the last step says once it has ended; unknown values leave it as it was."""
    known = {name: getattr(turn.last, name) for name in _OF_STEP} | {
        "provider": turn.provider,
        "model": turn.model,
        "latency_ms": turn.latency_ms,
    }
    found = {name: value for name, value in known.items() if value not in (None, "")}
    return (
        found
        | _parts(turn.last)
        | {
            "status": turn.status,
            "finish_reason": turn.finish_reason,
            "error": turn.error,
            "content": turn.last.content,
            "runner": None,
            "updated_at": Now(),
        }
    )


def parts_of(step: Step) -> list[Any]:
    """The column `parts` of a step: its reasoning first, unless it is among its parts."""
    if not step.reasoning or reasoning_of(step.parts, None):
        return step.parts
    return [reasoning_part(step.reasoning), *step.parts]


def _parts(step: Step) -> dict[str, Any]:
    return {"parts": parts} if (parts := parts_of(step)) else {}
