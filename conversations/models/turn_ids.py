"""Which ids the messages of a turn have: all of them follow from the first answer's.

A turn is named by its first assistant message, which exists from the first moment. A model that
calls tools answers in several steps; the later steps and the tools' results have ids derived
from that first one, so that the whole turn can be found without a column that ties it together.
"""

from __future__ import annotations

import uuid

from conversations.models.ids import derived_id
from conversations.models.installation import id_from_key

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
