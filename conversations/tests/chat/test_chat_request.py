"""Requests of the Responses API as chat completions, without a server."""

import pytest

from conversations.chat.llm.providers import Provider
from conversations.chat.responses.chat_request import as_chat_request, check_chat_request
from conversations.chat.responses.history import answered, for_responses, with_unique_calls
from conversations.services import InvalidValue

PROVIDER = Provider(name="p", base_url="http://127.0.0.1/v1", model="m")


def call(call_id, **more):
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"} | more


def output(call_id, text="done"):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def said(role, text):
    return {"type": "message", "role": role, "content": text}


def messages_of(*items, **asked):
    return as_chat_request(asked, items, PROVIDER, "m")["messages"]


def test_calls_belong_to_what_was_said_before_them():
    sent = messages_of(said("user", "Hi"), said("assistant", "Wait"), call("1"), output("1"))
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert (sent[1]["content"], sent[1]["tool_calls"][0]["id"]) == ("Wait", "1")


def test_what_another_provider_ran_is_not_shown():
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
    assert len(messages_of(said("user", "Hi"), search, said("assistant", "Yo"))) == 2


def test_a_part_that_chat_completions_have_not_is_refused():
    image = {"type": "input_image", "file_id": "file_1", "detail": "auto"}
    with pytest.raises(InvalidValue) as caught:
        messages_of({"role": "user", "content": [image]})
    assert caught.value.field == "input"


def test_unknown_fields_are_passed_on_and_the_state_is_not():
    asked = {"top_k": 3, "conversation": "conv_1", "store": True, "metadata": {}, "seed": None}
    sent = as_chat_request(asked, [], PROVIDER, "m")
    assert sent == {"top_k": 3, "model": "m", "messages": [], "stream": True}


def test_allowed_tools_are_those_that_are_sent():
    tools = [{"type": "function", "name": name, "parameters": {}} for name in ("a", "b")]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"name": "b"}]}
    sent = as_chat_request({"tools": tools, "tool_choice": choice}, [], PROVIDER, "m")
    assert sent["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["b"]


@pytest.mark.parametrize("field", ["prompt", "moderation", "context_management"])
def test_what_would_not_be_in_force_is_refused(field):
    with pytest.raises(InvalidValue) as caught:
        check_chat_request({field: {"id": "x"}})
    assert caught.value.field == field


def test_calls_without_results_and_results_without_calls_are_left_out():
    items = [call("1"), call("2"), output("2"), output("3"), said("user", "Hi")]
    assert answered(items) == [call("2"), output("2"), said("user", "Hi")]


def test_repeated_ids_of_calls_are_told_apart():
    items = [call("0"), output("0"), call("0"), output("0")]
    assert [item["call_id"] for item in with_unique_calls(items)] == ["0", "0", "0-2", "0-2"]


def test_reasoning_is_sent_back_where_its_provider_can_read_it():
    unread = {"type": "reasoning", "id": "rs_1", "summary": []}
    read = unread | {"encrypted_content": "x", "provider_id": "rs_theirs"}
    assert for_responses([unread, read]) == [unread | {"id": "rs_theirs", "encrypted_content": "x"}]
