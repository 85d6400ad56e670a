"""Where the messages of one append go in a conversation that has branches, or gets one."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from django.db import IntegrityError

from conversations.db.bulk_rows import insert_new_rows, row_of
from conversations.models import Branch, Conversation, Message
from conversations.models.branch_path import (
    CONTINUED,
    FIRST_LINE,
    LINE,
    ROOT,
    Path,
    Segment,
    number_of,
)
from conversations.selectors.branches import BEGINNING, count_on
from conversations.services.errors import (
    NO_SUCH_BRANCH,
    NO_SUCH_MESSAGE,
    InvalidValue,
    NotFound,
)


@dataclass(frozen=True, slots=True)
class OnBranch:
    """The end of the branch of this number, as an import keeps numbers; where there is no such
    branch yet, it begins after a message, the `length`th of its path, or as another beginning."""

    number: int
    begins_after: uuid.UUID | Literal["root"]
    length: int


# What a message follows: a message, no message ("root"), or for None the message before it in the
# request, the first of them the end of the active branch.
Parent = uuid.UUID | Literal["root"] | OnBranch | None
MAX_BRANCHES = 2**15 - 1
TOO_MANY_BRANCHES = f"A conversation has at most {MAX_BRANCHES:,} branches."
NUMBER_TAKEN = "The conversation has a branch of this number already."
_EARLIEST = datetime.min.replace(tzinfo=UTC)


class Placement:
    """Places messages one after the other; the conversation is locked until the end.

    `expected` is the last sequence of the branch that the first message is written to, or that of
    the message it forks after. `current` is the number of the branch written to last.
    """

    def __init__(self, conversation: Conversation, branch: int | None = None) -> None:
        self._conversation = conversation
        self._place = (conversation.user_id, conversation.pk)
        self._branches: dict[int, Branch] = {}
        self._placed: dict[uuid.UUID, tuple[int, int]] = {}
        self._lengths: dict[tuple[int, int], int] = {}
        self.current = conversation.active_branch if branch is None else branch
        self.last_branch = conversation.last_branch
        self.added = 0
        self.expected: int | None = None

    def add(self, id_: uuid.UUID, sequence: int, parent: Parent, at: datetime) -> int:
        """The `branch` of a message. Raises InvalidValue for a parent that is not there."""
        branch = self._target(parent, sequence)
        if self.expected is None:
            self.expected = branch.last_sequence
        value = branch.written_to
        branch.length += 1
        branch.last_sequence = sequence
        branch.updated_at = max(branch.updated_at, at)
        self.current = branch.number
        self._placed[id_] = (value, sequence)
        self._lengths[value, sequence] = branch.length
        return value

    def save(self) -> None:
        """Store the branches; none while the conversation has a single line."""
        if self.last_branch == 0:
            return
        for branch in self._branches.values():
            if not branch._state.adding:
                Branch.objects.of(*self._place).filter(number=branch.number).update(
                    length=branch.length,
                    last_sequence=branch.last_sequence,
                    updated_at=branch.updated_at,
                )
        rows = list(map(row_of, self.new_branches))
        if len(insert_new_rows(Branch, rows)) < len(rows):
            raise IntegrityError(NUMBER_TAKEN)

    @property
    def new_branches(self) -> list[Branch]:
        """Those that are not stored yet; none while the conversation has a single line."""
        if self.last_branch == 0:
            return []
        return [branch for branch in self._branches.values() if branch._state.adding]

    def _target(self, parent: Parent, sequence: int) -> Branch:
        if parent is None:
            return self._branch(self.current)
        if isinstance(parent, OnBranch):
            known = self._find(parent.number)
            place = BEGINNING if known else self._place_of(parent.begins_after)
            return known or self._forked(*place, sequence, parent)
        if parent == "root" and self._conversation.message_count == 0 and not self._placed:
            return self._branch(self.current)
        value, after = self._place_of(parent)
        if after and self._is_end(value, after):
            return self._branch(number_of(value))
        return self._forked(value, after, sequence)

    def _place_of(self, parent: uuid.UUID | Literal["root"]) -> tuple[int, int]:
        if parent == "root":
            return BEGINNING
        return self._placed.get(parent) or self._stored(parent)

    def _branch(self, number: int) -> Branch:
        found = self._find(number)
        if found is None:
            raise NotFound(NO_SUCH_BRANCH, field="branch")
        return found

    def _find(self, number: int) -> Branch | None:
        found = self._branches.get(number) or self._read(number)
        if found is not None:
            self._branches[number] = found
        return found

    def _read(self, number: int) -> Branch | None:
        if self._conversation.last_branch > 0:
            return Branch.objects.of(*self._place).filter(number=number).first()
        if number != FIRST_LINE:
            return None
        return self._new(
            number=FIRST_LINE,
            segments=LINE.as_json(),
            last_sequence=self._conversation.last_sequence,
            length=self._conversation.message_count,
            updated_at=self._conversation.updated_at,
        )

    def _forked(
        self, value: int, after: int, sequence: int, given: OnBranch | None = None
    ) -> Branch:
        """A new branch after a message, or a second beginning for `after` 0."""
        if self.last_branch == 0:
            self._close_first_line(sequence)
        number = given.number if given else self.last_branch + 1
        if number > MAX_BRANCHES:
            raise InvalidValue(TOO_MANY_BRANCHES, field="parent_id", code="too_many_branches")
        parent = number_of(value)
        begin = self._branch(parent).path.cut(value, after) if after else ROOT
        length = given.length if given else self._length_up_to(value, after)
        self.last_branch = max(self.last_branch, number)
        self.added += 1
        branch = self._branches[number] = self._new(
            number=number,
            parent=parent,
            fork_branch=value,
            fork_sequence=after,
            segments=begin.extended(number).as_json(),
            last_sequence=after,
            length=length,
            updated_at=_EARLIEST,
        )
        return branch

    def _close_first_line(self, sequence: int) -> None:
        """With the first fork the line ends; what is added to its end has another value."""
        line = Path((Segment(FIRST_LINE, sequence - 1), Segment(CONTINUED)))
        self._branch(FIRST_LINE).segments = line.as_json()

    def _length_up_to(self, value: int, sequence: int) -> int:
        """The number of messages on the path up to this one, counted on its shorter side."""
        if sequence == 0:
            return 0
        if (value, sequence) in self._lengths:
            return self._lengths[value, sequence]
        branch = self._branch(number_of(value))
        path = branch.path
        if sequence < branch.last_sequence // 2:
            return count_on(*self._place, path.cut(value, sequence))
        placed = sum(path.covers(*place) for place in self._placed.values())
        return branch.length - placed - count_on(*self._place, path, after=sequence)

    def _new(self, **values: object) -> Branch:
        owner_id, conversation_id = self._place
        return Branch(user_id=owner_id, conversation_id=conversation_id, **values)

    def _stored(self, message_id: uuid.UUID) -> tuple[int, int]:
        messages = Message.objects.of(*self._place).filter(id=message_id)
        found = messages.values_list("branch", "sequence").first()
        if found is None:
            raise InvalidValue(NO_SUCH_MESSAGE, field="parent_id", code="not_found")
        return found

    def _is_end(self, value: int, sequence: int) -> bool:
        """Whether no message of the same branch follows."""
        number = number_of(value)
        newest = self._branch(number).last_sequence
        if newest == sequence:
            return True
        if newest > self._conversation.last_sequence:  # placed in this request
            return False
        values = (FIRST_LINE, CONTINUED) if number == FIRST_LINE else (value,)
        return not any(self._follows(each, sequence) for each in values)

    def _follows(self, value: int, sequence: int) -> bool:
        messages = Message.objects.of(*self._place)
        return messages.filter(branch=value, sequence__gt=sequence).exists()
