"""The branches of a conversation by activity, and the newest one through each of some messages.

One statement reads a narrow row of each branch, without its path and without an instance of the
model: there may be thousands. Nothing is read of the messages but the place of one that is named.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from conversations.models import Branch, Message
from conversations.models.branch_path import number_of
from conversations.selectors.branches import Place

# Of a branch, or of those that forked from it: the newest sequence, and the number of the branch.
_Activity = tuple[int, int]


class BranchRow(NamedTuple):
    """The columns of the same names of `Branch`."""

    number: int
    parent: int | None
    fork_sequence: int
    last_sequence: int
    length: int
    updated_at: datetime


def branches_by_activity(owner_id: int, conversation_id: uuid.UUID) -> list[BranchRow]:
    """All branches, the one that was written to last at the beginning."""
    rows = Branch.objects.of(owner_id, conversation_id).values_list(*BranchRow._fields)
    return sorted(map(BranchRow._make, rows), key=_activity, reverse=True)


def branch_through(owner_id: int, conversation_id: uuid.UUID, message_id: uuid.UUID) -> int | None:
    """The number of the newest branch whose path has this message; None where there is none."""
    messages = Message.objects.of(owner_id, conversation_id).filter(id=message_id)
    place = messages.values_list("branch", "sequence").first()
    if place is None:
        return None
    return newest_through(branches_by_activity(owner_id, conversation_id), [place])[place]


def newest_through(branches: Iterable[BranchRow], places: Iterable[Place]) -> dict[Place, int]:
    """For the place of each message, the number of the newest branch whose path has it.

    `branches` are all of the conversation's.
    """
    own: dict[int, _Activity] = {}
    forks: dict[int, list[tuple[int, _Activity]]] = defaultdict(list)
    # A branch has a higher number than the one that it forked from.
    for branch in sorted(branches, key=lambda each: each.number, reverse=True):
        own[branch.number] = _activity(branch)
        if branch.parent is not None:
            newest = max([own[branch.number], *(each for _, each in forks[branch.number])])
            forks[branch.parent].append((branch.fork_sequence, newest))
    return {place: _newest(place, own, forks[number_of(place[0])]) for place in places}


def _newest(place: Place, own: dict[int, _Activity], forks: list[tuple[int, _Activity]]) -> int:
    """Of the message's own branch and of those that forked at the message or after it."""
    number, sequence = number_of(place[0]), place[1]
    through = [activity for fork, activity in forks if fork >= sequence]
    return max([own.get(number, (0, number)), *through])[1]


def _activity(branch: BranchRow) -> _Activity:
    return (branch.last_sequence, branch.number)
