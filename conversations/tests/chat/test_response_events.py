"""The events of a Response: what a client is sent as its turn grows, and when it comes back."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from conversations.chat.responses.events import ResponseEvents
from conversations.chat.responses.response import response_of
from conversations.models.turn import Step, ToolCall, Turn

EVENTS = TypeAdapter(ResponseStreamEvent)
ID = uuid.UUID("0198c0de-0000-7000-8000-000000000007")


def turn_with(**step):
    return Turn(
        id=ID,
        owner_id=1,
        conversation_id=uuid.UUID("0198c0de-0000-7000-8000-000000000008"),
        user_message_id=None,
        provider="p",
        model="m",
        steps=[Step(ID, **step)],
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
    )


def ended(turn, status="complete", reason="stop", error=None):
    return replace(turn, status=status, finish_reason=reason, error=error, latency_ms=1500)


def names_of(events):
    return [event["type"].removeprefix("response.") for event in events]


def texts_of(events):
    """The deltas of each part or call, joined, by its kind and place."""
    found = {}
    for event in events:
        if event["type"].endswith(".delta"):
            key = (event["type"], event["output_index"])
            found[key] = found.get(key, "") + event["delta"]
    return found


def test_a_text_is_opened_told_and_closed():
    events = ResponseEvents({}).next(ended(turn_with(content="Hello")))
    assert names_of(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done"),
        "completed",
    ]
    for event in events:
        EVENTS.validate_python(event, strict=False)


def test_what_was_thought_comes_before_what_was_said_and_the_calls_after():
    call = ToolCall("call_1", "weather", '{"city": "Rome"}')
    turn = ended(turn_with(reasoning="Hm", content="Let me see", calls=[call]))
    events = ResponseEvents({}).next(turn)
    assert [event["item"]["type"] for event in events if "item.added" in event["type"]] == [
        *("reasoning", "message", "function_call")
    ]
    assert texts_of(events) == {
        ("response.reasoning_text.delta", 0): "Hm",
        ("response.output_text.delta", 1): "Let me see",
        ("response.function_call_arguments.delta", 2): '{"city": "Rome"}',
    }
    assert events[-1]["response"]["output"][2]["call_id"] == "call_1"


def test_a_custom_tool_is_called_with_text():
    call = ToolCall("call_1", "shell", "ls -l", is_custom=True)
    events = ResponseEvents({}).next(ended(turn_with(calls=[call])))
    assert texts_of(events) == {("response.custom_tool_call_input.delta", 0): "ls -l"}
    assert events[-1]["response"]["output"][0]["input"] == "ls -l"


@pytest.mark.parametrize(
    ("status", "reason", "last", "says"),
    [
        ("complete", "stop", "completed", "completed"),
        ("complete", "length", "incomplete", "incomplete"),
        ("stopped", "stopped", "incomplete", "cancelled"),
        ("failed", "provider_busy", "failed", "failed"),
        ("interrupted", "interrupted", "failed", "failed"),
    ],
)
def test_the_last_event_says_how_it_ended(status, reason, last, says):
    turn = ended(turn_with(content="Hi"), status, reason, "Why." if last == "failed" else None)
    event = ResponseEvents({}).next(turn)[-1]
    EVENTS.validate_python(event)
    assert (event["type"], event["response"]["status"]) == (f"response.{last}", says)
    assert (event["response"]["error"] or {}).get("message") == (
        "Why." if last == "failed" else None
    )


def test_a_response_repeats_its_request():
    request = {"instructions": "Be brief.", "temperature": 0.5, "metadata": {"a": "b"}}
    response = response_of(turn_with(), request)
    assert {name: response[name] for name in request} == request
    assert response["tools"] == []
    assert response["status"] == "in_progress"


CALLS = st.builds(ToolCall, st.just("call_1"), st.just("tool"), st.text(max_size=9))


@st.composite
def growing_turns(draw):
    """A turn that thinks, speaks, calls and ends, as it was at several moments."""
    final = {
        "reasoning": draw(st.text(max_size=12)),
        "content": draw(st.text(max_size=12)),
        "calls": draw(st.lists(CALLS, max_size=2, unique_by=lambda call: call.id)),
    }
    thought, said = len(final["reasoning"]), len(final["content"])
    moments = sorted(draw(st.lists(st.integers(0, thought + said), max_size=6)))
    turns = [
        turn_with(
            reasoning=final["reasoning"][:moment],
            content=final["content"][: max(0, moment - thought)],
        )
        for moment in moments
    ]
    return [*turns, ended(turn_with(**final))]


@settings(max_examples=200, deadline=None)
@given(growing_turns())
def test_the_events_of_a_growing_turn_are_those_of_the_whole_one(turns):
    stream = ResponseEvents({})
    seen = [event for turn in turns for event in stream.next(turn)]
    whole = ResponseEvents({}).next(turns[-1])
    assert texts_of(seen) == texts_of(whole)
    deltas = {name for name in names_of(whole) if name.endswith(".delta")}
    assert [n for n in names_of(seen) if n not in deltas] == [
        n for n in names_of(whole) if n not in deltas
    ]
    numbers = [event["sequence_number"] for event in seen]
    assert numbers == sorted(set(numbers))
    assert seen[-1] == whole[-1]


@settings(max_examples=200, deadline=None)
@given(growing_turns(), st.data())
def test_a_client_that_comes_back_gets_the_rest(turns, data):
    stream = ResponseEvents({})
    seen = [event for turn in turns for event in stream.next(turn)]
    last = data.draw(st.integers(0, len(seen) - 1))
    before, number = seen[: last + 1], seen[last]["sequence_number"]
    after = ResponseEvents({}, number).next(turns[-1])
    assert texts_of([*before, *after]) == texts_of(seen)
    if after:
        assert after[0]["sequence_number"] > number
        assert after[-1] == seen[-1]
    else:
        assert last == len(seen) - 1
