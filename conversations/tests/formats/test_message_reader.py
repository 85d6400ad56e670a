"""Messages of any SDK by our fields: what is refused, what wins, and that nothing is lost."""

import json
from dataclasses import asdict

import pytest
from hypothesis import example, given, settings

from conversations.formats import Malformed, MessageDraft, as_own_fields
from conversations.formats.message_reader import KEPT_TWICE, NOT_ONE_CHOICE
from conversations.formats.reasoning import reasoning_of, reasoning_part
from conversations.formats.sdk_keys import STATUSES
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

ASSISTANT = {"role": "assistant"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def stored_of(message):
    """What a database would hold of the message, without the services' checks."""
    draft = MessageDraft(**as_own_fields(message))
    return json.loads(json.dumps(asdict(draft), default=str))


def refusal_of(message):
    with pytest.raises(Malformed) as caught:
        as_own_fields(message)
    return caught.value.field, caught.value.detail


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "tool_calls": [CALL], "content": ""},
        {"role": "assistant", "tool_calls": [{"id": "c"}, {}, "x"]},
        {"role": "user", "content": "x", "parts": [{"type": "text", "text": "x"}], "extra": None},
        {"role": "robot", "id": "nope", "status": [], "tool_calls": {}, "metadata": None},
        {},
    ],
    ids=str,
)
def test_what_is_in_our_form_is_not_touched(message):
    assert as_own_fields(message) is message


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({**ASSISTANT, "content": 5}, "content"),
        ({**ASSISTANT, "content": {"type": "text", "text": "x"}}, "content"),
        ({**ASSISTANT, "content": [1]}, "content.0"),
        ({**ASSISTANT, "content": ["x", {}]}, "content.1.type"),
        ({**ASSISTANT, "content": [{"type": 1}]}, "content.0.type"),
        ({**ASSISTANT, "content": [{"type": "text"}]}, "content.0.text"),
        ({**ASSISTANT, "content": [{"type": "output_text", "text": None}]}, "content.0.text"),
        ({**ASSISTANT, "content": ["x"], "parts": []}, "content"),
        ({**ASSISTANT, "function_call": {"arguments": "{}"}}, "function_call.name"),
        ({"type": "nonsense", "content": "x"}, "type"),
        ({"type": ["ai"], "content": "x"}, "type"),
        ({"type": "ai", "data": "x"}, "data"),
        ({"type": "ai", "data": {"type": "ai", "content": 5}}, "data.content"),
        ({"lc": 1, "type": "constructor", "id": ["a", "Tool"], "kwargs": {}}, "type"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "name"),
        ({"type": "function_call_output", "call_id": 5, "output": "x"}, "call_id"),
        ({"type": "function_call_output", "output": "x", "content": "y"}, "output"),
        ({"type": "reasoning", "summary": [], "parts": []}, "type"),
        ({"object": "chat.completion.chunk"}, "object"),
        ({"object": "chat.completion", "choices": {}}, "choices"),
        ({"object": "chat.completion", "choices": ["x"]}, "choices.0"),
        ({"choices": [{"index": 0}]}, "choices.0.message"),
        (
            {"choices": [{"message": {**ASSISTANT, "content": [{}]}}]},
            "choices.0.message.content.0.type",
        ),
        ({"object": "response"}, "output"),
        ({"object": "response", "output": ["x", {}]}, "output.1.type"),
        ({"object": "response", "output": [{"type": "function_call"}]}, None),
    ],
    ids=str,
)
def test_what_is_malformed_is_named_by_its_path(message, field):
    if field is None:
        assert as_own_fields(message)["role"] == "assistant"
    else:
        assert refusal_of(message)[0] == field


def test_only_one_choice_is_a_message():
    choices = [{"message": {**ASSISTANT, "content": text}} for text in "ab"]
    assert refusal_of({"choices": choices}) == ("choices", NOT_ONE_CHOICE)


