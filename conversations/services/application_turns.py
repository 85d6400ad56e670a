"""Answers that an application writes itself, piece by piece, from the `streaming` message that it
appended to the end that it gives.

Their `runner` is the account that opened the answer, which alone writes it. Each write is a sign
of life; without one for CHAT_TURN_STALE_SECONDS the answer is `interrupted`, as that of a process
that died. A piece says at which offset it belongs, so that a repeated or late one is recognised.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Length, Now, Substr

from conversations import metrics
from conversations.db.bulk_rows import Row
from conversations.formats import DRAFT_FIELDS, MessageDraft
from conversations.models import (
    AccessAction,
    AccessContext,
    Conversation,
    Message,
    Role,
    Status,
    as_read,
)
from conversations.models.message import MessageQuerySet
from conversations.models.runner import application_runner, is_application
from conversations.models.turn import TurnPk
from conversations.services.answer_pieces import joined_list, rest_of_text
from conversations.services.audit import owner_of
from conversations.services.drafts import EMPTY_CONTENT, TOO_LONG, UNKNOWN_STATUS, check_draft
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    NO_SUCH_MESSAGE,
    InvalidValue,
    NotAllowed,
    NotFound,
    OffsetMismatch,
    TurnEnded,
    TurnRunning,
)
from conversations.services.turns import STOPPING
from conversations.services.validators import as_stored, check_json, check_text

# What is added to an answer, and the name of the offset at which it belongs.
OFFSETS = {"content": "offset", "parts": "parts_offset", "tool_calls": "tool_calls_offset"}
END_STATUSES = (Status.COMPLETE, Status.STOPPED, Status.FAILED)
# What may be said of an answer at its end, besides its status.
END_FIELDS = tuple(
    name
    for name in DRAFT_FIELDS
    if name not in OFFSETS
    and name not in {"role", "tool_call_id", "name", "status", "rating", "rating_comment"}
    and name not in {"metadata", "created_at", "id", "runner"}
)

NOT_THE_OPENER = "Only who opened this answer may write it."
OF_THE_SERVER = "The server runs this answer."
NOT_RUNNING = "This message is not a running answer. Its status is `{status}`."
TWO_TEXTS = "Send `content`, the whole text, or `append` with an `offset`."
NO_OFFSET = "Required with `append.{name}`: how much of it is stored before this piece."
WITHOUT_STATUS = "Send this with the `status` that ends the answer."
NO_ERROR = "Required with the status `failed`: why it failed."
DOES_NOT_CONTINUE = "This does not continue what is stored: {length:,} {unit}."
_UNITS = {"content": "characters", "parts": "elements", "tool_calls": "elements"}


@dataclass(frozen=True, slots=True)
class _Write:
    """What is to be added, by column; at which offsets; and the columns that end the answer."""

    added: dict[str, Any]
    offsets: dict[str, int]
    end: dict[str, Any]


def write_answer(
    *,
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    changes: dict[str, Any],
    access: AccessContext,
) -> Row:
    """Add to a running answer that this caller has opened, or end it; what is stored then.

    `changes`: `append` (an object with `content`, `parts`, `tool_calls`) with the OFFSETS of what
    it adds, or `content`, the whole text so far; and to end the answer `status`, one of
    END_STATUSES, with any of END_FIELDS. An empty `append` is a sign of life. Offsets of text
    count characters (code points), those of lists count elements. The last of the stored parts
    may be sent again with longer texts.

    What is stored already, an end included, is no error and changes nothing. Raises InvalidValue,
    NotFound, NotAllowed, ReasonRequired, OffsetMismatch, TurnEnded (the answer has ended
    otherwise) and TurnRunning (the server runs it).
    """
    write = _checked(changes)
    detail = {"message": str(message_id)}
    owner_id = owner_of(access, conversation_id, action=AccessAction.CHANGE, detail=detail).pk
    pk = (owner_id, conversation_id, message_id)
    runner = application_runner(access, owner_id)
    only_text = not write.end and write.added.keys() <= {"content"}
    if only_text and (state := _append(pk, runner, write)):
        return state
    with transaction.atomic():
        return _write_locked(pk, runner, write)


def _checked(changes: dict[str, Any]) -> _Write:
    append, whole, status = (changes.get(name) for name in ("append", "content", "status"))
    pieces = MessageDraft(role=Role.ASSISTANT, status=Status.STREAMING, **append or {})
    try:
        check_draft(pieces, from_client=False)
    except InvalidValue as error:
        raise error.with_field_prefix("append") from None
    added = {name: getattr(pieces, name) for name in OFFSETS if getattr(pieces, name)}
    offsets = {name: changes[offset] for name, offset in OFFSETS.items() if offset in changes}
    if whole is not None:
        if "content" in added or "content" in offsets:
            raise InvalidValue(TWO_TEXTS, field="content", code="ambiguous")
        check_text("content", whole)
        added["content"], offsets["content"] = whole, 0
    for name in added.keys() - offsets.keys():
        raise InvalidValue(NO_OFFSET.format(name=name), field=OFFSETS[name], code="required")
    limit = settings.CHAT_MAX_BODY_BYTES
    if offsets.get("content", 0) + len(added.get("content", "")) > limit:
        field = "content" if whole is not None else "append.content"
        raise InvalidValue(TOO_LONG.format(limit=limit), field=field, code="max_length")
    end = _checked_end(status, changes)
    # An end says where it is, also where it adds nothing; of other writes an offset without
    # anything to add says nothing.
    told = offsets if end else {name: offsets[name] for name in added}
    return _Write(added, told, end)


def _checked_end(status: str | None, changes: dict[str, Any]) -> dict[str, Any]:
    said = {name: changes[name] for name in END_FIELDS if name in changes}
    if status is None:
        for name in said:
            raise InvalidValue(WITHOUT_STATUS, field=name, code="without_status")
        return {}
    if status not in END_STATUSES:
        names = ", ".join(END_STATUSES)
        raise InvalidValue(UNKNOWN_STATUS.format(statuses=names), field="status")
    if status == Status.FAILED and not said.get("error"):
        raise InvalidValue(NO_ERROR, field="error", code="required")
    draft = MessageDraft(role=Role.ASSISTANT, status=Status.STREAMING, **said)
    check_draft(draft, from_client=False)
    return {"status": status} | {name: getattr(draft, name) for name in said}


def _append(pk: TurnPk, runner: str | None, write: _Write) -> Row | None:
    """Add text at exactly the end of what is stored, as nearly every write does: one statement.

    None where that is not so, or where this caller may not write the answer.
    """
    text, offset = write.added.get("content", ""), write.offsets.get("content")
    found = [*pk, Status.STREAMING, runner, settings.CHAT_TURN_STALE_SECONDS, offset]
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, [text, *found])
        row = cursor.fetchone()
    return row and _state_of(pk, dict(zip(_RETURNED, row, strict=True)))


_RETURNED = ("status", "length", "parts", "tool_calls", "finish_reason")
_APPEND = """
    UPDATE conversations_message SET
        content = content || %s, updated_at = statement_timestamp()
    WHERE user_id = %s AND conversation_id = %s AND id = %s
        AND status = %s AND runner = %s
        AND updated_at >= statement_timestamp() - make_interval(secs => %s)
        AND length(content) = COALESCE(%s, length(content))
    RETURNING status, length(content), jsonb_array_length(parts), jsonb_array_length(tool_calls),
        finish_reason
