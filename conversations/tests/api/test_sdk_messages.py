"""What SDKs hand out goes in with one request each, and nothing of it is lost."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from conversations.formats import reasoning_of
from conversations.formats.message_reader import OWN_FIELDS
from conversations.formats.sdk_keys import ITEM_TYPES, KNOWN_KEYS
from conversations.models import Message
from conversations.tests import sdk_messages
from conversations.tests.factories import make_conversation
from conversations.tests.generated_messages import (
    ANY_OBJECT,
    BY_ROLE,
    BY_TYPE,
    CALL_ITEMS,
    RESULTS,
    WHOLE,
    WRAPPED,
)
from conversations.tests.rebuilt import rebuilt
from conversations.tests.sdk_messages import CUSTOM_CALL, FUNCTION_CALL, SDKS

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(alice):
    return f"/api/conversations/{make_conversation(alice).pk}/messages"


@pytest.fixture
def send(api, url):
    def send(message):
        answer = api.post(url, message)
        assert answer.status_code == 201, answer.content
        return answer.json()

    return send


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.__name__)
def test_each_comes_back_equal_field_by_field(api, url, send, sdk):
    messages = sdk()
    for name, message in messages.items():
        stored = send(message)
        assert rebuilt(stored, message) == message, name
        assert api.get(f"{url}/{stored['id']}").json() == stored, name


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.__name__)
def test_many_at_once_are_read_like_one(api, url, sdk):
    messages = list(sdk().values())
    answer = api.post(url, {"messages": messages})
    assert answer.status_code == 201, answer.content
    for stored, message in zip(answer.json()["messages"], messages, strict=True):
        assert rebuilt(stored, message) == message
    again = {"messages": [own_form(stored) for stored in answer.json()["messages"]]}
    copies = api.post(url, again).json()["messages"]
    assert list(map(own_form, copies)) == again["messages"]


def own_form(stored):
    """What a client that copies conversations sends on."""
    place = ("id", "conversation_id", "sequence", "branch", "parent_id", "siblings")
    later = ("rating", "rating_comment", "emptied_at", "created_at", "updated_at")
    return {name: value for name, value in stored.items() if name not in (*place, *later)}


USAGE = {
    "prompt_tokens": 50,
    "completion_tokens": 30,
    "cached_tokens": 20,
    "reasoning_tokens": 12,
}
CALLED = {"tool_calls": [FUNCTION_CALL]}
OF_CLAUDE = USAGE | {"model": "claude-sonnet-4-5", "role": "assistant", "status": "complete"}
CALLED_BY_CLAUDE = {
    "content": "I look.",
    "finish_reason": "tool_use",
    "tool_calls": [{**FUNCTION_CALL, "id": "toolu_1"}],
}
COLUMNS = [
    ("openai_chat", "calls", {"content": "", "tool_calls": [FUNCTION_CALL, CUSTOM_CALL]}),
    ("openai_chat", "completion", USAGE | {"model": "gpt-5", "finish_reason": "stop"}),
    ("openai_chat", "completion", {"content": "It is 24 °C.", "role": "assistant"}),
    ("openai_chat", "refusal", {"content": "I cannot."}),
    ("openai_chat", "audio", {"content": "Hello"}),
    ("openai_chat", "user", {"content": "What is this?", "name": "ann"}),
    ("openai_chat", "tool with parts", {"content": "What is this?", "tool_call_id": "call_1"}),
    ("openai_chat", "function", {"role": "tool", "tool_call_id": "call_weather"}),
    ("openai_responses", "response", USAGE | {"model": "gpt-5", "status": "complete"}),
    ("openai_responses", "response", {"content": "At noon.\nIt is 24 °C.\nMore I cannot say."}),
    ("openai_responses", "response", {"tool_calls": [FUNCTION_CALL, CUSTOM_CALL]}),
    ("openai_responses", "response", {"role": "assistant", "metadata": {"trace": "t"}}),
    ("openai_responses", "response that was cut", {"status": "stopped", "metadata": {}}),
    ("openai_responses", "item function_call", CALLED | {"role": "assistant", "content": ""}),
    ("openai_responses", "item custom_tool_call", {"tool_calls": [CUSTOM_CALL]}),
    ("openai_responses", "item reasoning", {"role": "assistant", "content": ""}),
    ("openai_responses", "item mcp_call", {"role": "assistant", "content": "At noon."}),
    ("openai_responses", "item message", {"content": "It is 24 °C.\nMore I cannot say."}),
    ("openai_responses", "result", {"role": "tool", "tool_call_id": "call_1", "content": "24 °C"}),
    ("openai_responses", "result with parts", {"content": "24 °C"}),
    ("anthropic", "message", OF_CLAUDE | CALLED_BY_CLAUDE),
    ("anthropic", "user", {"role": "user", "content": "24 °C\nnone\nAnd now?"}),
    ("openai_agents", "result", {"role": "tool", "tool_call_id": "call_1", "content": "24 °C"}),
    ("langchain", "ai", OF_CLAUDE | CALLED_BY_CLAUDE | {"provider": "anthropic"}),
    ("langchain", "message_to_dict", OF_CLAUDE | CALLED_BY_CLAUDE),
    ("langchain", "dumpd", OF_CLAUDE | CALLED_BY_CLAUDE),
    ("langchain", "human with an image", {"role": "user", "content": "Look:"}),
    ("langchain", "tool with an error", {"role": "tool", "status": "failed"}),
    ("langchain", "function", {"role": "tool", "tool_call_id": "call_weather"}),
    ("langchain", "system", {"id": "0198c0de-0000-7000-8000-000000000002", "role": "system"}),
    ("litellm", "completion", OF_CLAUDE | {"cost": "0.00125", "finish_reason": "stop"}),
    ("litellm", "message with a call", {"content": ""}),
]


@pytest.mark.parametrize(("sdk", "name", "columns"), COLUMNS, ids=lambda value: str(value)[:30])
def test_the_columns_hold_what_they_are_for(send, sdk, name, columns):
    stored = send(getattr(sdk_messages, sdk)()[name])
    assert {column: stored[column] for column in columns} == columns


@pytest.mark.parametrize(
    ("sdk", "name", "reasoning"),
    [
        ("openai_responses", "item reasoning", "I look it up."),
        ("openai_responses", "response", "I look it up."),
        ("openai_responses", "easy message", ""),
        ("anthropic", "message", "I look it up."),
        ("langchain", "ai", "I look it up."),
        ("langchain", "dumpd", "I look it up."),
        ("langchain", "ai with reasoning alone", "Hm."),
        ("litellm", "message", "I read the tool's result."),
        ("litellm", "completion", "I read the tool's result."),
    ],
)
def test_the_reasoning_of_a_stored_message_is_found(send, sdk, name, reasoning):
    stored = send(getattr(sdk_messages, sdk)()[name])
    assert reasoning_of(stored["parts"], stored["extra"]) == reasoning
    assert not reasoning or reasoning not in stored["content"]


def error_of(answer):
    assert answer.status_code in (400, 422), answer.content
    body = answer.json()
    (problem,) = body.get("detail") or body["errors"]
    return problem


def test_the_part_at_fault_is_named(api, url):
    bad = {"role": "user", "content": [{"text": "x"}]}
    assert error_of(api.post(url, bad))["attr"] == "content.0.type"
    many = {"messages": [{"role": "user", "content": "x"}] * 3 + [bad]}
    problem = error_of(api.post(url, many))
    assert (problem["attr"], problem["code"]) == ("messages.3.content.0.type", "required")
    sessions = url.replace("conversations", "chat-history/sessions")
    problem = error_of(api.post(sessions, many))
    assert problem["loc"] == ["body", "messages", 3, "content", 0, "type"]
    assert Message.objects.count() == 0


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("usge", "usage"), ("contnet", "content"), ("stop_reson", "stop_reason"), ("rol", "role")],
)
def test_an_unknown_key_beside_an_sdks_is_refused_with_the_nearest_one(api, url, key, nearest):
    message = {"role": "assistant", "content": "x", "refusal": None, key: "x"}
    problem = error_of(api.post(url, message))
    assert (problem["attr"], problem["code"]) == (key, "unknown_field")
    assert f"`{nearest}`" in problem["detail"]


@pytest.mark.parametrize(
    ("message", "attr"),
    [
        ({"role": "assistant", "content": None}, "content"),
        ({"role": "assistant", "content": None, "refusal": None, "tool_calls": None}, "content"),
        ({"role": "assistant", "content": ""} | {"usage": {}}, "content"),
        ({"role": "user", "content": [{"type": "text", "text": " "}], "parts": []}, "content"),
        ({"type": "ai", "role": "robot", "content": "x"}, "role"),
        ({"role": "user", "content": "x", "usage": {"a": "\x00"}}, "extra.usage.a"),
        ({"role": "user", "content": [{"type": "text", "text": "\x00"}]}, "content"),
        ({"role": "user", "content": "x", "refusal": {"a": 2**64}}, "extra.refusal.a"),
        ({"role": "tool", "content": {"a": "\ud800"}}, "content"),
        ({"choices": [{"message": {"role": "assistant", "content": "x", "name": 5}}]}, "name"),
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused_by_name(api, url, message, attr):
    answer = api.generic("POST", url, json.dumps(message), content_type="application/json")
    assert error_of(answer)["attr"] == attr
    assert Message.objects.count() == 0


def nested(levels):
    return '{"type": "tool_result", "content": [' * levels + "]}" * levels


@pytest.mark.parametrize("levels", [20, 200, 400])
@pytest.mark.parametrize(
    "place",
    [
        '"role": "assistant", "content": [DEEP]',
        '"role": "assistant", "content": "x", "usage": DEEP',
        '"role": "assistant", "content": "x", "refusal": DEEP, "extra": {"refusal": DEEP}',
        '"role": "assistant", "tool_calls": [{"name": "f", "args": DEEP}]',
        '"role": "tool", "content": {"a": DEEP}',
        '"type": "function_call_output", "output": {"a": DEEP}',
        '"type": "reasoning", "summary": DEEP',
        '"choices": [{"message": {"role": "assistant", "content": "x", "audio": DEEP}}]',
    ],
)
def test_deep_json_in_any_place_is_refused(api, url, place, levels):
    text = "{" + place.replace("DEEP", nested(levels)) + "}"
    answer = api.generic("POST", url, text, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert Message.objects.count() == 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(message=BY_ROLE | BY_TYPE | WHOLE | WRAPPED | CALL_ITEMS | RESULTS | ANY_OBJECT)
def test_any_message_is_stored_as_it_is_or_refused_by_name(api, url, message):
    answer = api.post(url, message)
    if answer.status_code == 201:
        assert rebuilt(answer.json(), message) == json.loads(json.dumps(message))
    else:
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["attr"]


def test_a_repeated_request_of_an_sdks_message_is_recognised(api, url):
    message = sdk_messages.langchain()["ai"]
    sent = [api.post(url, message, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [201, 200]
    other = {**message, "usage_metadata": None}
    assert api.post(url, other, headers={"Idempotency-Key": "k"}).status_code == 409


def test_every_key_of_the_sdks_messages_is_known():
    from anthropic.types import Message
    from openai.types.chat import ChatCompletion, ChatCompletionMessage
    from openai.types.responses import ResponseInputItemParam, ResponseOutputMessage

    known = OWN_FIELDS | KNOWN_KEYS
    for shape in (Message, ChatCompletion, ChatCompletionMessage, ResponseOutputMessage):
        assert shape.model_fields.keys() <= known, shape
    for sdk in (sdk_messages.langchain, sdk_messages.litellm):
        for message in sdk().values():
            assert message.keys() <= known
    assert types_of(ResponseInputItemParam) - {"message"} <= ITEM_TYPES


def types_of(union):
    from typing import get_args, get_type_hints

    hints = [get_type_hints(shape)["type"] for shape in get_args(union)]
    return {name for hint in hints for name in flattened(hint)} - {type(None)}


def flattened(hint):
    from typing import get_args

    inner = get_args(hint)
    return [name for value in inner for name in flattened(value)] if inner else [hint]
