"""The events of streams are as the OpenAPI page says."""

import ast
import uuid
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest

from conversations.api.sse import frame
from conversations.chat import events as chat_events
from conversations.chat.events import BEFORE_ALL, events_after
from conversations.models.turn import Step, ToolCall, ToolResult, Turn
from conversations.tests.api.contract.openapi import schema
from conversations.tests.chat.scripted_behaviours import breaks, says

NAMES = {
    ast.literal_eval(node.args[0])
    for node in ast.walk(ast.parse(Path(chat_events.__file__).read_text()))
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Event"
}


def turn(**changes):
    key = uuid.uuid4()
    first = Step(key, content="Let me look.", prompt_tokens=5, completion_tokens=2)
    first.calls = [ToolCall("c1", "now", "{}"), ToolCall("c2", "search", '{"q": "x"}')]
    first.results = [
        ToolResult("c1", "now", '{"task_id": "7", "time": 5}'),
        ToolResult("c2", "search", "nothing found"),
    ]
    made = Turn(key, 1, uuid.uuid4(), uuid.uuid4(), "p", "m", [first, Step(uuid.uuid4())])
    made.steps[1].reasoning, made.steps[1].content = "They ask for the time.", "It is noon."
    made.sources, made.mode = [{"title": "T", "score": 0.5}], "search"
    for name, value in changes.items():
        setattr(made, name, value)
    return made


TURNS = [
    turn(status="complete", finish_reason="stop", latency_ms=5),
    turn(status="stopped", finish_reason="stopped", user_message_id=None),
    turn(status="failed", finish_reason="provider_error", error="It is down."),
    turn(status="interrupted", finish_reason="interrupted", error="The process ended."),
]


def as_read(sent):
    """An event as a client reads it: its fields, with the JSON in `data`."""
    fields = dict(line.split(": ", 1) for line in sent.decode().strip().split("\n"))
    return fields | {"data": orjson.loads(fields["data"])}


def event_shapes():
    shapes = schema()["components"]["schemas"]
    return [shapes[one["$ref"].rpartition("/")[2]] for one in shapes["StreamEvent"]["oneOf"]]


def name_of(shape):
    return shape["properties"]["event"]["const"]


def check(event):
    """It fits the schema, which leaves out nothing of it."""
    document = {"$ref": "#/components/schemas/StreamEvent", "components": schema()["components"]}
    jsonschema.Draft202012Validator(document).validate(event)
    shapes = schema()["components"]["schemas"]
    (shape,) = [one for one in event_shapes() if name_of(one) == event["event"]]
    data = shapes[shape["properties"]["data"]["$ref"].rpartition("/")[2]]
    assert event["data"].keys() == data["properties"].keys()


def test_every_event_has_a_shape():
    assert set(map(name_of, event_shapes())) == NAMES


@pytest.mark.parametrize("of", TURNS, ids=lambda one: one.status)
def test_events_of_every_kind_are_as_the_page_says(of):
    made = events_after(of, BEFORE_ALL)
    for event in made:
        check(as_read(frame(str(of.id), event, "request")))
    assert {event.name for event in made} | {"done", "error"} == NAMES


def test_what_is_not_an_event_does_not_fit():
    event = as_read(frame("x", events_after(TURNS[0], BEFORE_ALL)[0], "request"))
    for bad in (event | {"event": "begin"}, event | {"data": {}}, {"data": event["data"]}):
        with pytest.raises((jsonschema.ValidationError, ValueError, KeyError)):
            check(bad)


@pytest.mark.django_db(transaction=True)
def test_events_of_a_server_are_too(chat, scripted):
    scripted.script(says("Hel", "lo"))
    scripted.script(breaks())
    for _ in range(2):
        for event in chat.stream("Hi"):
            check({"id": event.id, "event": event.name, "data": event.data})


def test_all_streams_refer_to_it():
    for path, method in (
        ("/api/chat", "post"),
        ("/api/chat/ask-stream", "get"),
        ("/api/chat/streams/{message_id}", "get"),
    ):
        answer = schema()["paths"][path][method]["responses"]["200"]["content"]
        found = answer["text/event-stream"]["schema"]
        assert found == {"$ref": "#/components/schemas/StreamEvent"}
