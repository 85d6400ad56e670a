"""The events of a turn: whoever looks, whenever, sees each character once and in order."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from conversations.chat.events import BEFORE_ALL, events_after
from conversations.chat.tool_results import parsed, storable, task_id_of
from conversations.models.turn import Step, ToolCall, ToolResult, Turn

TURN = uuid.uuid4()


def fresh():
    return Turn(TURN, 1, uuid.uuid4(), uuid.uuid4(), "p", "m", [Step(TURN)])


def grow(state, action):
    """One thing that happens in a turn; what cannot happen now is left out."""
    step = state.last
    match action:
        case str() if not step.calls:
            step.content += action
        case "think", text if not step.calls:
            step.reasoning += text
        case "call", count if not step.calls and len(state.steps) < 4:
            step.calls = [ToolCall(f"c{i}", "tool", "{}") for i in range(count)]
        case "result" if len(step.results) < len(step.calls):
            step.results.append(ToolResult(f"c{len(step.results)}", "tool", "1"))
        case "step" if step.calls and len(step.results) == len(step.calls):
            state.steps.append(Step(uuid.uuid4()))


ACTIONS = st.one_of(
    st.text(min_size=1, max_size=4),
    st.tuples(st.just("think"), st.text(min_size=1, max_size=4)),
    st.tuples(st.just("call"), st.integers(1, 3)),
    st.just("result"),
    st.just("step"),
    st.just("look"),
    st.just("leave"),
)


def text_of(events, name):
    return "".join(event.data["text"] for event in events if event.name == name)


@given(st.lists(ACTIONS, max_size=40))
def test_nothing_twice_and_nothing_missing(actions):
    state, seen, position = fresh(), [], BEFORE_ALL
    for action in [*actions, "end", "look"]:
        if action == "look":
            new = events_after(state, position)
            seen += new
            position = new[-1].position if new else position
        elif action == "end":
            state.status = "complete"
        else:
            grow(state, action)
    positions = [event.position for event in seen]
    assert positions == sorted(set(positions))
    text, thoughts = text_of(seen, "delta"), text_of(seen, "reasoning")
    assert text == "".join(step.content for step in state.steps) == seen[-1].data["response"]
    assert thoughts == "".join(step.reasoning for step in state.steps)
    # What one look at the end shows is what all the looks on the way showed.
    whole, texts = events_after(state, BEFORE_ALL), ("delta", "reasoning")
    assert [e for e in whole if e.name not in texts] == [e for e in seen if e.name not in texts]
    # Any event, taken up by another process, leads to the same rest.
    for place, event in enumerate(seen):
        rest = events_after(state, event.position)
        got = [*seen[: place + 1], *rest]
        assert (text_of(got, "delta"), text_of(got, "reasoning")) == (text, thoughts)


def test_results_are_json_where_they_are():
    assert parsed('{"task_id": 5}') == {"task_id": 5}
    assert parsed('{"type": "text", "text": "[1]"}') == [1]
    assert parsed("{broken") == "{broken"
    assert parsed("") == ""
    assert task_id_of({"task_id": 5}) == "5"
    assert task_id_of({"task_id": True}) is None
    assert task_id_of([1]) is None
    assert task_id_of({"task_id": None}) is None


def test_what_postgresql_cannot_hold_is_taken_out():
    assert storable("a\x00b") == "ab"
    assert storable("\ud800") == "?"
    assert storable("é😀") == "é😀"
