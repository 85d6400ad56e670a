"""The branch that a transcript shows, in a conversation that has any: where its messages are.

Nothing here reads what was said: a page's access record names its ends before that is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property

from conversations.models import Branch, Conversation, Message
from conversations.selectors.branches import BEGINNING, Place, place_before, places_on
from conversations.selectors.newest_branches import BranchRow, branches_by_activity, newest_through

PAGE_SIZE = 100


class ShownBranch:
    """One branch of a conversation, and the places on its path. Each read is a few index steps."""

    def __init__(self, conversation: Conversation, row: Branch) -> None:
        self.conversation = conversation
        self.number, self.length, self.path = row.number, row.length, row.path
        self.is_active = row.number == conversation.active_branch
        self._key = (conversation.user_id, conversation.pk)
        self._messages = Message.objects.of(*self._key)

    def page(self, *, after: int, before: int | None) -> list[Place]:
        """The places of the page that ends ahead of `before`, or else follows `after`."""
        if before is None:
            return places_on(self._messages, self.path, after=after, limit=PAGE_SIZE)
        until = before - 1
        page = places_on(self._messages, self.path, until=until, descending=True, limit=PAGE_SIZE)
        return page[::-1]

    def page_start(self, sequence: int) -> int:
        """The `after` of a page that holds this sequence: 0, or half a page above it."""
        above = self.page(after=0, before=sequence)
        return 0 if len(above) < PAGE_SIZE else above[PAGE_SIZE // 2 - 1][1]

    def parent_of(self, sequence: int) -> Place:
        """The place ahead of a message; BEGINNING without one."""
        return place_before(*self._key, self.path, sequence) or BEGINNING

    @cached_property
    def last(self) -> int:
        """The sequence of the last message, 0 without one."""
        found = places_on(self._messages, self.path, descending=True, limit=1)
        return found[0][1] if found else 0

    def first_from(self, sequence: int) -> int:
        """The sequence of the first message at or after this one; the last one's without any."""
        found = places_on(self._messages, self.path, after=sequence - 1, limit=1)
        return found[0][1] if found else self.last

    def first_since(self, moment: datetime) -> int:
        """The same for a time."""
        later = self._messages.filter(created_at__gte=moment)
        found = places_on(later, self.path, limit=1)
        return found[0][1] if found else self.last

    def near(self, sequence: int, last: int, distance: int) -> list[int]:
        """The sequences of the messages from one to the other and within `distance` of these."""
        after, until = max(0, sequence - distance - 1), last + distance
        limit = PAGE_SIZE + 2 * distance
        places = places_on(self._messages, self.path, after=after, until=until, limit=limit)
        return [at for _, at in places]

    def elsewhere(self, places: Iterable[Place]) -> dict[Place, int]:
        """Of those messages that are not on this branch: the number of the newest that has them."""
        others = [place for place in places if not self.path.covers(*place)]
        return newest_through(self.all, others) if others else {}

    def through(self, sequence: int) -> ShownBranch:
        """This one where it has the message of this sequence, or where there is none; else the
        newest that has it."""
        message = self._messages.filter(sequence=sequence)
        numbers = self.elsewhere(message.values_list("branch", "sequence")).values()
        for number in numbers:
            return branch_of(self.conversation, number) or self
        return self

    @cached_property
    def all(self) -> list[BranchRow]:
        """All branches of the conversation, newest activity first."""
        return branches_by_activity(*self._key)


def branch_of(conversation: Conversation, number: int | None) -> ShownBranch | None:
    """The branch of this number, or for None the one that the owner sees; None where there is no
    such branch, or where the conversation never had a fork."""
    if conversation.last_branch == 0:
        return None
    number = conversation.active_branch if number is None else number
    branches = Branch.objects.of(conversation.user_id, conversation.pk)
    row = branches.filter(number=number).first()
    return None if row is None else ShownBranch(conversation, row)
