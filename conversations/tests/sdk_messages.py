"""Messages built from the SDKs' own types, by what they are: each as the dict that one would send.

The SDKs are imported where they are used: an import of one takes a second or more.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

# What write_sdk_messages.py wrote: their packages cannot be installed beside ours.
DUMPED = Path(__file__).parent / "data" / "sdk_messages.json"


def openai_chat():
    from openai.types.chat import (
        ChatCompletion,
        ChatCompletionAssistantMessageParam,
        ChatCompletionFunctionMessageParam,
        ChatCompletionMessage,
        ChatCompletionToolMessageParam,
        ChatCompletionUserMessageParam,
    )

    def answer(**said):
        return ChatCompletionMessage.model_validate({"role": "assistant", "content": None} | said)

    calling = answer(tool_calls=[FUNCTION_CALL, CUSTOM_CALL])
    cited = answer(content="It is 24 °C.", annotations=[CITATION])
    legacy = {"name": "weather", "arguments": "{}"}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-5",
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": cited.model_dump(),
                "logprobs": {"content": [LOGPROB], "refusal": None},
            }
        ],
        "usage": {
            "prompt_tokens": 50,
            "completion_tokens": 30,
            "total_tokens": 80,
            "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 12},
        },
    }
    whole = ChatCompletion.model_validate(completion)
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    result = {"role": "tool", "tool_call_id": "call_1"}
    return {
        "answer": answer(content="Hello").model_dump(),
        "answer without nulls": answer(content="Hello").to_dict(),
        "calls": calling.model_dump(),
        "citation": cited.model_dump(),
        "refusal": answer(refusal="I cannot.").model_dump(),
        "audio": answer(audio=AUDIO).model_dump(),
        "function_call": answer(function_call=legacy).model_dump(),
        "completion": whole.model_dump(),
        "completion with calls": ChatCompletion.model_validate(
            completion | {"choices": [{**completion["choices"][0], "message": calling}]}
        ).to_dict(),
        "user": dict(ChatCompletionUserMessageParam(role="user", content=parts, name="ann")),
        "tool": dict(ChatCompletionToolMessageParam(**result, content="24 °C")),
        "tool with parts": dict(ChatCompletionToolMessageParam(**result, content=parts[:1])),
        "function": dict(
            ChatCompletionFunctionMessageParam(role="function", name="weather", content="24 °C")
        ),
        "assistant with a refusal part": dict(
            ChatCompletionAssistantMessageParam(
                role="assistant", content=[{"type": "refusal", "refusal": "No."}]
            )
        ),
    }


def openai_responses():
    from openai.types.responses import Response, ResponseOutputItem
    from pydantic import TypeAdapter

    of = TypeAdapter(ResponseOutputItem)
    items = {item["type"]: of.validate_python(item) for item in ITEMS}
    response = Response.model_validate(
        {
            "id": "resp_1",
            "object": "response",
            "created_at": 1_790_000_000.5,
            "status": "completed",
            "model": "gpt-5",
            "output": list(items.values()),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "metadata": {"trace": "t"},
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "temperature": 1.0,
            "top_p": 1.0,
            "usage": {
                "input_tokens": 50,
                "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 10},
                "output_tokens": 30,
                "output_tokens_details": {"reasoning_tokens": 12},
                "total_tokens": 80,
            },
        }
    )
    cut = response.model_copy(
        update={"status": "incomplete", "metadata": None, "output": [items["message"]]}
    )
    return {
        **{f"item {kind}": item.model_dump() for kind, item in items.items()},
        **{f"item {kind} without nulls": item.to_dict() for kind, item in items.items()},
        "easy message": {"role": "user", "content": "Hello", "type": "message"},
        "developer": {"role": "developer", "content": "Be brief."},
        "input": {
            "role": "user",
            "type": "message",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {
                    "type": "input_image",
                    "detail": "auto",
                    "image_url": "data:image/png;base64,aGk=",
                },
                {"type": "input_file", "file_id": "file-1", "filename": "a.pdf"},
            ],
        },
        "result": {"type": "function_call_output", "call_id": "call_1", "output": "24 °C"},
        "result with parts": {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "24 °C"}],
        },
        "custom result": {"type": "custom_tool_call_output", "call_id": "call_2", "output": "7"},
        "response": response.model_dump(),
        "response without nulls": response.to_dict(),
        "response that was cut": cut.model_dump(),
    }


def anthropic():
    from anthropic.types import Message
    from anthropic.types.user_message_param import UserMessageParam

    message = Message.model_validate(
        {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [
                {"type": "thinking", "thinking": "I look it up.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "eHg="},
                {"type": "text", "text": "I look.", "citations": None},
                {
                    "type": "server_tool_use",
                    "id": "srvtoolu_1",
                    "name": "web_search",
                    "input": {"query": "Rome"},
                },
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
            ],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 20,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 10,
                "output_tokens": 30,
                "output_tokens_details": {"thinking_tokens": 12},
                "service_tier": "standard",
            },
        }
    )
    image = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    document = {"type": "text", "media_type": "text/plain", "data": "The price list."}
    told = [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "24 °C"}, {"type": "image", "source": image}],
        },
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "none", "is_error": True},
        {"type": "document", "source": document, "title": "Prices"},
        {"type": "text", "text": "And now?"},
    ]
    return {
        "message": message.model_dump(),
        "message without nulls": message.to_dict(),
        "user": dict(UserMessageParam(role="user", content=told)),
    }


def openai_agents():
    from agents import Agent, ItemHelpers
    from agents.items import (
        MessageOutputItem,
        ReasoningItem,
        ToolCallItem,
        ToolCallOutputItem,
    )
    from openai.types.responses import (
        ResponseFunctionToolCall,
        ResponseOutputMessage,
        ResponseReasoningItem,
    )

    agent = Agent(name="Guide")
    by_type = {item["type"]: item for item in ITEMS}
    call = ResponseFunctionToolCall.model_validate(by_type["function_call"])
    said = ResponseOutputMessage.model_validate(by_type["message"])
    thought = ResponseReasoningItem.model_validate(by_type["reasoning"])
    result = ItemHelpers.tool_call_output_item(call, "24 °C")
    run = {
        "reasoning": ReasoningItem(agent, thought),
        "call": ToolCallItem(agent, call),
        "result": ToolCallOutputItem(agent, result, output="24 °C"),
        "answer": MessageOutputItem(agent, said),
    }
    asked = ItemHelpers.input_to_new_input_list("Weather in Rome?")
    return {
        "input": dict(asked[0]),
        **{name: dict(item.to_input_item()) for name, item in run.items()},
    }


@cache
def dumped():
    """By SDK: what write_sdk_messages.py wrote."""
    texts = json.loads(DUMPED.read_text())
    return {name.split()[0]: messages for name, messages in texts.items()}


def langchain():
    return dumped()["langchain-core"]


def litellm():
    return dumped()["litellm"]


SDKS = [openai_chat, openai_responses, anthropic, openai_agents, langchain, litellm]

FUNCTION_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}
CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "calc", "input": "3 + 4"}}
IMAGE = "data:image/png;base64,aGk="
PLACE = {"url": "https://example.org", "title": "Rome", "start_index": 0, "end_index": 5}
CITATION = {
    "type": "url_citation",
    "url_citation": {
        "url": "https://example.org",
        "title": "Rome",
        "start_index": 0,
        "end_index": 5,
    },
}
LOGPROB = {"token": "It", "logprob": -0.25, "bytes": [73, 116], "top_logprobs": []}
AUDIO = {"id": "audio_1", "data": "aGk=", "expires_at": 1_790_000_000, "transcript": "Hello"}
ITEMS: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "I look it up."}],
        "encrypted_content": "eHg=",
        "status": "completed",
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city": "Rome"}',
        "status": "completed",
    },
    {
        "type": "custom_tool_call",
        "id": "ctc_1",
        "call_id": "call_2",
        "name": "calc",
        "input": "3 + 4",
    },
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "Rome", "queries": ["Rome"]},
    },
    {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "trains",
        "name": "timetable",
        "arguments": "{}",
        "output": "At noon.",
        "error": None,
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "content": [
            {
                "type": "output_text",
                "text": "It is 24 °C.",
                "annotations": [{"type": "url_citation", **PLACE}],
                "logprobs": [LOGPROB],
            },
            {"type": "refusal", "refusal": "More I cannot say."},
        ],
    },
]
