"""Which ids the messages of a turn have: all of them follow from the first answer's.

A turn is named by its first assistant message, which exists from the first moment. A model that
calls tools answers in several steps; the later steps and the tools' results have ids derived
from that first one, so that the whole turn can be found without a column that ties it together.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from conversations.models.ids import derived_id
from conversations.models.installation import id_from_key

_TIME_BYTES = 6
# More steps than any setting of CHAT_MAX_TOOL_ROUNDS allows.
MAX_STEPS = 33


def step_id(turn_id: uuid.UUID, step: int) -> uuid.UUID:
    """The assistant message of a step; steps count from 1."""
    return turn_id if step == 1 else derived_id(turn_id, f"step:{step}")


def step_ids(turn_id: uuid.UUID) -> list[uuid.UUID]:
    return [step_id(turn_id, step) for step in range(1, MAX_STEPS + 1)]


def result_id(turn_id: uuid.UUID, step: int, call: int) -> uuid.UUID:
    """The tool message that answers the step's call number `call`, counting from 0."""
    return derived_id(turn_id, f"result:{step}:{call}")


def user_message_id(conversation_id: uuid.UUID, key: str, index: int = 0) -> uuid.UUID:
    """The question, or another of the messages that are sent before an answer."""
    place = f":{index}" if index else ""
    return id_from_key(conversation_id, f"turn:{key}:question{place}")


def turn_id_from_key(conversation_id: uuid.UUID, key: str) -> uuid.UUID:
    return id_from_key(conversation_id, f"turn:{key}:answer")


def conversation_id_from_key(owner_id: int, key: str) -> uuid.UUID:
    """The conversation that a keyed turn without a conversation starts."""
    return id_from_key(owner_id, f"turn:{key}")


def recorded_turn_id(owner_id: int, key: str) -> uuid.UUID:
    """The turn of a keyed request that names its conversation or not: one of the owner's."""
    return id_from_key(owner_id, f"recorded:{key}:answer")


def recorded_conversation_id(owner_id: int, key: str) -> uuid.UUID:
    """The conversation that a keyed request starts which names none."""
    return id_from_key(owner_id, f"recorded:{key}")


def question_ids(owner_id: int, before: str, question: str) -> tuple[uuid.UUID, uuid.UUID]:
    """The lowest and the highest id of an owner's questions with this text after that of an answer.

    The last 48 bits of such an id are the time in milliseconds since 1970, the others derive from
    the texts and the installation's secret: one look-up in the index of ids finds the newest ones.
    """
    given = (owner_id, before, question)
    return _question_id(*given, 0), _question_id(*given, 2 ** (8 * _TIME_BYTES) - 1)


def question_id(owner_id: int, before: str, question: str, at: datetime) -> uuid.UUID:
    """The id of a question that is asked at this time, for `question_ids`."""
    return _question_id(owner_id, before, question, int(at.timestamp() * 1000))


def asked_at(id_: uuid.UUID) -> datetime:
    """The time in the id of such a question."""
    return datetime.fromtimestamp(int.from_bytes(id_.bytes[-_TIME_BYTES:]) / 1000, UTC)


def _question_id(owner_id: int, before: str, question: str, milliseconds: int) -> uuid.UUID:
    texts = id_from_key(owner_id, f"question:{len(before)}:{before}:{question}")
    return uuid.UUID(bytes=texts.bytes[:-_TIME_BYTES] + milliseconds.to_bytes(_TIME_BYTES))
