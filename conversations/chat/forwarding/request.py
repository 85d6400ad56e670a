"""A request for chat completions: as the client sent it, as the provider gets it, and what of it is
recorded beside its messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conversations.chat.forwarding.upstream import dumps

Json = dict[str, Any]

# About the record, which is ours: a provider would keep a second one, or refuse them.
OURS = frozenset({"store", "metadata", "conversation_id"})
# Not recorded as options: they are columns, messages, or how the answer is sent.
_NO_OPTIONS = OURS | {"messages", "model", "stream", "stream_options"}
# Of a larger option, such as a JSON schema, only the name is kept.
MAX_OPTION_BYTES = 1_000
LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`body` is what the provider is sent; `wants_usage` whether the client asked for the chunk
    with the counts of a stream, which are always asked for."""

    body: Json
    wants_usage: bool = True

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @classmethod
    def of_client(cls, body: Json, model: str) -> ChatRequest:
        """`model` is the provider's own name for it."""
        sent = {name: value for name, value in body.items() if name not in OURS} | {"model": model}
        if not sent.get("stream"):
            return cls(sent)
        given = sent.get("stream_options")
        options = given if isinstance(given, dict) else {}
        sent["stream_options"] = options | {"include_usage": True}
        return cls(sent, wants_usage=bool(options.get("include_usage")))


def options_of(body: Json) -> Json:
    """What a request says of how it is to be answered, for the record: of tools their names."""
    found: Json = {}
    left_out = []
    for name, value in body.items():
        if name in _NO_OPTIONS or value is None:
            continue
        kept = _names_of(value) if name in ("tools", "functions") else value
        if len(dumps(kept)) > MAX_OPTION_BYTES:
            left_out.append(name)
        else:
            found[name] = kept
    return found | ({LEFT_OUT: left_out} if left_out else {})


def _names_of(tools: Any) -> Any:
    if not isinstance(tools, list):
        return tools
    return [_name_of(tool) for tool in tools]


def _name_of(tool: Any) -> Any:
    """The name of a function or a custom tool, or the kind of any other."""
    if not isinstance(tool, dict):
        return tool
    inside = tool.get(str(tool.get("type")))
    named = inside if isinstance(inside, dict) else tool
    return named.get("name") or tool.get("type")
