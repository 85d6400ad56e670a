"""What the chunks of a provider add to an answer."""

import pytest

from conversations.chat.forwarding.chat_chunks import (
    Calls,
    as_chunk,
    chunks_of,
    instead_of_text,
    text_and_reasoning,
)
from conversations.models.turn import ToolCall


def chunk(index=0, **delta):
    return {"choices": [{"index": index, "delta": delta}]}


def calls_of(*pieces):
    calls = Calls()
    for piece in pieces:
        calls.take(chunk(tool_calls=[piece] if isinstance(piece, dict) else piece))
    return calls.found()


def piece(arguments="", **fields):
    return {"function": {"arguments": arguments}} | fields


def named(name, arguments="", **fields):
    return {"type": "function", "function": {"name": name, "arguments": arguments}} | fields


@pytest.mark.parametrize(
    ("delta", "found"),
    [
        ({"content": "Hi"}, ("Hi", "")),
        ({"content": None}, ("", "")),
        ({"content": 5, "refusal": []}, ("", "")),
        ({"refusal": "No."}, ("No.", "")),
        ({"content": "a\x00\ud800"}, ("a?", "")),
        ({"reasoning": "Hm"}, ("", "Hm")),
        ({"reasoning_content": "Hm", "reasoning": "Hm"}, ("", "Hm")),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]}, ("", "Hm")),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                    {"type": "text", "text": "Hi"},
                    "odd",
                ]
            },
            ("Hi", "Hm"),
        ),
    ],
)
def test_text_and_reasoning_in_all_their_forms(delta, found):
    assert text_and_reasoning(chunk(**delta)) == found


@pytest.mark.parametrize(
    "odd", [{}, {"choices": None}, {"choices": 5}, {"choices": [5]}, {"choices": [{"delta": 5}]}]
)
def test_a_chunk_of_another_form_adds_nothing(odd):
    calls = Calls()
    calls.take(odd)
    assert (text_and_reasoning(odd), calls.found()) == (("", ""), [])


def test_other_answers_to_the_same_request_add_nothing():
    calls = Calls()
    other = chunk(1, content="Hi", tool_calls=[named("f", index=0)])
    calls.take(other)
    assert (text_and_reasoning(other), calls.found()) == (("", ""), [])


def test_pieces_of_calls_belong_together_by_their_index():
    assert calls_of(
        named("f", index=0, id="a"),
        named("g", index=1, id="b"),
        [piece('{"x"', index=1), piece("[1", index=0)],
        piece(":1}", index=1),
        piece("]", index=0),
    ) == [ToolCall("a", "f", "[1]"), ToolCall("b", "g", '{"x":1}')]


@pytest.mark.parametrize("index", [{}, {"index": 0}])
def test_servers_that_number_all_calls_alike_are_understood(index):
    assert calls_of(
        named("f", "{}", id="a", **index), named("g", "{", id="b", **index), piece("}", **index)
    ) == [ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")]


def test_custom_tools_and_the_function_call_of_old():
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT"}}
    more = {"index": 0, "custom": {"input": " 1"}}
    (call,) = calls_of(custom, more)
    assert call == ToolCall("a", "sql", "SELECT 1", is_custom=True)
    assert call.as_json() == {
        "id": "a",
        "type": "custom",
        "custom": {"name": "sql", "input": "SELECT 1"},
    }
    assert ToolCall.from_json(call.as_json()) == call
    calls = Calls()
    calls.take(chunk(function_call={"name": "f", "arguments": "{"}))
    calls.take(chunk(function_call={"arguments": "}"}))
    assert calls.found() == [ToolCall("call_f", "f", "{}")]


def test_calls_of_another_form_are_passed_over():
    assert calls_of({"index": 0, "id": 5, "function": {"name": None, "arguments": {}}}) == [
        ToolCall("call_", "", "")
    ]


def test_a_whole_answer_is_one_chunk_and_several_to_who_streams():
    message = {"role": "assistant", "content": "Hi", "tool_calls": [named("f", "{}", id="a")]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": None}
    whole = {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}
    made = as_chunk(whole)
    assert text_and_reasoning(made) == ("Hi", "")
    assert made["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    says, ends, counts = chunks_of(whole | {"usage": {"total_tokens": 1}})
    assert says["choices"][0]["finish_reason"] is None
    assert ends["choices"] == [
        {"index": 0, "finish_reason": "tool_calls", "logprobs": None, "delta": {}}
    ]
    assert (counts["choices"], counts["usage"]) == ([], {"total_tokens": 1})
    assert all(one["object"] == "chat.completion.chunk" for one in (says, ends, counts))
    assert len(chunks_of(whole)) == 2


def test_an_answer_of_sounds_or_images_alone():
    assert instead_of_text({"audio": {"transcript": "Hi"}}) == ("Hi", [])
    extra = {"images": [{"type": "image_url"}], "id": "c"}
    assert instead_of_text(extra) == (
        "",
        [{"type": "images", "images": [{"type": "image_url"}]}],
    )
    assert extra == {"id": "c"}
    assert instead_of_text({}) == ("", [])