"""


def _write_locked(pk: TurnPk, runner: str | None, write: _Write) -> Row:
    """Any write, with the row locked: an overlap, an addition to a list, an end."""
    rows = Message.objects.of(*pk[:2]).filter(id=pk[2])
    stored = _locked(rows, write)
    if stored is None:
        there = Conversation.objects.owned_by(pk[0]).filter(pk=pk[1]).exists()
        raise NotFound(NO_SUCH_MESSAGE if there else NO_SUCH_CONVERSATION)
    if stored["status"] != Status.STREAMING:
        state = _state_of(pk, stored)
        if not _is_repeated(pk, stored, write):
            raise TurnEnded(NOT_RUNNING.format(status=stored["status"]), stored=state)
        return state
    _check_writer(stored["runner"], runner)
    new = _new_pieces(pk, stored, write)
    text = new.pop("content", "")
    after = stored | new | write.end | {"length": stored["length"] + len(text)}
    if write.end:
        _check_not_empty(after)
        # Until here `finish_reason` may hold a request to stop.
        reason = "stopped" if write.end["status"] == Status.STOPPED else None
        new |= {"finish_reason": reason, "runner": None} | write.end
    if text:
        new["content"] = Concat(F("content"), Value(text))
    rows.update(**new, updated_at=Now())
    if write.end:
        transaction.on_commit(partial(metrics.count_application_turn, write.end["status"]))
    return _state_of(pk, after)


def _locked(rows: MessageQuerySet, write: _Write) -> Row | None:
    """The row as readers see it, with the length of its text and what the write overlaps."""
    text, offset = write.added.get("content", ""), write.offsets.get("content", 0)
    compared = {"length": Length("content"), "overlap": Substr("content", offset + 1, len(text))}
    columns = ("parts", "tool_calls", "status", "runner", "updated_at", *END_FIELDS)
    locked = rows.select_for_update(no_key=True).annotate(**compared)
    stored = locked.values(*compared, *columns).first()
    return stored and as_read(dict(stored))


def _check_writer(stored: str | None, runner: str | None) -> None:
    if not is_application(stored):
        raise TurnRunning(OF_THE_SERVER, field="message_id")
    if stored != runner:
        raise NotAllowed(NOT_THE_OPENER)


def _check_not_empty(after: Row) -> None:
    """The constraint `message_content_not_empty`."""
    said = after["length"] or after["parts"] or after["tool_calls"]
    if after["status"] == Status.COMPLETE and not said:
        raise InvalidValue(EMPTY_CONTENT, field="content", code="blank")


def _is_repeated(pk: TurnPk, stored: Row, write: _Write) -> bool:
    """Whether an answer that has ended says all that this write does."""
    try:
        new = _new_pieces(pk, stored, write)
    except OffsetMismatch:
        return False
    if new or not (write.added or write.end):
        return False
    return all(as_stored(stored[name]) == as_stored(value) for name, value in write.end.items())


def _new_pieces(pk: TurnPk, stored: Row, write: _Write) -> Row:
    """What the write adds: the rest of the text, and the lists as they become."""
    new: Row = {}
    for name, offset in write.offsets.items():
        joined: Any
        if name == "content":
            given, length = write.added.get(name, ""), stored["length"]
            joined = rest_of_text(length, stored["overlap"], offset, given)
        else:
            given, before = write.added.get(name, []), stored[name] or []
            length = len(before)
            joined = joined_list(before, offset, given, last_may_grow=name == "parts")
        # An end says where it is: nothing may be stored beyond it.
        if joined is None or (write.end and offset + len(given) < length):
            text = DOES_NOT_CONTINUE.format(length=length, unit=_UNITS[name])
            raise OffsetMismatch(text, field=OFFSETS[name], stored=_state_of(pk, stored))
        if joined and joined != stored.get(name):
            new[name] = joined
    for name in new.keys() - {"content"}:
        check_json(f"append.{name}", new[name], max_bytes=settings.CHAT_MAX_BODY_BYTES)
    return new


def _state_of(pk: TurnPk, row: Row) -> Row:
    """What a client is told: where the next piece belongs, and whether it is asked to stop."""
    parts, calls = (
        len(row[name]) if isinstance(row[name], list) else row[name] or 0
        for name in ("parts", "tool_calls")
    )
    running = row["status"] == Status.STREAMING
    return {
        "id": pk[2],
        "status": row["status"],
        "offset": row["length"],
        "parts_offset": parts,
        "tool_calls_offset": calls,
        "stopping": running and row["finish_reason"] == STOPPING,
    }
