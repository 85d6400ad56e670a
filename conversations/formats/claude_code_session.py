"""The lines of a Claude Code session: which of them are one message, and what each one follows.

`claude_code.py` says how; `claude_code_message.py` reads the lines of a message.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from conversations.formats.chat import Malformed
from conversations.formats.checks import as_id, as_text_or_none, as_time_or_none
from conversations.formats.claude_code_message import Line, is_message
from conversations.formats.tree import REPEATED_ID

# The lines that name a session, by type: the key of the name; the first one counts most.
TITLES = {"custom-title": "customTitle", "summary": "summary", "ai-title": "aiTitle"}

_CIRCLE = ""  # no line has it as its id


@dataclass(slots=True)
class Message:
    """The lines of one message of the API, or of the results of its calls, or one other line.

    `parent` is the id of the first line of the message that it follows, `records` are the lines
    after it that are no messages.
    """

    lines: list[Line]
    parent: str | None
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.lines[0].id

    @property
    def is_answer(self) -> bool:
        return self.lines[0].data.get("type") == "assistant"


class Session:
    """The lines of a file. A sub-agent is known by the id that its lines have, or else by the id
    of its first line; None stands for the session itself."""

    def __init__(self) -> None:
        self.titles: list[dict[str, Any]] = []
        self._lines: dict[str, Line] = {}
        self._records: list[Line] = []
        self._agents: dict[str, str | None] = {}  # of lines, as far as they are known

    def add(self, number: int, data: dict[str, Any]) -> None:
        """Raises Malformed for a line that cannot be one of a session."""
        if as_text_or_none("type", data.get("type")) in TITLES:
            self.titles.append(data)
            return
        id_ = as_id("uuid", data.get("uuid")) or f"line {number}"
        line = Line(number, id_, data, as_time_or_none("timestamp", data.get("timestamp")))
        known = self._lines.get(id_)
        if known is not None and known.data != data:
            raise Malformed("uuid", REPEATED_ID)
        if known is None:
            self._lines[id_] = line
            if not is_message(data):
                self._records.append(line)

    def by_agent(self) -> dict[str | None, list[Message]]:
        """The messages of each agent in the order of the file, with at least one for each."""
        lines: dict[str | None, list[Line]] = {}
        messages: dict[str | None, list[Message]] = {}
        for line in self._lines.values():
            lines.setdefault(self._agent(line), []).append(line)
        for agent, own in lines.items():
            if said := [line for line in own if is_message(line.data)]:
                messages[agent] = _joined(said, self._parents(own))
        self._add_records(messages)
        return messages

    def _agent(self, line: Line) -> str | None:
        """The agent of a line: the one that it names, or that of the line that it follows."""
        path: dict[str, None] = {}
        while line.id not in self._agents and line.id not in path:
            path[line.id] = None
            if line.data.get("isSidechain") is not True:
                self._agents[line.id] = None
            elif isinstance(named := line.data.get("agentId"), str) and named:
                self._agents[line.id] = named
            else:
                parent = self._named(line, "parentUuid")
                if parent is None or parent.data.get("isSidechain") is not True:
                    self._agents[line.id] = line.id
                else:
                    line = parent
        agent = self._agents.get(line.id, line.id)
        self._agents |= dict.fromkeys(path, agent)
        return agent

    def _named(self, line: Line, key: str) -> Line | None:
        named = line.data.get(key)
        return self._lines.get(named) if isinstance(named, str) else None

    def _parents(self, own: Iterable[Line]) -> dict[str, str | None]:
        """By the ids of an agent's lines with messages, that of the one that each follows.

        A line that comes after a circle of others follows itself.
        """
        follows: dict[str, str | None] = {}
        before: str | None = None
        for line in own:
            follows[line.id] = self._parent(line, before)
            before = line.id
        parents: dict[str, str | None] = {}
        known: dict[str | None, str | None] = {}  # of lines without messages, each passed once
        for id_ in follows:
            if not is_message(self._lines[id_].data):
                continue
            parent, passed = follows[id_], dict[str, None]()
            while parent is not None and parent not in known and parent not in passed:
                if is_message(self._lines[parent].data):
                    break
                passed[parent] = None
                parent = follows[parent]
            end = _CIRCLE if parent in passed else known.get(parent, parent)
            known |= dict.fromkeys(passed, end)
            parents[id_] = id_ if end == _CIRCLE else end
        return parents

    def _parent(self, line: Line, before: str | None) -> str | None:
        """The id of the line that a line follows; `before` is the one before it in the file."""
        data = line.data
        if "parentUuid" in data and data["parentUuid"] is None:
            logical = self._named(line, "logicalParentUuid")
            if logical is not None and self._agent(logical) == self._agent(line):
                return logical.id
            return before if data.get("subtype") == "compact_boundary" else None
        parent = self._named(line, "parentUuid")
        same = parent is not None and self._agent(parent) == self._agent(line)
        return parent.id if parent is not None and same else before

    def _add_records(self, messages: dict[str | None, list[Message]]) -> None:
        """Put each line that is no message to the message of its agent before it in the file, or
        to the first one."""
        if not messages:
            return
        first = next(iter(messages))
        starts = {
            agent: [message.lines[0].number for message in own] for agent, own in messages.items()
        }
        for record in self._records:
            agent = self._agents.get(record.id)
            agent = agent if agent in messages else first
            at = bisect_right(starts[agent], record.number) - 1
            messages[agent][max(at, 0)].records.append(record.data)


def _joined(lines: list[Line], parents: dict[str, str | None]) -> list[Message]:
    """The messages of an agent in order of their first lines."""
    messages: dict[str, Message] = {}
    joined: dict[str, str] = {}  # by the id of a line, that of the first one of its message
    of_api: dict[str, str] = {}  # the same, by the id of a message of the API
    for line in lines:
        if line.api_id is not None:
            joined[line.id] = of_api.setdefault(line.api_id, line.id)
    results: dict[str, str] = {}  # by the id of an answer, that of the results of its calls
    answers: dict[str, str] = {}  # the other way round
    answered: dict[str, set[str]] = {}  # by the same id, the calls that these results are of
    for line in lines:
        parent = parents[line.id]
        before = messages.get(joined.get(parent, parent)) if parent is not None else None
        first = joined.setdefault(line.id, line.id)
        if line.results and before is not None:
            answer = before.id if before.is_answer else answers.get(before.id, before.id)
            known = messages.get(results.get(answer, ""))
            # A call that has a result already has another one after a step back.
            if known is not None and line.results.isdisjoint(answered[known.id]):
                first = joined[line.id] = known.id
                answered[known.id] |= line.results
            else:
                results[answer], answers[line.id] = line.id, answer
                answered[line.id] = set(line.results)
        if first in messages:
            messages[first].lines.append(line)
        else:
            messages[first] = Message([line], parent)
    for message in messages.values():
        if message.parent is not None:
            message.parent = joined[message.parent]
    return list(messages.values())
