"""What is stored of a turn, read back as one value: its question, its steps, their tool results."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from conversations.models import AccessContext, Conversation, Message, Role
from conversations.models.turn_ids import MAX_STEPS, result_id, step_id, step_ids

# A turn's conversation and id: a message's id is unique within its conversation alone, and a
# client may give its own messages the ids of somebody else's.
TurnName = tuple[uuid.UUID, uuid.UUID]

_LEFT_OUT = ("parts", "rating", "rating_comment")


@dataclass(frozen=True, slots=True)
class StoredStep:
    """An assistant message and the tool messages that answer its calls, as they came."""

    message: Message
    results: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn with at least one step; the last one holds the answer, or will."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    user_message_id: uuid.UUID | None
    steps: list[StoredStep]

    @property
    def last(self) -> Message:
        return self.steps[-1].message

    @property
    def name(self) -> TurnName:
        return self.conversation_id, self.id


def find_turn(*, message_id: uuid.UUID, access: AccessContext) -> StoredTurn | None:
    """The turn that one of its assistant messages names, if this caller may see it.

    Of several messages under this id in conversations that a trusted client or staff may see, the
    oldest is meant: who repeats the id of somebody's answer comes after it.
    """
    named = Message.objects.filter(id=message_id, role=Role.ASSISTANT)
    visible = Conversation.objects.visible_to(access)
    seen = named.filter(conversation__in=visible.order_by())
    message = seen.order_by("created_at", "conversation_id").first()
    if message is None:
        return None
    return read_turn((message.conversation_id, _first_of(message)))


def read_turn(name: TurnName) -> StoredTurn | None:
    return read_turns([name]).get(name)


def read_turns(names: Sequence[TurnName]) -> dict[TurnName, StoredTurn]:
    """The turns of these names: two statements, however many they are."""
    rows = _rows_of(names, [id_ for _, turn in names for id_ in step_ids(turn)])
    results = _rows_of(names, _result_ids(names, rows)) if any(map(_calls, rows.values())) else {}
    turns = {}
    for name in names:
        conversation_id, turn_id = name
        if steps := list(_steps(name, rows, results)):
            turns[name] = StoredTurn(turn_id, conversation_id, None, steps)
    return turns


def question_before(turn: StoredTurn) -> uuid.UUID | None:
    """The id of the user message that the turn answers."""
    first = turn.steps[0].message
    asked = Message.objects.filter(
        conversation_id=turn.conversation_id, sequence__lt=first.sequence, role=Role.USER
    )
    return asked.order_by("-sequence").values_list("id", flat=True).first()


def _first_of(message: Message) -> uuid.UUID:
    """The turn's id, given any of its assistant messages: looked for among those before it."""
    if message.id.version != 5:  # made, not derived
        return message.id
    before = Message.objects.filter(
        conversation_id=message.conversation_id,
        sequence__lt=message.sequence,
        role=Role.ASSISTANT,
    )
    for id_ in before.order_by("-sequence").values_list("id", flat=True)[:MAX_STEPS]:
        if message.id in step_ids(id_):
            return id_
    return message.id


def _rows_of(names: Iterable[TurnName], ids: Sequence[uuid.UUID]) -> dict[TurnName, Message]:
    """The messages with these ids in the conversations of these turns, by conversation and id."""
    conversations = {conversation_id for conversation_id, _ in names}
    found = Message.objects.filter(conversation_id__in=conversations, id__in=ids)
    return {(row.conversation_id, row.id): row for row in found.defer(*_LEFT_OUT)}


def _calls(row: Message) -> int:
    return len(row.tool_calls or ())


def _result_ids(names: Iterable[TurnName], rows: dict[TurnName, Message]) -> list[uuid.UUID]:
    return [
        result_id(turn_id, step, call)
        for conversation_id, turn_id in names
        for step in range(1, MAX_STEPS + 1)
        if (row := rows.get((conversation_id, step_id(turn_id, step))))
        for call in range(_calls(row))
    ]


def _steps(
    name: TurnName, rows: dict[TurnName, Message], results: dict[TurnName, Message]
) -> Iterable[StoredStep]:
    conversation_id, turn_id = name
    for step in range(1, MAX_STEPS + 1):
        row = rows.get((conversation_id, step_id(turn_id, step)))
        if row is None:
            return
        ids = [result_id(turn_id, step, call) for call in range(_calls(row))]
        found = [results.get((conversation_id, id_)) for id_ in ids]
        # In the order in which they came, as a client that watched saw them.
        yield StoredStep(row, sorted((r for r in found if r), key=lambda r: r.sequence))
