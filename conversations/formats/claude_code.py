"""A session of Claude Code: `~/.claude/projects/DIRECTORY/SESSION.jsonl`.

Source: files of users, as public tools read them; Anthropic documents where they are, not what is
in them. One JSON object a line, with messages of the Anthropic Messages API:

    {"type": "user" or "assistant", "uuid", "parentUuid", "sessionId", "timestamp", "isSidechain",
     "cwd", "version", "gitBranch", "requestId", "toolUseResult",
     "message": {"role", "id", "model", "content", "stop_reason", "usage"}}
    {"type": "system", "uuid", "parentUuid", "subtype", "content", …}
    {"type": "summary", "summary", "leafUuid"}
    {"type": "file-history-snapshot" or "attachment" or …, …}

How a session is stored:

- Messages in order of their times, none before the one that it follows. A line whose parent is not
  in the file follows the line before it, and what follows a compaction the line before that. The
  active branch is that of the last message.
- The lines of one message of the API are one message, with its usage once. Results of its tools
  follow it one after the other, in messages of their own.
- The messages of each sub-agent (`isSidechain`) are a conversation of their own, whose id is that
  of the session and the agent's.
- The title is the one that the user gave, or the summary, or the one that a model made.
- Lines that are no messages are in `extra["records"]` of the message that they follow; what is the
  same on all lines (`cwd`, `version`, …) is metadata of the conversation.
- A line that cannot be read is refused alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.claude_code_message import read_lines_of_message
from conversations.formats.claude_code_session import TITLES, Message, Session
from conversations.formats.message import MessageDraft
from conversations.formats.node_tree import Node, chat_of_tree
from conversations.formats.unmapped import add_extra
from conversations.formats.values import add_lines

NO_MESSAGES = "No messages in this file."

# The keys of a line that are the same for a session, or for most of it.
_OF_SESSION = ("sessionId", "agentId", "cwd", "version", "gitBranch", "userType", "entrypoint")
_LINE_TYPES = frozenset({"user", "assistant", "system", "summary", "file-history-snapshot"})
MAX_TITLE_CHARS = 255

_Object = dict[str, Any]


def looks_like_claude_code(value: _Object) -> bool:
    """Whether the first line of a file is one of this format."""
    if value.get("type") == "summary":
        return "leafUuid" in value
    is_line = str(value.get("type")) in _LINE_TYPES or "customTitle" in value
    return is_line and not {"sessionId", "messageId", "parentUuid"}.isdisjoint(value)


def read_claude_code(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode; holds the session in memory.

    The `line` of a conversation is that of its first message.
    """
    session = Session()
    has_lines = yield from add_lines(file, session.add)
    messages = session.by_agent()
    if not messages and has_lines:
        yield Rejected(1, NO_MESSAGES)
    for agent, own in messages.items():
        yield from _chats(own, agent, session.titles)


def _chats(
    messages: list[Message], agent: str | None, titles: list[_Object]
) -> Iterator[Chat | Rejected]:
    """The conversation of an agent, and its messages that cannot be read."""
    refused: list[Rejected] = []
    shared = _shared(messages)

    def read(node: Node) -> list[MessageDraft]:
        message: Message = node.data["message"]
        try:
            drafts = read_lines_of_message(message.lines, shared)
        except Malformed as error:
            refused.append(Rejected.at(message.lines[0].number, error.field, error.detail))
            return []
        if message.records and drafts:
            add_extra(drafts[-1], {"records": message.records})
        return drafts

    nodes = [
        Node("", each.id, each.parent, {"message": each}, each.lines[0].time) for each in messages
    ]
    times = [line.time for each in messages for line in each.lines if line.time]
    line = messages[0].lines[0].number
    try:
        chat = chat_of_tree(
            nodes,
            read,
            parent_key="parentUuid",
            metadata=shared | _names(titles, agent),
            line=line,
            file_id=_file_id(messages, agent),
            title=_title(titles, messages) if agent is None else None,
            model_used=_model(messages),
            created_at=min(times, default=None),
            updated_at=max(times, default=None),
        )
    except Malformed as error:
        yield Rejected.at(line, error.field, error.detail)
        return
    yield from refused
    yield chat


def _shared(messages: list[Message]) -> _Object:
    """What the lines say of the session, each as the first of them that says it."""
    found: _Object = {}
    for message in messages:
        for line in message.lines:
            said = {name: line.data[name] for name in _OF_SESSION if line.data.get(name)}
            found = said | found
    return found


def _names(titles: list[_Object], agent: str | None) -> _Object:
    if agent is not None:
        return {"isSidechain": True}
    return {"titles": titles} if titles else {}


def _file_id(messages: list[Message], agent: str | None) -> str | None:
    """The id of the session: the last one, since a session that continues another one may begin
    with a copy of its lines."""
    ids = [line.data.get("sessionId") for message in messages for line in message.lines]
    id_ = next((id_ for id_ in reversed(ids) if isinstance(id_, str) and id_), None)
    return id_ if id_ is None or agent is None else f"{id_}:{agent}"


def _title(titles: list[_Object], messages: list[Message]) -> str | None:
    ids = {line.id for message in messages for line in message.lines}
    for kind, key in TITLES.items():
        lines = [line for line in titles if line["type"] == kind]
        here = [line for line in lines if str(line.get("leafUuid")) in ids] or lines
        texts = [line[key].strip() for line in here if isinstance(line.get(key), str)]
        if text := next(filter(None, reversed(texts)), None):
            return text if len(text) <= MAX_TITLE_CHARS else f"{text[: MAX_TITLE_CHARS - 1]}…"
    return None


def _model(messages: list[Message]) -> str:
    """The model of the last answer."""
    models = [line.model for message in reversed(messages) for line in message.lines]
    return next(filter(None, models), "")
