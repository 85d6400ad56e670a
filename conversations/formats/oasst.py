"""OpenAssistant's message trees, as JSON Lines: one tree or one message a line.

Source: the files of https://huggingface.co/datasets/OpenAssistant/oasst1. `.trees.jsonl` nests:

    {"message_tree_id": …, "tree_state": …, "prompt": {"message_id", "text", "role", …,
     "replies": [{…, "replies": […]}, …]}}

`.messages.jsonl` has the same messages flat, each with `message_tree_id`, `tree_state` and
`parent_id`. Those of a tree follow each other: in the published files they are in depth-first
order.

How a tree is stored: messages in depth-first order, replies in their order in the file. The active
branch follows the reply with the lowest `rank` from the prompt on, or without ranks the first one.
A `prompter` is a `user`; the text, the model and the time of a message have columns, and all else
(`message_id`, `rank`, `labels`, `lang`, …) is its `extra` under the same names, but `parent_id`,
which the tree says. `message_tree_id` and `tree_state` are metadata of the conversation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    as_id,
    as_list_or_none,
    as_number_or_none,
    as_object,
    as_text,
    as_time_or_none,
    required,
)
from conversations.formats.lines import parse_object, read_lines
from conversations.formats.message import MessageDraft
from conversations.formats.tree import NO_SUCH_PARENT, REPEATED_ID, Parents, in_preorder, is_line

ROLES = {"prompter": "user", "assistant": "assistant"}
UNKNOWN_ROLE = "Must be `prompter` or `assistant`."
NEITHER = "Neither a tree with a `prompt` nor a message with a `message_tree_id`."
NOT_TOGETHER = "The messages of this tree do not follow each other: sort the file by this field."
MAY_LACK = "This tree may lack the message of line {line:,}, which cannot be read."
ANOTHER_PROMPT = "Missing: another message is the prompt of this tree."

# Of a message, what is said elsewhere.
_NOT_EXTRA = frozenset({"parent_id", "replies", "message_tree_id", "tree_state"})

_Object = dict[str, Any]


class _Message(NamedTuple):
    """A message of the file: its line, its path there ("prompt.replies.0." or "") and its data."""

    line: int
    at: str
    data: _Object


def looks_like_oasst(value: _Object) -> bool:
    tree = value.get("prompt")
    return "message_tree_id" in value or (isinstance(tree, dict) and "message_id" in tree)


def read_oasst(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, line by line; holds one tree in memory."""
    seen: set[str] = set()
    for tree_id, group in groupby(_by_tree(file), key=itemgetter(0)):
        lines = [line for _, line in group]
        unreadable = [line for line in lines if isinstance(line, Rejected)]
        messages = [line for line in lines if isinstance(line, _Message)]
        yield from unreadable
        if not messages:
            continue
        if unreadable:
            text = MAY_LACK.format(line=unreadable[0].line)
            yield Rejected.at(messages[0].line, None, text)
        elif tree_id in seen:
            yield Rejected.at(messages[0].line, "message_tree_id", NOT_TOGETHER)
        else:
            yield _chat(messages)
        if isinstance(tree_id, str):
            seen.add(tree_id)


def _by_tree(file: BinaryIO) -> Iterator[tuple[str | int, _Message | Rejected]]:
    """Each line with the id of its tree, or with its number where it is a whole one. A line that
    cannot be read may be of the tree of the line before it."""
    tree: str | None = None
    for line in read_lines(file):
        found: _Message | Rejected
        if isinstance(line, Rejected):
            number, found = line.line, line
        else:
            number = line[0]
            try:
                found = _Message(number, "", parse_object(line[1]))
                tree = _tree_of(found.data)
            except Malformed as error:
                found = Rejected.at(number, error.field, error.detail)
        yield tree or number, found


def _tree_of(data: _Object) -> str | None:
    """The id of the tree that the message of a line belongs to; None for a whole tree."""
    if "prompt" in data:
        return None
    if "message_tree_id" not in data:
        raise Malformed(None, NEITHER)
    return as_id("message_tree_id", required("message_tree_id", data["message_tree_id"]))


def _chat(messages: list[_Message]) -> Chat | Rejected:
    """The tree of these lines: one with a `prompt`, or the messages of one."""
    line, _, first = messages[0]
    placed: list[tuple[_Message, int | None]] = []
    try:
        if "prompt" in first:
            prompt = as_object("prompt", first["prompt"])
            placed = in_preorder([_Message(line, "prompt.", prompt)], _replies)
        known: dict[str, int] = {}
        for message in messages if "prompt" not in first else ():
            line = message.line
            placed.append((message, _parent(message.data, known)))
        drafts = []
        for message, _ in placed:
            line = message.line
            drafts.append(_draft(message))
        tree_id = first.get("message_tree_id") or placed[0][0].data.get("message_id")
        file_id = as_id("message_tree_id", tree_id)
    except Malformed as error:
        return Rejected.at(line, error.field, error.detail)
    parents = tuple(parent for _, parent in placed)
    ranks = [message.data.get("rank") for message, _ in placed]
    is_tree = not is_line(parents)
    return Chat(
        line=messages[0].line,
        file_id=file_id,
        messages=tuple(drafts),
        metadata={name: first[name] for name in ("message_tree_id", "tree_state") if name in first},
        parents=parents if is_tree else (),
        active=_preferred(parents, ranks) if is_tree else None,
    )


def _replies(message: _Message) -> list[_Message]:
    at = f"{message.at}replies"
    replies = as_list_or_none(at, message.data.get("replies")) or []
    return [
        _Message(message.line, f"{at}.{index}.", as_object(f"{at}.{index}", reply))
        for index, reply in enumerate(replies)
    ]


def _parent(data: _Object, known: dict[str, int]) -> int | None:
    """The index of the message that the next one follows; `known` are those by their ids."""
    id_ = as_id("message_id", required("message_id", data.get("message_id")))
    parent_id = as_id("parent_id", data.get("parent_id"))
    if id_ in known:
        raise Malformed("message_id", REPEATED_ID)
    if parent_id is not None and parent_id not in known:
        raise Malformed("parent_id", NO_SUCH_PARENT)
    if parent_id is None and known:
        raise Malformed("parent_id", ANOTHER_PROMPT)
    parent = None if parent_id is None else known[parent_id]
    known[str(id_)] = len(known)
    return parent


def _draft(message: _Message) -> MessageDraft:
    at, data = message.at, message.data
    extra = {name: value for name, value in data.items() if name not in _NOT_EXTRA}
    role = as_text(f"{at}role", required(f"{at}role", extra.pop("role", None)))
    if role not in ROLES:
        raise Malformed(f"{at}role", UNKNOWN_ROLE)
    as_number_or_none(f"{at}rank", data.get("rank"))
    return MessageDraft(
        role=ROLES[role],
        content=as_text(f"{at}text", required(f"{at}text", extra.pop("text", None))),
        model=as_text(f"{at}model_name", extra.pop("model_name", None) or ""),
        created_at=as_time_or_none(f"{at}created_date", extra.pop("created_date", None)),
        extra=extra or None,
    )


def _preferred(parents: Parents, ranks: list[int | None]) -> int:
    """The index of the last message on the path of the lowest ranks."""
    replies: dict[int | None, list[int]] = defaultdict(list)
    for index, parent in enumerate(parents):
        replies[parent].append(index)
    at = 0
    while at in replies:
        at = min(replies[at], key=lambda index: (ranks[index] is None, ranks[index] or 0))
    return at
