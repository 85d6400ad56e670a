"""What the chunks of chat.completion.chunk add to an answer: text, reasoning, calls of tools.

A whole chat.completion is read as the one chunk that says all of it. Values of another kind than
OpenAI's are passed over: they are the client's, and the record keeps what it can hold.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from conversations.chat.llm.extras import LOOKED_BACK, first_delta, objects
from conversations.chat.llm.observed_model import reasoning_in
from conversations.chat.tool_results import storable
from conversations.formats.tool_calls import id_of_legacy_call
from conversations.models.turn import ToolCall

Json = dict[str, Any]

# What an answer without text says instead of it: the keys of a message that become parts.
_INSTEAD_OF_TEXT = ("audio", "images")


def as_chunk(completion: Json) -> Json:
    """The chunk that says all of an answer at once."""
    choices = [
        {name: value for name, value in choice.items() if name != "message"}
        | {"delta": _as_delta(choice.get("message"))}
        for choice in objects(completion.get("choices"))
    ]
    return completion | {"object": "chat.completion.chunk", "choices": choices}


def chunks_of(completion: Json) -> list[Json]:
    """A whole answer as the chunks of a stream, the last with its usage where it has any."""
    head = as_chunk(completion)
    usage = head.pop("usage", None)
    ends = [choice | {"delta": {}} for choice in head["choices"]]
    says = [choice | {"finish_reason": None} for choice in head["choices"]]
    found = [head | {"choices": says}, head | {"choices": ends}]
    return found if usage is None else [*found, head | {"choices": [], "usage": usage}]


def text_and_reasoning(chunk: Json) -> tuple[str, str]:
    """What the chunk adds to the text of the answer and to what the model thought before it."""
    delta = first_delta(chunk)
    if not delta:
        return "", ""
    content, refusal = delta.get("content"), delta.get("refusal")
    said = content if isinstance(content, str) else _text_of(content, "text")
    if isinstance(refusal, str):
        said += refusal
    return storable(said), storable(reasoning_in(delta)[1] or _text_of(content, "thinking"))


class Calls:
    """The calls of tools in an answer, as far as they have come."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def take(self, chunk: Json) -> None:
        delta = first_delta(chunk)
        for piece in objects(delta.get("tool_calls")):
            self._call_of(piece).add(piece)
        if isinstance(legacy := delta.get("function_call"), dict):
            self._call_of({"index": 0}).add({"function": legacy})

    def found(self) -> list[ToolCall]:
        """In the order in which they began."""
        return [call.as_call() for call in self._calls]

    def _call_of(self, piece: Json) -> _Call:
        """The call that a piece belongs to. Some servers number all calls of an answer 0, or none:
        another id is another call."""
        index, id_ = piece.get("index"), piece.get("id")
        for call in islice(reversed(self._calls), LOOKED_BACK):
            if call.index == index and (not id_ or not call.id or id_ == call.id):
                return call
        self._calls.append(_Call(index))
        return self._calls[-1]


class _Call:
    def __init__(self, index: Any) -> None:
        self.index = index
        self.id = self._name = self._arguments = ""
        self._is_custom = False

    def add(self, piece: Json) -> None:
        self.id = self.id or _text(piece.get("id"))
        self._is_custom |= piece.get("type") == "custom"
        said = piece.get("custom" if self._is_custom else "function")
        if isinstance(said, dict):
            self._name = self._name or _text(said.get("name"))
            self._arguments += _text(said.get("input" if self._is_custom else "arguments"))

    def as_call(self) -> ToolCall:
        id_ = storable(self.id or id_of_legacy_call(self._name))
        return ToolCall(id_, storable(self._name), storable(self._arguments), self._is_custom)


def instead_of_text(extra: Json) -> tuple[str, list[Json]]:
    """The text and the parts of an answer that has neither text nor calls; parts leave `extra`."""
    audio = extra.get("audio")
    transcript = audio.get("transcript") if isinstance(audio, dict) else None
    if isinstance(transcript, str) and transcript:
        return storable(transcript), []
    return "", [{"type": key, key: extra.pop(key)} for key in _INSTEAD_OF_TEXT if extra.get(key)]


def _as_delta(message: Any) -> Json:
    """A message as one delta: its calls are numbered, which they are only in streams."""
    if not isinstance(message, dict):
        return {}
    calls = objects(message.get("tool_calls"))
    numbered = [{"index": index} | call for index, call in enumerate(calls)]
    return message | ({"tool_calls": numbered} if numbered else {})


def _text_of(parts: Any, kind: str) -> str:
    """The text of the parts of a kind, where a server gives content as a list of them."""
    found = []
    for part in objects(parts):
        if part.get("type") == kind:
            inside = part.get(kind)
            found.append(_text_of(inside, "text") if isinstance(inside, list) else _text(inside))
    return "".join(found)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