def test_a_key_that_nobody_knows_stays_for_the_caller_to_refuse():
    assert as_own_fields({**ASSISTANT, "content": None, "contnet": 1})["contnet"] == 1
    inside = {"choices": [{"message": {**ASSISTANT, "content": "x", "of_a_proxy": 1}}], "more": 2}
    assert as_own_fields(inside)["extra"] == {
        "more": 2,
        "choices": [{"message": {"of_a_proxy": 1}}],
    }


def test_our_own_fields_win_over_an_sdks():
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 3}
    said = {"prompt_tokens": 7, "cost": None, "finish_reason": "stop", "model": "mine"}
    more = {"model_name": "theirs", "finish_reason": "length", "model_provider": "openai"}
    message = {**ASSISTANT, "content": "x", "usage": usage, "response_metadata": more, **said}
    fields = as_own_fields(message)
    assert {name: fields[name] for name in said} == said
    assert (fields["completion_tokens"], fields["provider"]) == (2, "openai")
    assert fields["extra"] == {"usage": usage, "response_metadata": more}


def test_the_clients_own_extra_is_kept_beside_what_is_put_there():
    message = {**ASSISTANT, "content": None, "refusal": "No.", "extra": {"mine": 1}}
    assert as_own_fields(message)["extra"] == {"mine": 1, "refusal": "No.", "content": None}
    same = {**message, "extra": {"refusal": "No."}}
    assert as_own_fields(same)["extra"] == {"refusal": "No.", "content": None}
    other = {**message, "extra": {"refusal": "Yes."}}
    assert refusal_of(other) == ("extra.refusal", KEPT_TWICE)
    assert as_own_fields({**message, "extra": [1]})["extra"] == [1]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"name": "f", "args": {"a": 1}, "id": "c", "type": "tool_call"}, CALL),
        ({"name": "f", "args": '{"a": 1}', "id": "c"}, CALL),
        ({"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}, CALL),
        ({"name": "f", "args": {"a": 1}, "id": None}, CALL | {"id": "call_f"}),
    ],
)
def test_calls_of_others_have_our_shape_and_the_senders_is_kept(call, expected):
    fields = as_own_fields({**ASSISTANT, "tool_calls": [call]})
    assert fields["tool_calls"] == [expected]
    assert fields["extra"] == {"tool_calls": [call]}


@pytest.mark.parametrize("output", [{"a": [1, None]}, [1, 2], [{"a": 1}], 7, True, []])
def test_the_output_of_a_tool_may_be_any_json(output):
    as_text = json.dumps(output)
    message = {"role": "tool", "tool_call_id": "c", "content": output}
    fields = as_own_fields(message)
    assert (fields["content"], fields["extra"]) == (as_text, {"content": output})
    item = {"type": "function_call_output", "call_id": "c", "output": output}
    assert as_own_fields(item)["content"] == as_text
    assert as_own_fields(item)["extra"] == item


@pytest.mark.parametrize("id_", ["chatcmpl-1", "msg_1", "run-1", "rs_1", "fc_1", "lc_run--1"])
def test_the_id_of_an_sdk_is_not_ours(id_):
    fields = as_own_fields({**ASSISTANT, "content": "x", "id": id_})
    assert fields == {**ASSISTANT, "content": "x", "extra": {"id": id_}}


def test_any_id_is_an_sdks_beside_its_keys_and_a_uuid_is_ours():
    for id_ in ("anything", None):
        assert as_own_fields({**ASSISTANT, "content": "x", "usage": None, "id": id_})["extra"] == {
            "usage": None,
            "id": id_,
        }
    ours = {**ASSISTANT, "content": "x", "id": "0198c0de-0000-7000-8000-000000000002"}
    assert as_own_fields(ours | {"usage": None})["id"] == ours["id"]
    assert as_own_fields({**ASSISTANT, "content": "x", "id": "nope"})["id"] == "nope"


