"""Where a history that a client sends again goes on from what is stored of the conversation.

Nothing here writes. The caller has locked the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from conversations.formats import MessageDraft
from conversations.formats.sent_messages import (
    INSTRUCTIONS,
    StoredMessage,
    is_same,
    is_same_but_wrapped,
    is_unchanged,
    said,
)
from conversations.models import Branch, Role
from conversations.models.branch_path import LINE, ROOT, Path, number_of
from conversations.selectors.branches import BEGINNING, Place, children_of, path_of
from conversations.selectors.resent_paths import compared_messages, compared_rows
from conversations.services.locked_conversation import LockedConversation

# Stored messages that are read beyond the number of those that were sent: instructions, and answers
# that failed, of which the client knows nothing.
_BEYOND = 20
# How many branches are looked at, the newest first, and how many of them are followed.
_MAX_FORKS = 1_000
_MAX_FOLLOWED = 100
# How many messages of a path are tried as the first one of a history without its beginning.
_MAX_STARTS = 20


class Step(NamedTuple):
    """A stored message on the way along a path, and how many of the sent ones are stored up to it.

    `is_sent` is False for what clients do not send again: instructions, and answers that failed.
    """

    row: StoredMessage
    stored: int
    is_sent: bool


@dataclass(frozen=True, slots=True)
class Found:
    """How many of the sent messages, without instructions, are stored: along `steps`, on one path.

    `ends` says that no message of the path follows the steps, and `omits` that the client has left
    out messages of it.
    """

    steps: tuple[Step, ...] = ()
    count: int = 0
    ends: bool = True
    omits: bool = False

    @property
    def last(self) -> StoredMessage | None:
        """The last of the stored messages that were sent again."""
        return next((step.row for step in reversed(self.steps) if step.is_sent), None)

    @property
    def sent_again(self) -> Iterator[StoredMessage]:
        return (step.row for step in self.steps if step.is_sent)

    @property
    def instructions_after(self) -> list[StoredMessage]:
        """Those that follow the last of the messages that were sent again."""
        found: list[StoredMessage] = []
        for step in reversed(self.steps):
            if step.is_sent:
                break
            found += [step.row] if step.row.role in INSTRUCTIONS else []
        return found[::-1]


def find_stored(conversation: LockedConversation, sent: Sequence[MessageDraft]) -> Found:
    """How much of this history is stored, and where. `sent` has no instructions in it: clients put
    dates and what they remember into them, so that they tell nothing.

    The active branch is compared first. Where another one, or a sibling that says the same, holds
    more of what was sent, that is found. What follows from the place where both differ is that the
    rest is new: an edited or a regenerated message.

    A client may also have left out the oldest messages, or some after the first ones. That is told
    from an edit by what comes next: the first message that is not where it should be is one of the
    active branch, further on, and an answer after it is the stored one too. An edited message is
    none of the branch.
    """
    if conversation.message_count == 0:
        return Found()
    path = _active_path(conversation)
    found = _along(_Rows(conversation, path, many=len(sent)), Found(), sent)
    if found.count < len(sent) and conversation.last_branch > 0:
        found = _on_other_branches(conversation, found, sent)
    if _has_answer(sent[found.count :]):
        found = _further_on(conversation, path, found, sent)
    return found


def _active_path(conversation: LockedConversation) -> Path:
    if conversation.last_branch == 0:
        return LINE
    return path_of(conversation.user_id, conversation.id, conversation.active_branch) or ROOT


class _Rows:
    """Messages of a path, in order: those given, or those above a sequence, read when needed."""

    def __init__(
        self,
        conversation: LockedConversation,
        path: Path,
        *,
        after: int = 0,
        many: int = 0,
        given: Sequence[StoredMessage] | None = None,
    ) -> None:
        self._chat, self._path = (conversation.user_id, conversation.id), path
        self._after, self._many = after, many + _BEYOND
        self._rows = list(given or ())
        self._has_more = given is None

    def get(self, index: int) -> StoredMessage | None:
        while index >= len(self._rows) and self._has_more:
            self._read()
        return self._rows[index] if index < len(self._rows) else None

    def _read(self) -> None:
        found = compared_rows(*self._chat, self._path, after=self._after, limit=self._many)
        self._has_more = len(found) == self._many
        self._after = found[-1].sequence if found else self._after
        self._rows += found


def _along(rows: _Rows, before: Found, sent: Sequence[MessageDraft]) -> Found:
    """What was found before, and what of the rest of the history the rows hold."""
    steps, count, index = list(before.steps), before.count, 0
    while row := rows.get(index):
        taken = _taken(rows, index, sent, count)
        if taken:
            count += 1
            steps += [Step(each, count, True) for each in taken]
        elif _is_passed_over(row, sent[count : count + 1]):
            steps.append(Step(row, count, False))
        else:
            break
        index += max(len(taken), 1)
    return replace(before, steps=tuple(steps), count=count, ends=row is None)


def _taken(rows: _Rows, index: int, sent: Sequence[MessageDraft], at: int) -> list[StoredMessage]:
    """The stored messages from here on that one sent message is; none where they differ."""
    row = rows.get(index)
    if row is None or at == len(sent):
        return []
    if is_unchanged(row, sent[at]):
        return [row]
    following = rows.get(index + 1)
    if continued := _continued(rows, index, sent[at]):
        return continued
    if is_same(row, sent[at]):
        return [row]
    if is_same_but_wrapped(row, sent[at]) and following and _answers(following, sent[at + 1 :]):
        return [row]
    return []


def _answers(row: StoredMessage, sent: Sequence[MessageDraft]) -> bool:
    return row.role == Role.ASSISTANT and bool(sent) and is_same(row, sent[0])


def _continued(rows: _Rows, index: int, sent: MessageDraft) -> list[StoredMessage]:
    """An answer and those that continue it, which the client has as one."""
    following = rows.get(index + 1)
    if sent.role != Role.ASSISTANT or sent.tool_calls or not following:
        return []
    if following.role != Role.ASSISTANT:
        return []
    wanted = "".join(said(sent.content).split())
    found: list[StoredMessage] = []
    while wanted:
        row = rows.get(index + len(found))
        if row is None or row.role != Role.ASSISTANT or row.tool_calls:
            return []
        text = "".join(said(row.content).split())
        if not wanted.startswith(text):
            return []
        found.append(row)
        wanted = wanted[len(text) :]
    return found if len(found) > 1 else []


def _is_passed_over(row: StoredMessage, following: Sequence[MessageDraft]) -> bool:
    """Whether clients do not send the message again. After the last of what was sent come only the
    instructions that may have been sent with it."""
    if row.role in INSTRUCTIONS:
        return True
    return row.is_empty_try and any(each.role != Role.ASSISTANT for each in following)


def _on_other_branches(
    conversation: LockedConversation, active: Found, sent: Sequence[MessageDraft]
) -> Found:
    """What holds the most of the history, the active branch first, then the newest."""
    place = (conversation.user_id, conversation.id)
    branches = Branch.objects.of(*place).filter(number__gt=0).order_by("-number")
    forks = set(branches.values_list("fork_branch", "fork_sequence")[:_MAX_FORKS])
    best, todo, seen = active, [active], {step.row.key for step in active.steps}
    followed = 0
    while todo:
        for child, before in _siblings(conversation, todo.pop(), forks):
            following = sent[before.count : before.count + 1]
            passed = _is_passed_over(child, following)
            if child.key in seen or not (passed or is_same(child, following[0])):
                continue
            seen.add(child.key)
            followed += 1
            path = path_of(*place, number_of(child.branch)) or ROOT
            many = len(sent) - before.count
            rows = _Rows(conversation, path, after=child.sequence - 1, many=many)
            found = _along(rows, before, sent)
            best = max(best, found, key=lambda each: each.count)
            if best.count == len(sent) or followed == _MAX_FOLLOWED:
                return best
            seen |= {step.row.key for step in found.steps}
            todo.append(found)
    return best


def _siblings(
    conversation: LockedConversation, found: Found, forks: set[Place]
) -> list[tuple[StoredMessage, Found]]:
    """The messages that follow any of the steps on another branch, the newest first, each with what
    was found up to it."""
    before = {
        step.row.place: Found(found.steps[: index + 1], step.stored)
        for index, step in enumerate(found.steps)
        if step.row.place in forks
    }
    if BEGINNING in forks:
        before[BEGINNING] = Found()
    if not before:
        return []
    chat = (conversation.user_id, conversation.id)
    parents = {id_: place for place, ids in children_of(*chat, before).items() for id_ in ids}
    rows = compared_messages(*chat, parents, limit=_MAX_FORKS)
    return [(row, before[parents[row.id]]) for row in rows]


def _has_answer(sent: Sequence[MessageDraft]) -> bool:
    return any(message.role == Role.ASSISTANT for message in sent)


def _further_on(
    conversation: LockedConversation, path: Path, before: Found, sent: Sequence[MessageDraft]
) -> Found:
    """What was found, and the rest of the history where it begins further on along the path."""
    rest = sent[before.count :]
    chat = (conversation.user_id, conversation.id)
    rows = compared_rows(*chat, path, limit=2 * len(rest) + _BEYOND, from_end=True)
    after = before.steps[-1].row.sequence if before.steps else 0
    starts = [at for at, row in enumerate(rows) if row.sequence > after and is_same(row, rest[0])]
    likely = len(rows) - len(rest) + 1  # where all of them but the last are stored
    best = before
    for start in sorted(starts, key=lambda at: abs(at - likely))[:_MAX_STARTS]:
        given = _Rows(conversation, path, given=rows[start:])
        found = _along(given, replace(before, omits=True), sent)
        more = [step.row.role for step in found.steps[len(before.steps) :] if step.is_sent]
        if Role.ASSISTANT in more and (len(more) > 1 or not before.count):
            best = max(best, found, key=lambda each: each.count)
    return best
