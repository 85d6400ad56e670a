"""The data export of ChatGPT: `conversations.json`, or its parts, of the zip.

Source: files of users, as public importers read them; OpenAI documents no schema. An array of

    {"id", "title", "create_time", "update_time", "current_node", "default_model_slug", …,
     "mapping": {NODE: {"id", "message": {…} or null, "parent": NODE or null, "children": […]}}}

with messages

    {"id", "author": {"role", "name", "metadata"}, "create_time", "content": {"content_type",
     "parts" or "text" or …}, "recipient", "status", "metadata": {"model_slug", …}, …}

How a conversation is stored:

- The messages of the mapping in order of their times, none before the one that it follows. The
  active branch is that of `current_node`.
- Nodes without a message, messages that the interface hides and those without any content are left
  out: what follows them follows the message before them.
- `recipient` names the tool that an answer calls: the text is then the arguments of the call,
  which has the id of the message. A message of a tool is the result of the call before it.
- Texts, parts, roles, names, models and times have columns. All else of a message that is not null
  is its `extra`, under the same names; that of a conversation is its metadata.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from conversations.formats.arrays import read_array
from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.chatgpt_message import read_message
from conversations.formats.checks import (
    as_id,
    as_list_or_none,
    as_object,
    as_object_or_none,
    as_text_or_none,
    as_unix_time_or_none,
    required,
)
from conversations.formats.message import MessageDraft
from conversations.formats.tree import Parents, by_time, in_preorder, is_line
from conversations.formats.values import chats_of, only_objects

NO_SUCH_NODE = "No such node in the mapping."
NO_BEGINNING = "Some of the nodes have no first one before them."

# Of a conversation, what has a column, or is read otherwise.
_NOT_METADATA = frozenset(
    {
        *("id", "title", "create_time", "update_time", "mapping", "current_node"),
        *("default_model_slug", "is_archived", "is_starred"),
    }
)

_Object = dict[str, Any]


def looks_like_chatgpt(value: _Object) -> bool:
    return "mapping" in value and isinstance(value["mapping"], dict)


def read_chatgpt(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a conversations.json opened in binary mode; holds one conversation in memory.

    The `line` of a conversation is its place in the file, from 1.
    """
    return chats_of(only_objects(read_array(file)), _chat)


def _chat(place: int, data: _Object) -> Chat:
    nodes = _nodes(as_object("mapping", required("mapping", data.get("mapping"))))
    messages, parents, index_of = _messages(nodes)
    id_ = as_id("id", data.get("id") or data.get("conversation_id"))
    title = as_text_or_none("title", data.get("title"))
    created_at = as_unix_time_or_none("create_time", data.get("create_time"))
    updated_at = as_unix_time_or_none("update_time", data.get("update_time"))
    more = {name: value for name, value in data.items() if name not in _NOT_METADATA}
    more = {name: value for name, value in more.items() if value not in (None, [], {})}
    current = as_id("current_node", data.get("current_node"))
    is_tree = not is_line(parents)
    return Chat(
        line=place,
        file_id=id_,
        messages=messages,
        title=title if title and title.strip() else None,
        model_used=as_text_or_none("default_model_slug", data.get("default_model_slug")) or "",
        metadata=more | ({"conversation_id": id_} if id_ else {}),
        pinned=data.get("is_starred") is True,
        archived_at=(updated_at or created_at) if data.get("is_archived") is True else None,
        created_at=created_at,
        updated_at=updated_at,
        parents=parents if is_tree else (),
        active=index_of.get(current or "") if is_tree else None,
    )


def _nodes(mapping: _Object) -> list[tuple[str, _Object, int | None]]:
    """Each with its id and the index of the one that it follows, which is before it.

    In order of time; one without a time, or with an earlier one than the node that it follows, has
    the time of that one. Where times are equal, in order of the lists of children.
    """
    nodes = {id_: as_object(f"mapping.{id_}", node) for id_, node in mapping.items()}
    children = _children(nodes)
    found = in_preorder(children[None], lambda id_: children[id_])
    if len(found) < len(nodes):
        raise Malformed("mapping", NO_BEGINNING)
    times = [_seconds(nodes[id_]) for id_, _ in found]
    return [(id_, nodes[id_], parent) for id_, parent in by_time(found, times)]


def _children(nodes: dict[str, _Object]) -> dict[str | None, list[str]]:
    """By the id of a node those that have it as their parent; None for first ones."""
    children: dict[str | None, list[str]] = defaultdict(list)
    for id_, node in nodes.items():
        parent = as_text_or_none(f"mapping.{id_}.parent", node.get("parent"))
        if parent is not None and parent not in nodes:
            raise Malformed(f"mapping.{id_}.parent", NO_SUCH_NODE)
        children[parent].append(id_)
    for id_, node in nodes.items():
        at = f"mapping.{id_}.children"
        children[id_].sort(key=_place_in(as_list_or_none(at, node.get("children")) or []))
    return children


def _place_in(ids: list[Any]) -> Callable[[str], int]:
    places = {id_: place for place, id_ in enumerate(ids) if isinstance(id_, str)}
    return lambda id_: places.get(id_, len(places))


def _seconds(node: _Object) -> float | None:
    message = node.get("message")
    time = message.get("create_time") if isinstance(message, dict) else None
    return time if isinstance(time, int | float) else None


def _messages(
    nodes: list[tuple[str, _Object, int | None]],
) -> tuple[tuple[MessageDraft, ...], Parents, dict[str, int]]:
    """The messages of these nodes, what each follows, and by the ids of nodes the indexes of their
    messages: for a node without one, that of the message before it."""
    drafts: list[MessageDraft] = []
    parents: list[int | None] = []
    before: list[int | None] = []  # for each node, the index of the last message up to it
    calls: list[str | None] = []  # for each node, the id of the last call up to it
    for id_, node, parent in nodes:
        follows = None if parent is None else before[parent]
        call = None if parent is None else calls[parent]
        at = f"mapping.{id_}.message"
        message = as_object_or_none(at, node.get("message"))
        draft = read_message(at, message, call) if message else None
        if draft is not None:
            drafts.append(draft)
            parents.append(follows)
            follows = len(drafts) - 1
            if draft.role != "tool":
                call = draft.tool_calls[0]["id"] if draft.tool_calls else None
        before.append(follows)
        calls.append(call)
    indexes = zip((id_ for id_, _, _ in nodes), before, strict=True)
    known = {id_: index for id_, index in indexes if index is not None}
    return tuple(drafts), tuple(parents), known
