"""ShareGPT, as LLaMA-Factory and Axolotl read it for training: one array of conversations.

    [{"id": …, "conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}, …]}]

Tool calls are turns of `function_call`, each a JSON object of `name` and `arguments`; results are
`observation`. Nothing else has a place in it: times, models, ratings and parts without text are not
written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from conversations.formats.chat import RecordedChat
from conversations.formats.message import RecordedMessage
from conversations.formats.writers.json_values import as_json

_SENDERS = {
    "user": "human",
    "assistant": "gpt",
    "system": "system",
    "developer": "system",
    "tool": "observation",
}


def write_sharegpt(chat: RecordedChat) -> Iterator[str]:
    """One element of the array. A branch other than the first has the id `ID?branch=NUMBER`."""
    branch = chat.branch.number if chat.branch else 0
    yield f'{{"id": {as_json(f"{chat.id}?branch={branch}" if branch else chat.id)}, '
    yield '"conversations": ['
    separator = ""
    for message in chat.messages:
        for sender, value in _turns(message):
            yield separator + as_json({"from": sender, "value": value})
            separator = ", "
    yield "]}"


def _turns(message: RecordedMessage) -> Iterator[tuple[str, str]]:
    if message.content or not message.tool_calls:
        yield _SENDERS[message.role], message.content
    for call in message.tool_calls or ():
        yield "function_call", json.dumps(_called(call), ensure_ascii=False)


def _called(call: Any) -> Any:
    """The name and the arguments of a call in the form of OpenAI's; any other as it is."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        parsed = arguments
    return {"name": function.get("name"), "arguments": parsed}