@pytest.mark.parametrize(("theirs", "status"), STATUSES.items())
def test_a_state_of_others_has_our_name_and_theirs_is_kept(theirs, status):
    fields = as_own_fields({**ASSISTANT, "content": "x", "status": theirs})
    assert (fields["status"], fields["extra"]) == (status, {"status": theirs})
    item = {"type": "web_search_call", "id": "ws_1", "status": theirs}
    assert as_own_fields(item)["status"] == status


def test_a_failed_response_says_why():
    error = {"code": "server_error", "message": "It broke."}
    fields = as_own_fields(
        {"object": "response", "output": [], "status": "failed", "error": error, "model": "m"}
    )
    assert (fields["status"], fields["error"]) == ("failed", "It broke.")
    assert fields["extra"] == {"object": "response", "error": error}


@pytest.mark.parametrize(
    ("usage", "columns"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}, (5, 3, None, None)),
        ({"input_tokens": 5, "output_tokens": 3}, (5, 3, None, None)),
        (
            {
                "input_tokens": 5,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": None,
                "output_tokens": 3,
            },
            (25, 3, 20, None),
        ),
        (
            {
                "prompt_tokens": 35,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 10,
                "completion_tokens": 3,
            },
            (35, 3, 20, None),
        ),
        ({"prompt_tokens": "5", "completion_tokens": -1}, (None, None, None, None)),
        ({"prompt_tokens": True, "completion_tokens": 2**31}, (None, None, None, None)),
        ({"input_tokens_details": [], "output_tokens_details": None}, (None, None, None, None)),
        ("nonsense", (None, None, None, None)),
    ],
)
def test_usage_is_counted_as_each_spells_it(usage, columns):
    fields = as_own_fields({**ASSISTANT, "content": "x", "usage": usage})
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
    assert tuple(fields.get(name) for name in names) == columns
    assert fields["extra"] == {"usage": usage}


@pytest.mark.parametrize(
    ("parts", "extra", "reasoning"),
    [
        (None, None, ""),
        ([], {}, ""),
        ([reasoning_part("Hm.")], None, "Hm."),
        (
            [{"type": "thinking", "thinking": "a"}, {"type": "thinking", "thinking": "b"}],
            None,
            "a\n\nb",
        ),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}], {}, "s"),
        ([{"type": "reasoning", "reasoning": "l"}], {"reasoning": "x"}, "l"),
        (["x", 5, {"type": "reasoning", "content": 5}, {"type": []}], {"reasoning": "r"}, "r"),
        (None, {"reasoning": {"effort": "low"}}, ""),
        (None, {"thinking_blocks": [{"type": "thinking", "thinking": "t"}]}, "t"),
        (None, {"choices": [{"message": {"reasoning_content": "c"}}]}, "c"),
        (None, {"data": {"additional_kwargs": {"reasoning_content": "d"}}}, "d"),
        (None, {"choices": "x", "data": 5, "thinking_blocks": 7}, ""),
    ],
)
def test_reasoning_is_found_where_each_puts_it(parts, extra, reasoning):
    assert reasoning_of(parts, extra) == reasoning


@example({"role": "user", "content": [], "audio": [None]})
@settings(max_examples=300, deadline=None)
@given(BY_ROLE | BY_TYPE | WHOLE | WRAPPED | CALL_ITEMS | RESULTS)
def test_any_message_can_be_built_again_from_what_is_stored(message):
    assert rebuilt(stored_of(message), message) == json.loads(json.dumps(message))


@settings(max_examples=300, deadline=None)
@given(ANY_OBJECT)
def test_any_object_is_read_or_refused_by_name(message):
    before = json.dumps(message)
    assert field_or_fields(message)
    assert json.dumps(message) == before


def field_or_fields(message):
    try:
        return {"of our own": True} | as_own_fields(message)
    except Malformed as error:
        return error.field
