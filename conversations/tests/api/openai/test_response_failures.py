"""How `/v1/responses` refuses requests, and what becomes of answers that break off."""

import openai
import pytest

from conversations.models import Conversation, Message, Status
from conversations.tests.chat.scripted_behaviours import (
    SECRET,
    breaks,
    drops,
    ends_early,
    fails_midway,
    garbles,
    hangs,
    rate_limited,
    refuses,
    says,
    unauthorized,
)

from .response_clients import *  # noqa: F403
from .response_clients import WEATHER, strict

pytestmark = pytest.mark.django_db(transaction=True)

BAD_ARGUMENT = openai.BadRequestError


def refused(ask, kind=BAD_ARGUMENT, **options):
    with pytest.raises(kind) as caught:
        ask(**{"model": "m", "input": "Hi"} | options)
    assert Message.objects.count() == 0
    return caught.value


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tools": [WEATHER, {"type": "web_search"}]}, "tools[1].type"),
        (
            {"tools": [{"type": "custom", "name": "x", "format": {"type": "grammar"}}]},
            "tools[0].format",
        ),
        ({"tools": ["weather"]}, "tools[0]"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "news"}},
            "tool_choice.name",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": 5}, "input"),
        ({"input": ["Hi"]}, "input[0]"),
        ({"input": [{"type": "telepathy"}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, None),
        ({"input": "nul \x00"}, "input"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"store": "no"}, "store"),
        ({"background": True, "store": False}, "store"),
        ({"truncation": "some"}, "truncation"),
        ({"conversation": 5}, "conversation"),
        ({"previous_response_id": "resp_" + "0" * 32}, "previous_response_id"),
        ({"previous_response_id": "nonsense"}, "previous_response_id"),
    ],
)
def test_a_request_is_refused_by_the_name_of_its_field(client, options, param):
    error = refused(client.responses.create, **options)
    assert error.type == "invalid_request_error"
    assert param is None or error.param == param


def test_input_is_needed_where_nothing_is_followed(client):
    with pytest.raises(BAD_ARGUMENT) as caught:
        client.responses.create(model="m")
    assert (caught.value.param, caught.value.code) == ("input", "missing_required_parameter")


def test_a_response_and_a_conversation_are_not_followed_at_once(client):
    first = client.responses.create(model="m", input="Hi")
    with pytest.raises(BAD_ARGUMENT) as caught:
        client.responses.create(
            model="m",
            input="Hi",
            previous_response_id=first.id,
            conversation=first.conversation.id,
        )
    assert caught.value.param == "previous_response_id"


def test_nothing_of_another_user_is_found(client, live_server, bob):
    from conversations.tests.factories import make_token

    first = client.responses.create(model="m", input="Hi")
    with strict(live_server.url, make_token(bob)) as other:
        for ask in (
            lambda: other.responses.retrieve(first.id),
            lambda: other.responses.delete(first.id),
            lambda: other.responses.cancel(first.id),
            lambda: other.responses.input_items.list(first.id),
            lambda: other.responses.create(
                model="m", input="x", conversation=first.conversation.id
            ),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()
        with pytest.raises(BAD_ARGUMENT) as caught:
            other.responses.create(model="m", input="x", previous_response_id=first.id)
    assert caught.value.code == "previous_response_not_found"
    assert Message.objects.count() == 2


def test_nobody_asks_without_a_token(client, live_server):
    with strict(live_server.url, "wrong") as nobody, pytest.raises(openai.AuthenticationError):
        nobody.responses.create(model="m", input="Hi")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (refuses(400, "Too long", "context_length_exceeded"), openai.BadRequestError),
        (refuses(404, "No such model", "model_not_found"), openai.NotFoundError),
        (rate_limited(), openai.RateLimitError),
        (unauthorized(), openai.InternalServerError),
        (breaks(), openai.InternalServerError),
        (hangs(), openai.InternalServerError),
    ],
)
def test_a_provider_that_refuses_is_an_error_of_http(client, provider, behaviour, kind, stream):
    provider.script(behaviour)
    with pytest.raises(kind) as caught:
        client.responses.create(model="m", input="Hi", stream=stream)
    assert SECRET not in str(caught.value) or caught.value.status_code in (400, 404, 429)
    question, answer = Message.objects.order_by("sequence")
    assert (question.content, answer.status, answer.content) == ("Hi", "failed", "")
    read = client.responses.retrieve(f"resp_{answer.id.hex}")
    assert read.status == "failed"
    assert read.error.message == answer.error


def test_a_busy_provider_says_when_to_come_back(client, provider):
    provider.script(rate_limited(retry_after=7))
    with pytest.raises(openai.RateLimitError) as caught:
        client.responses.create(model="m", input="Hi")
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "behaviour", [drops("Hal"), ends_early("Hal"), fails_midway("Hal"), garbles("Hal")]
)
def test_a_provider_that_breaks_off_ends_the_stream_as_failed(client, provider, behaviour):
    provider.script(behaviour)
    with client.responses.create(model="m", input="Hi", stream=True) as stream:
        events = list(stream)
    assert events[-1].type == "response.failed"
    response = events[-1].response
    assert (response.status, response.error.code) == ("failed", "server_error")
    assert SECRET not in response.error.message
    assert response.output[0].status == "incomplete"
    assert response.output[0].content[0].text == "Hal"
    assert Message.objects.get(role="assistant").status == Status.FAILED
    assert client.responses.retrieve(response.id).status == "failed"


def test_a_request_that_the_library_sends_again_doubles_nothing(scripted, token, live_server):
    scripted.script(rate_limited(0), breaks(), says("Hello."))
    with strict(live_server.url, token, max_retries=2) as client:
        response = client.responses.create(model="m", input="Hi")
        assert response.output_text == "Hello."
        scripted.script(breaks(), says("More."))
        second = client.responses.create(
            model="m", input="And?", conversation=response.conversation.id
        )
        scripted.script(breaks(), says("Most."))
        third = client.responses.create(model="m", input="So?", previous_response_id=second.id)
        items = client.responses.input_items.list(third.id).data
    assert [item.content[0].text for item in items] == ["So?"]
    assert second.conversation == third.conversation == response.conversation
    questions = Message.objects.filter(role="user").order_by("sequence")
    assert list(questions.values_list("content", flat=True)) == ["Hi", "And?", "So?"]
    assert scripted.chats[-1].messages == [
        *(("user", "Hi"), ("assistant", "Hello."), ("user", "And?"), ("assistant", "More.")),
        ("user", "So?"),
    ]


def test_a_first_question_that_failed_is_asked_again_in_its_conversation(client, provider):
    provider.script(breaks(), says("Hello."), says("Hello again."))
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="m", input="Hi")
    client.responses.create(model="m", input="Hi")
    assert Conversation.objects.count() == 1
    assert Message.objects.filter(role="user").count() == 1
    # Once it is answered, an equal request is another one.
    client.responses.create(model="m", input="Hi")
    assert Conversation.objects.count() == 2


def test_a_running_answer_refuses_another_in_its_conversation(client, provider):
    provider.script(hangs("Hal"))
    with client.responses.create(model="m", input="Hi", stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
        with pytest.raises(openai.ConflictError) as caught:
            client.responses.create(
                model="m", input="And?", conversation=event_conversation(stream, client)
            )
        assert caught.value.response.headers["x-should-retry"] == "false"
    assert Message.objects.filter(role="user").count() == 1


def event_conversation(stream, client):
    return f"conv_{Conversation.objects.get().pk.hex}"
