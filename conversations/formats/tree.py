"""Conversations with branches in files: which message each one follows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from conversations.formats.chat import Malformed
from conversations.formats.checks import as_id, as_number

REPEATED_ID = "Another message has the same id."
NO_SUCH_PARENT = "No message before this one has that id."
NOT_ITS_END = "Not the last message before it on its branch."
NO_SUCH_BRANCH = "No message of this conversation was written to this branch."

K = TypeVar("K", bound=Hashable)

Message = Mapping[str, Any]
Parents = tuple[int | None, ...]


def read_tree(messages: Sequence[Message]) -> tuple[Parents, tuple[int, ...]]:
    """The index of the message that each one follows, and the number of its branch.

    By `parent_id`, the id of a message before it or null for a beginning; without one it follows
    the message before it. By `branch`, which all messages have or none; the second tuple is then
    empty. Both are empty for a line. Raises Malformed.
    """
    if not any("parent_id" in message or "branch" in message for message in messages):
        return (), ()
    parents = _parents(messages)
    branches = _branches(messages, parents)
    return ((), ()) if is_line(parents) and len(set(branches)) <= 1 else (parents, branches)


def _parents(messages: Sequence[Message]) -> Parents:
    known: dict[str, int] = {}
    parents: list[int | None] = []
    for index, message in enumerate(messages):
        parents.append(_parent(f"messages.{index}.parent_id", message, index, known))
        id_ = as_id(f"messages.{index}.id", message.get("id"))
        if id_ in known:
            raise Malformed(f"messages.{index}.id", REPEATED_ID)
        if id_ is not None:
            known[id_] = index
    return tuple(parents)


def _parent(at: str, message: Message, index: int, known: dict[str, int]) -> int | None:
    if "parent_id" not in message:
        return index - 1 if index else None
    id_ = as_id(at, message["parent_id"])
    if id_ is not None and id_ not in known:
        raise Malformed(at, NO_SUCH_PARENT)
    return None if id_ is None else known[id_]


def _branches(messages: Sequence[Message], parents: Parents) -> tuple[int, ...]:
    """The messages of a branch follow each other; only the first one may follow another's."""
    if not any("branch" in message for message in messages):
        return ()
    ends: dict[int, int] = {}
    numbers: list[int] = []
    for index, message in enumerate(messages):
        at = f"messages.{index}"
        number = as_number(f"{at}.branch", message.get("branch"))
        if number in ends and parents[index] != ends[number]:
            raise Malformed(f"{at}.parent_id", NOT_ITS_END)
        ends[number] = index
        numbers.append(number)
    return tuple(numbers)


def read_active(value: object, messages: Sequence[Message]) -> int | None:
    """The index of the last message of the branch with this number; raises Malformed."""
    if value is None:
        return None
    number = as_number("active_branch", value)
    numbers = [message.get("branch", 0) for message in messages]
    if number not in numbers and number:
        raise Malformed("active_branch", NO_SUCH_BRANCH)
    return max((index for index, each in enumerate(numbers) if each == number), default=None)


def is_line(parents: Parents) -> bool:
    """Whether each message follows the one before it."""
    return all(follows == (index - 1 if index else None) for index, follows in enumerate(parents))


def in_preorder(
    roots: Iterable[K], children: Callable[[K], Iterable[K]]
) -> list[tuple[K, int | None]]:
    """The messages of a tree, parents before children, each with the index of its parent."""
    found: list[tuple[K, int | None]] = []
    left: list[tuple[K, int | None]] = [(root, None) for root in reversed(list(roots))]
    while left:
        node, parent = left.pop()
        found.append((node, parent))
        index = len(found) - 1
        left += [(child, index) for child in reversed(list(children(node)))]
    return found


def by_time(
    found: Sequence[tuple[K, int | None]], times: Sequence[float | None]
) -> list[tuple[K, int | None]]:
    """Messages in order of their times, none before the one that it follows.

    `found` is as `in_preorder` returns it. One without a time, or with an earlier one than the one
    that it follows, has the time of that one; equal times leave the order as it is.
    """
    latest: list[float] = []
    for (_, parent), time in zip(found, times, strict=True):
        before = float("-inf") if parent is None else latest[parent]
        latest.append(before if time is None else max(time, before))
    order = sorted(range(len(found)), key=latest.__getitem__)
    place_of: dict[int | None, int | None] = {index: place for place, index in enumerate(order)}
    place_of[None] = None
    return [(found[index][0], place_of[found[index][1]]) for index in order]
