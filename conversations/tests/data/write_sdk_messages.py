"""Writes sdk_messages.json: messages as langchain-core and litellm dump them.

Run it where both are installed, which need other packages than requirements.txt pins:

    python -m venv /tmp/sdks && /tmp/sdks/bin/pip install langchain-core litellm
    /tmp/sdks/bin/python conversations/tests/data/write_sdk_messages.py
"""

import json
from importlib.metadata import version
from pathlib import Path

from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
)
from litellm.types.utils import (
    ChatCompletionMessageToolCall,
    Choices,
    Function,
    Message,
    ModelResponse,
    Usage,
)

FILE = Path(__file__).with_name("sdk_messages.json")

ANSWER = AIMessage(
    content=[
        {"type": "thinking", "thinking": "I look it up.", "signature": "c2ln"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
    ],
    tool_calls=[{"name": "weather", "args": {"city": "Rome"}, "id": "toolu_1"}],
    usage_metadata={
        "input_tokens": 50,
        "output_tokens": 30,
        "total_tokens": 80,
        "input_token_details": {"cache_read": 20, "cache_creation": 10},
        "output_token_details": {"reasoning": 12},
    },
    response_metadata={
        "model_name": "claude-sonnet-4-5",
        "model_provider": "anthropic",
        "stop_reason": "tool_use",
    },
    id="lc_run--0198c0de-0000-7000-8000-000000000001-0",
)
INVALID = AIMessage(
    content="",
    invalid_tool_calls=[{"name": "f", "args": "{", "id": "c", "error": "not JSON"}],
    additional_kwargs={"reasoning_content": "Hm.", "refusal": None},
    response_metadata={
        "token_usage": {
            "prompt_tokens": 7,
            "completion_tokens": 5,
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
        "model_name": "deepseek-reasoner",
        "finish_reason": "stop",
    },
)
CHUNK = AIMessageChunk(
    content="",
    tool_call_chunks=[{"name": "f", "args": '{"a": 1}', "id": "call_1", "index": 0}],
)
LANGCHAIN = {
    "human": HumanMessage("Weather in Rome?", name="ann"),
    "human with an image": HumanMessage(
        [
            "Look:",
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
        ]
    ),
    "system": SystemMessage("Be brief.", id="0198c0de-0000-7000-8000-000000000002"),
    "ai": ANSWER,
    "ai with reasoning alone": INVALID,
    "ai chunk": CHUNK,
    "tool": ToolMessage("24 °C", tool_call_id="toolu_1", artifact={"raw": [24]}),
    "tool with an error": ToolMessage(
        [{"type": "text", "text": "No such city."}], tool_call_id="toolu_1", status="error"
    ),
    "function": FunctionMessage("24 °C", name="weather"),
}

SPOKEN = Message(
    content="It is 24 °C.",
    reasoning_content="I read the tool's result.",
    thinking_blocks=[{"type": "thinking", "thinking": "I read it.", "signature": "c2ln"}],
    provider_specific_fields={"citations": None},
)
CALLING = Message(
    content=None,
    tool_calls=[
        ChatCompletionMessageToolCall(
            id="call_1", type="function", function=Function(name="f", arguments='{"a": 1}')
        )
    ],
)
COMPLETION = ModelResponse(
    id="chatcmpl-1",
    created=1_790_000_000,
    model="claude-sonnet-4-5",
    choices=[Choices(finish_reason="stop", message=SPOKEN)],
    usage=Usage(
        prompt_tokens=50,
        completion_tokens=30,
        total_tokens=80,
        reasoning_tokens=12,
        cache_read_input_tokens=20,
        cache_creation_input_tokens=10,
        cost=0.00125,
    ),
)

DUMPS = {
    f"langchain-core {version('langchain-core')}": {
        **{name: message.model_dump() for name, message in LANGCHAIN.items()},
        "message_to_dict": message_to_dict(ANSWER),
        "dumpd": dumpd(ANSWER),
        "dumpd of a tool message": dumpd(LANGCHAIN["tool"]),
    },
    f"litellm {version('litellm')}": {
        "message": SPOKEN.model_dump(),
        "message with a call": CALLING.model_dump(),
        "completion": COMPLETION.model_dump(),
    },
}

if __name__ == "__main__":
    text = json.dumps(DUMPS, ensure_ascii=False, indent=1, sort_keys=True)
    FILE.write_text(text + "\n")
