"""The messages of a request, and whether they are those that are stored."""

import json
import time
import uuid

import pytest

from conversations.formats import Malformed
from conversations.formats.sent_messages import (
    StoredMessage,
    asked,
    is_same,
    is_same_but_wrapped,
    said,
    sent_messages,
)


def stored(role="assistant", content="", **columns):
    given = dict.fromkeys(StoredMessage._fields) | {
        "key": str(uuid.UUID(int=1)),
        "branch": 0,
        "sequence": 1,
        "status": "complete",
        "is_answer": True,
        "is_emptied": False,
    }
    given_json = columns.keys() & {"parts", "tool_calls"}
    as_json = {name: json.dumps(columns[name]) for name in given_json}
    return StoredMessage(**given | {"role": role, "content": content} | columns | as_json)


def sent(message):
    (draft,) = sent_messages([message])
    return draft


def call(arguments, id_="c"):
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_messages_are_read_with_all_that_they_have():
    draft = sent({"role": "user", "content": "Hi", "name": "ann", "files": [1], "id": "x"})
    assert (draft.role, draft.content, draft.name) == ("user", "Hi", "ann")
    assert draft.extra == {"files": [1], "id": "x"}
    image = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    draft = sent({"role": "user", "content": [{"type": "text", "text": "What?"}, image]})
    assert (draft.content, draft.parts[1]) == ("What?", image)
    called = {"role": "assistant", "content": None, "tool_calls": [call("{}")]}
    draft = sent(called | {"reasoning_content": "Hm"})
    assert (draft.content, draft.tool_calls) == ("", [call("{}")])
    assert draft.extra == {"content": None, "reasoning_content": "Hm"}


def test_nothing_of_ours_is_set_by_a_message():
    """Columns that a turn fills, such as costs, are not the client's to say."""
    given = {"cost": "1", "model": "m", "created_at": 1, "finish_reason": "stop", "rating": 1}
    draft = sent({"role": "assistant", "content": "Hi", "usage": {"prompt_tokens": 3}} | given)
    assert draft.extra == given | {"usage": {"prompt_tokens": 3}}
    assert (draft.cost, draft.model, draft.created_at) == (None, "", None)
    assert (draft.prompt_tokens, draft.finish_reason, draft.rating) == (None, None, None)


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        (["x"], "messages.0"),
        ([{"role": "user", "content": "x"}, {"content": "x"}], "messages.1.role"),
        ([{"role": 1, "content": "x"}], "messages.0.role"),
        ([{"role": ["user"], "content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": 1}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content.0.text"),
    ],
)
def test_what_is_no_message_is_refused_by_its_path(messages, field):
    with pytest.raises(Malformed) as refused:
        sent_messages(messages)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>Hm</think>\n\nYes. ", "Yes."),
        ("Hm.\n</think>Yes.", "Yes."),
        ('<details type="reasoning" done="true"><summary>…</summary>Hm</details>\nYes.', "Yes."),
        (
            "<details><b>More</b>…</details>",
            "<details><b>More</b>…</details>",
        ),
        ("A <think>b</think> c <think>d", "A  c <think>d"),
        ("a < b", "a < b"),
    ],
)
def test_what_an_answer_says_without_its_thoughts(text, shown):
    assert said(text) == shown


@pytest.mark.parametrize(
    "text",
    ["<think>" * 100_000, "<details " * 100_000, "<think></reason>" * 50_000, "</think>" * 100_000],
)
def test_hostile_answers_are_read_in_time_proportional_to_their_length(text):
    begin = time.perf_counter()
    said(text)
    assert time.perf_counter() - begin < 1


def test_answers_are_compared_by_what_they_say():
    answer = stored(content="<think>Hm</think>\nYes.\n")
    assert is_same(answer, sent({"role": "assistant", "content": "Yes."}))
    assert not is_same(answer, sent({"role": "assistant", "content": "Yes"}))
    assert not is_same(answer, sent({"role": "user", "content": "Yes."}))
    thought = stored(content="Yes.", parts=[{"type": "reasoning", "summary": []}])
    assert is_same(thought, sent({"role": "assistant", "content": "Yes."}))
    listed = [{"type": "text", "text": "Yes."}]
    assert is_same(thought, sent({"role": "assistant", "content": listed}))


def test_of_an_unfinished_answer_a_client_may_have_a_part():
    for status in ("stopped", "interrupted", "failed", "streaming"):
        answer = stored(content="Yes, and", status=status)
        for text in ("Yes", "Yes, and", "Yes, and no"):
            assert is_same(answer, sent({"role": "assistant", "content": text}))
        for text in ("", "No"):
            assert not is_same(answer, sent({"role": "assistant", "content": text}))
    assert not is_same(stored(content="Yes, and"), sent({"role": "assistant", "content": "Yes"}))


def test_calls_are_compared_by_their_values():
    answer = stored(tool_calls=[call('{"a": 1, "b": "é"}')])
    same = call('{"b":"\\u00e9","a":1}')
    assert is_same(answer, sent({"role": "assistant", "content": None, "tool_calls": [same]}))
    changed, of_another = call('{"a": 2, "b": "é"}'), call('{"a": 1, "b": "é"}', "d")
    for other in ([changed], [of_another], [same, same], []):
        message = {"role": "assistant", "content": "", "tool_calls": other}
        assert not is_same(answer, sent(message))
    broken = stored(tool_calls=[call("{oops")])
    message = {"role": "assistant", "content": "", "tool_calls": [call("{oops")]}
    assert is_same(broken, sent(message))
    custom = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
    message = {"role": "assistant", "content": "", "tool_calls": [custom]}
    assert is_same(stored(tool_calls=[custom]), sent(message))


def test_results_belong_to_their_call():
    answer = stored("tool", "42", tool_call_id="c", name="f")
    assert is_same(answer, sent({"role": "tool", "tool_call_id": "c", "content": "42"}))
    assert not is_same(answer, sent({"role": "tool", "tool_call_id": "d", "content": "42"}))
    assert not is_same(answer, sent({"role": "tool", "tool_call_id": "c", "content": "43"}))


def test_questions_are_compared_as_they_are():
    question = stored("user", "Hi ")
    assert is_same(question, sent({"role": "user", "content": "Hi "}))
    assert not is_same(question, sent({"role": "user", "content": "Hi"}))
    assert is_same(stored("developer", "x"), sent({"role": "system", "content": "x"}))
    by_name = stored("user", "Hi", name="a")
    assert not is_same(by_name, sent({"role": "user", "content": "Hi", "name": "b"}))
    assert is_same(by_name, sent({"role": "user", "content": "Hi"}))


def test_the_sources_before_a_question_are_not_the_question():
    text = "### Task:\nRespond to the user query using …\n<context>…</context>\n\nWhy?"
    assert asked(text) == "Why?"
    assert is_same(stored("user", text), sent({"role": "user", "content": "Why?"}))
    wrapped = sent({"role": "user", "content": "Sources: …\nWhy?"})
    assert is_same_but_wrapped(stored("user", "Why?"), wrapped)
    assert not is_same_but_wrapped(stored("user", "Why not?"), wrapped)
    assert not is_same_but_wrapped(stored("user", ""), wrapped)


def test_an_emptied_message_is_known_by_its_role():
    assert is_same(stored("user", is_emptied=True), sent({"role": "user", "content": "Hi"}))
    assert not is_same(stored("user", is_emptied=True), sent({"role": "tool", "content": "Hi"}))
