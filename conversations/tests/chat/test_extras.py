"""What a model says beyond text, joined over its chunks."""

import math

import pytest

from conversations.chat.llm.extras import add_chunk, storable_extra


def collected(*chunks):
    """The extras of these chunks, each a delta, or a whole chunk where it has `choices`."""
    extra = {}
    for number, given in enumerate(chunks):
        chunk = given if "choices" in given else {"choices": [{"index": 0, "delta": given}]}
        head = {"id": "c1", "object": "chat.completion.chunk", "created": number, "model": "m"}
        add_chunk(extra, head | chunk)
    assert extra.pop("id") == "c1"
    return extra


def choice(delta=None, **fields):
    return {"choices": [{"index": 0, "delta": delta or {}} | fields]}


def test_text_and_calls_are_no_extras():
    function = {"name": "f", "arguments": "{}"}
    calls = [{"index": 0, "id": "c", "type": "function", "function": function}]
    assert (
        collected(
            {"role": "assistant", "content": "Hi", "reasoning": "Hm", "reasoning_content": "Hm"},
            {"tool_calls": calls, "refusal": None, "annotations": []},
            choice(finish_reason="stop", logprobs=None),
        )
        == {}
    )


def test_pieces_of_texts_are_joined_and_whole_ones_are_not():
    assert collected(
        {"refusal": "I can"},
        {"refusal": "not.", "audio": {"id": "a", "data": "QU", "transcript": "Hel"}},
        {"audio": {"id": "a", "data": "JD", "transcript": "lo", "expires_at": 5}},
    ) == {
        "refusal": "I cannot.",
        "audio": {"id": "a", "data": "QUJD", "transcript": "Hello", "expires_at": 5},
    }


def test_lists_grow_and_items_of_one_index_are_one():
    first, second = (
        {"type": "url_citation", "url_citation": {"url": f"https://a.example/{n}"}} for n in "12"
    )
    assert collected({"annotations": [first]}, {"annotations": [second, first]}) == {
        "annotations": [first, second, first]
    }
    detail = {"type": "reasoning.text", "format": "x-v1", "index": 0}
    sealed = {"type": "reasoning.encrypted", "index": 0, "data": "e"}
    assert collected(
        {"reasoning_details": [detail | {"text": "Six "}]},
        {"reasoning_details": [detail | {"text": "by."}]},
        {
            "reasoning_details": [
                detail | {"signature": "s"},
                sealed,
            ]
        },
    ) == {
        "reasoning_details": [
            detail | {"text": "Six by.", "signature": "s"},
            sealed,
        ]
    }


def test_a_thinking_block_ends_with_its_signature():
    def block(**fields):
        return {"thinking_blocks": [{"type": "thinking"} | fields]}

    assert collected(
        block(thinking="a"),
        block(thinking="b"),
        block(signature="s1"),
        block(thinking="c"),
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "x"}]},
    )["thinking_blocks"] == [
        {"type": "thinking", "thinking": "ab", "signature": "s1"},
        {"type": "thinking", "thinking": "c"},
        {"type": "redacted_thinking", "data": "x"},
    ]


def test_what_stands_beside_the_delta_is_kept_too():
    token = {"token": "H", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    found = collected(
        choice({"content": "H"}, logprobs={"content": [token], "refusal": None}),
        choice({"content": "i"}, logprobs={"content": [token | {"token": "i"}]}),
        choice(finish_reason="stop", native_finish_reason="STOP")
        | {"system_fingerprint": "fp", "citations": ["https://a.example"], "service_tier": "flex"},
        {"choices": [], "system_fingerprint": "fp"},
    )
    assert [one["token"] for one in found["logprobs"]["content"]] == ["H", "i"]
    assert {name: found[name] for name in found if name != "logprobs"} == {
        "native_finish_reason": "STOP",
        "system_fingerprint": "fp",
        "service_tier": "flex",
        "citations": ["https://a.example"],
    }


def test_what_a_call_has_beyond_its_arguments_is_kept_by_its_index():
    google = {"google": {"thought_signature": "s"}}
    assert collected(
        {
            "tool_calls": [
                {"index": 1, "id": "c", "function": {"name": "f"}, "extra_content": google}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
    ) == {"tool_calls": [{"index": 1, "extra_content": google}]}


def test_it_is_as_postgresql_and_json_can_hold_it(settings):
    deep = []
    for _ in range(60):
        deep = [deep]
    given = {"a\x00": "\ud800\x00b", "n": math.nan, "i": 2**70, "t": True, "deep": deep}
    found = storable_extra(given)
    assert (found["a"], found["n"], found["i"], found["t"]) == ("?b", "nan", str(2**70), True)
    assert repr(found["deep"]).count("[") < settings.CHAT_MAX_JSON_DEPTH
    assert storable_extra({}) is None


def test_what_is_too_large_is_named(settings):
    settings.CHAT_MAX_BODY_BYTES = 1000
    found = storable_extra({"small": "x", "audio": "y" * 1000, "last": 1})
    assert found == {"small": "x", "last": 1, "left_out": ["audio"]}


@pytest.mark.parametrize(
    "odd", [{"audio": "text"}, {"audio": {"id": 5}}, {"annotations": {"a": 1}}]
)
def test_values_that_change_their_kind_do_not_fail(odd):
    assert collected({"audio": {"id": "a"}, "annotations": [1]}, odd)
