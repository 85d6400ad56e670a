"""A conversation from the nodes of a tree: messages by id, each naming the one that it follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conversations.formats.chat import Chat, Malformed
from conversations.formats.message import MessageDraft
from conversations.formats.tree import REPEATED_ID, Parents, by_time, in_preorder, is_line
from conversations.formats.unmapped import as_metadata

NO_SUCH_MESSAGE = "No message has this id."
NO_BEGINNING = "Some of the messages have no first one before them."


@dataclass(frozen=True, slots=True)
class Node:
    """A message of a file: `at` is its path there, `parent` the id of the one that it follows."""

    at: str
    id: str
    parent: str | None
    data: dict[str, Any]
    time: datetime | None = None


def in_order(nodes: Sequence[Node], parent_key: str) -> list[tuple[Node, int | None]]:
    """Each node with the index of the one that it follows, which is before it.

    In order of time, as `by_time`, and of the list where times are equal. `parent_key` is the key
    of a parent in the file. Raises Malformed for an id that another node has too, a parent that is
    not there, and nodes that follow each other in a circle.
    """
    known: set[str] = set()
    for node in nodes:
        if node.id in known:
            raise Malformed(node.at, REPEATED_ID)
        known.add(node.id)
    children: dict[str | None, list[Node]] = defaultdict(list)
    for node in nodes:
        if node.parent is not None and node.parent not in known:
            raise Malformed(f"{node.at}.{parent_key}", NO_SUCH_MESSAGE)
        children[node.parent].append(node)
    ids = {node.id: node for node in nodes}
    found = in_preorder(
        [node.id for node in children[None]],
        lambda id_: [child.id for child in children.get(id_, ())],
    )
    if len(found) < len(nodes):
        raise Malformed(None, NO_BEGINNING)
    times = [time.timestamp() if (time := ids[id_].time) else None for id_, _ in found]
    return [(ids[id_], parent) for id_, parent in by_time(found, times)]


def unfolded(
    nodes: Iterable[tuple[Sequence[MessageDraft], int | None]],
) -> tuple[tuple[MessageDraft, ...], Parents, list[int | None]]:
    """The messages of nodes that have any number of them each, the index of the message that each
    one follows, and for each node the index of the last message up to it.

    What follows a node without messages follows the message before it.
    """
    drafts: list[MessageDraft] = []
    parents: list[int | None] = []
    ends: list[int | None] = []
    for messages, parent in nodes:
        follows = None if parent is None else ends[parent]
        for message in messages:
            drafts.append(message)
            parents.append(follows)
            follows = len(drafts) - 1
        ends.append(follows)
    return tuple(drafts), tuple(parents), ends


def set_missing_times(
    drafts: Sequence[MessageDraft], parents: Sequence[int | None], start: datetime | None
) -> None:
    """Give a message without a time that of the one that it follows, and a first one `start`, since
    it would have the time of its import otherwise."""
    for draft, parent in zip(drafts, parents, strict=True):
        if draft.created_at is None:
            draft.created_at = start if parent is None else drafts[parent].created_at


def chat_of_tree(
    nodes: Sequence[Node],
    read: Callable[[Node], list[MessageDraft]],
    *,
    parent_key: str,
    current: object = None,
    metadata: dict[str, Any],
    **columns: Any,
) -> Chat:
    """The conversation of these nodes. `read` makes the messages of one, `current` is the id of the
    node at the end of the active branch, `columns` are further fields of the conversation, of which
    `created_at` is the time of a first message without one.

    Raises Malformed.
    """
    placed = in_order(nodes, parent_key)
    drafts, parents, ends = unfolded((read(node), parent) for node, parent in placed)
    set_missing_times(drafts, parents, columns.get("created_at"))
    indexes = {node.id: end for (node, _), end in zip(placed, ends, strict=True)}
    is_tree = not is_line(parents)
    active = indexes.get(current) if isinstance(current, str) else None
    return Chat(
        messages=drafts,
        parents=parents if is_tree else (),
        active=active if is_tree else None,
        metadata=as_metadata(metadata, drafts),
        **columns,
    )
