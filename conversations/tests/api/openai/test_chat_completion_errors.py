"""What can go wrong with a chat completion, and what the client and the record are told."""

import json

import openai
import pytest

from conversations.models import Message, UnstoredTurn
from conversations.tests.chat.fixtures import nobody_listens, wait_until
from conversations.tests.chat.scripted_behaviours import (
    SECRET,
    Call,
    breaks,
    drops,
    ends_early,
    fails_midway,
    garbles,
    hangs,
    rate_limited,
    replies,
    says,
    streams,
    unauthorized,
)
from conversations.tests.chat.servers import serving

from .forwarding import *  # noqa: F403
from .forwarding import ask, client_of, says_hi, stored, stream

__all__ = ["nobody_listens"]
pytestmark = pytest.mark.django_db(transaction=True)

TOO_LONG = "This model's maximum context length is 8192 tokens."
REFUSALS = [
    (400, openai.BadRequestError, "context_length_exceeded"),
    (404, openai.NotFoundError, "model_not_found"),
    (409, openai.ConflictError, "conflict"),
    (413, openai.APIStatusError, "too_large"),
    (422, openai.UnprocessableEntityError, "invalid"),
    (429, openai.RateLimitError, "rate_limit_exceeded"),
]
ENDS = [
    (unauthorized(), 502, "provider_refused"),
    (replies(403, {"error": {"message": SECRET}}), 502, "provider_refused"),
    (replies(402, {"error": {"message": SECRET}}), 502, "provider_rejected"),
    (breaks(500), 502, "provider_error"),
    (breaks(503), 503, "provider_busy"),
    (replies(200, "<html>"), 502, "provider_unreadable"),
    (replies(200, {"detail": "nothing"}), 502, "provider_unreadable"),
    (replies(200, {"error": {"message": SECRET}}), 502, "provider_error"),
]


def failure_of(call, kind=openai.APIStatusError):
    with pytest.raises(kind) as error:
        call()
    return error.value


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("status", "kind", "code"), REFUSALS)
def test_what_the_provider_says_of_the_request_is_passed_on(
    sdk, provider, status, kind, code, streams
):
    error = {"message": TOO_LONG, "type": "invalid_request_error", "param": "messages"}
    provider.script(replies(status, {"error": error | {"code": code}}, {"Retry-After": 7}))
    failure = failure_of(lambda: ask(sdk, stream=streams), kind)
    assert failure.status_code == status
    assert failure.body["message"] == TOO_LONG
    assert (failure.code, failure.param, failure.type) == (code, "messages", error["type"])
    assert failure.response.headers["X-Conversation-Id"]
    assert failure.response.headers["x-request-id"]
    assert (failure.response.headers.get("retry-after") == "7") == (status == 429)
    row = stored()
    assert row.status == "failed"
    assert row.finish_reason == "provider_busy" if status == 429 else "provider_rejected"
    assert row.error.endswith(TOO_LONG)


@pytest.mark.parametrize(
    "body", [{"error": "no such model"}, {"message": "no such model"}, {"detail": "no such model"}]
)
def test_errors_of_other_forms_are_told_in_openais(sdk, provider, body):
    provider.script(replies(404, body))
    failure = failure_of(lambda: ask(sdk), openai.NotFoundError)
    assert failure.body == {
        "message": "no such model",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("behaviour", "status", "code"), ENDS)
def test_what_is_not_the_clients_fault_is_502_or_503_and_tells_no_secret(
    sdk, provider, behaviour, status, code, streams
):
    provider.script(behaviour)
    failure = failure_of(lambda: ask(sdk, stream=streams))
    assert (failure.status_code, failure.code, failure.type) == (status, code, "server_error")
    row = stored()
    assert (row.status, row.finish_reason, row.content) == ("failed", code, "")
    assert SECRET not in f"{failure.response.text}{row.error}{row.extra}"


def test_the_key_of_this_installation_is_told_to_nobody(provider, token):
    provider.key = SECRET
    environment = {
        "SCRIPTED_KEY": SECRET,
        "CHAT_PROVIDERS": json.dumps(
            {
                "scripted": {
                    "base_url": provider.url,
                    "model": "scripted",
                    "api_key_env": "SCRIPTED_KEY",
                }
            }
        ),
    }
    provider.script(replies(400, {"error": {"message": f"Bad key {SECRET}"}}))
    try:
        with serving(provider, **environment) as server, client_of(server, token) as client:
            failure = failure_of(lambda: ask(client))
    finally:
        provider.key = None
    assert failure.body["message"] == "Bad key …"
    assert SECRET not in stored().error


@pytest.mark.parametrize("streams", [False, True])
def test_a_provider_that_cannot_be_reached_is_502(token, nobody_listens, streams):
    class Nobody:
        url = nobody_listens

    with serving(Nobody) as server, client_of(server, token) as client:
        failure = failure_of(lambda: ask(client, stream=streams), openai.InternalServerError)
    assert (failure.status_code, failure.code) == (502, "provider_unreachable")
    assert stored().finish_reason == "provider_unreachable"


def test_a_silent_provider_is_504(provider, token):
    impatient = json.dumps(
        {"scripted": {"base_url": provider.url, "model": "scripted", "timeout": 0.5}}
    )
    environment = {"CHAT_PROVIDERS": impatient, "CHAT_TURN_SECONDS": "2"}
    with serving(provider, **environment) as server, client_of(server, token) as client:
        for streams in (True, False):
            provider.script(hangs())
            failure = failure_of(lambda: ask(client, stream=streams))  # noqa: B023
            assert (failure.status_code, failure.code) == (504, "provider_timeout")
        # What comes whole may take longer than what is streamed.
        provider.script(says(1.0, "Hi"))
        assert ask(client).choices[0].message.content == "Hi"
        provider.script(hangs("Hel"))
        seen = []
        failure = failure_of(lambda: read(client, seen), openai.APIError)
    assert ("".join(seen), failure.code) == ("Hel", "provider_timeout")
    rows = Message.objects.filter(role="assistant").order_by("created_at")
    assert [(row.status, row.content) for row in rows] == [
        ("failed", ""),
        ("failed", ""),
        ("complete", "Hi"),
        ("failed", "Hel"),
    ]


def read(client, seen, **options):
    with stream(client, **options) as chunks:
        for chunk in chunks:
            seen += [choice.delta.content or "" for choice in chunk.choices]


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (drops("Hel", "lo"), "provider_broke_off"),
        (ends_early("Hel", "lo"), "provider_broke_off"),
        (garbles("Hel", "lo"), "provider_unreadable"),
        (fails_midway("Hel", "lo"), "provider_error"),
    ],
)
def test_a_stream_that_breaks_off_ends_with_an_error(sdk, provider, behaviour, code):
    provider.script(behaviour)
    seen = []
    failure = failure_of(lambda: read(sdk, seen), openai.APIError)
    assert "".join(seen) == "Hello"
    assert failure.code == code
    row = stored()
    assert (row.status, row.finish_reason, row.content) == ("failed", code, "Hello")
    assert SECRET not in f"{failure.body}{row.error}"


def test_an_error_in_a_stream_that_is_about_the_request_is_passed_on(sdk, provider):
    error = {"code": 400, "message": TOO_LONG, "type": "exceed_context_size_error"}
    provider.script(streams({"error": error}))
    failure = failure_of(lambda: stream(sdk), openai.BadRequestError)
    assert failure.body["message"] == TOO_LONG
    assert stored().status == "failed"


def test_calls_that_did_not_come_whole_are_kept_aside(sdk, provider):
    async def behave(exchange):
        await exchange.begin()
        piece = Call("weather", {"city": "Rome"}, "c1")
        await exchange.chunk({"tool_calls": [piece.as_delta(0)]})
        part = {"index": 0, "function": {"arguments": '{"ci'}}
        await exchange.chunk({"tool_calls": [part]})
        exchange.cut()

    provider.script(behave)
    failure_of(lambda: read(sdk, []), openai.APIError)
    row = stored()
    assert (row.status, row.tool_calls) == ("failed", None)
    assert row.extra["unfinished_tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
    ]


def test_a_failure_without_a_record_is_counted(sdk, provider):
    provider.script(rate_limited(), drops("Hel"))
    assert failure_of(lambda: ask(sdk, store=False)).status_code == 429
    failure_of(lambda: read(sdk, [], store=False), openai.APIError)
    rows = UnstoredTurn.objects.order_by("id")
    assert [row.finish_reason for row in rows] == ["provider_busy", "provider_broke_off"]
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "\x00"}]}, "messages[0].content"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"metadata": "x"}, "metadata"),
        ({"store": 1}, "store"),
    ],
)
def test_what_is_read_here_is_checked(sdk, provider, body, param):
    sent = {"model": "scripted", "messages": says_hi()} | body
    failure = failure_of(lambda: sdk.post("/chat/completions", cast_to=object, body=sent))
    assert (failure.status_code, failure.param) == (400, param)
    assert failure.type == "invalid_request_error"
    assert not provider.chats
    assert not Message.objects.exists()


def test_an_unknown_conversation_is_404_and_a_bad_token_401(sdk, server, provider):
    for name in ("conv_" + "0" * 32, "conv_nothing"):
        failure = failure_of(
            lambda name=name: ask(sdk, extra_headers={"X-Conversation-Id": name}),
            openai.NotFoundError,
        )
        assert failure.type == "invalid_request_error"
    with client_of(server, "nothing") as client:
        failure = failure_of(lambda: ask(client), openai.AuthenticationError)
    assert failure.code == "invalid_api_key"
    assert not provider.chats


def nested(depth):
    return '{"x":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    ("behaviour", "code", "wait"),
    [
        (replies(429, {"error": {}}, {"Retry-After": "9" * 5_000}), "provider_busy", None),
        (replies(429, {"error": {}}, {"Retry-After": "\u00b2"}), "provider_busy", None),
        (replies(429, {"error": {}}, {"Retry-After": "7"}), "provider_busy", "7"),
        (streams({"error": {"code": "\u00b2"}}), "provider_error", None),
        (streams({"error": {"code": "9" * 5_000}}), "provider_error", None),
        (streams(f'{{"choices": [], "x": {nested(900)}}}'), "provider_unreadable", None),
    ],
)
def test_what_no_provider_should_send_is_no_failure_of_this_server(
    sdk, provider, behaviour, code, wait
):
    provider.script(behaviour)
    error = failure_of(lambda: stream(sdk))
    assert stored().finish_reason == code
    assert error.status_code in (429, 502)
    assert error.response.headers.get("retry-after") == wait


def test_an_event_without_an_end_is_not_collected(server, token, provider):
    async def endless(exchange):
        exchange.head()
        while True:
            await exchange.raw(b"data: " + b"x" * 65_536 + b"\n")

    provider.script(endless)
    with client_of(server, token) as client:
        assert failure_of(lambda: stream(client)).status_code == 502
    assert stored().finish_reason == "provider_unreadable"
    wait_until(lambda: not provider.running)


@pytest.mark.parametrize("status", [301, 307, 308])
def test_no_redirect_of_a_provider_is_followed(sdk, provider, status):
    provider.script(replies(status, {}, {"Location": f"{provider.url}/elsewhere"}))
    assert failure_of(lambda: ask(sdk)).status_code == 502
    assert [request.path for request in provider.requests] == ["/v1/chat/completions"]


def test_of_a_refusal_without_an_end_only_the_first_is_read(sdk, provider):
    async def endless(exchange):
        head = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        exchange._head(500, head)
        while True:
            await exchange.raw(b"x" * 65_536)

    provider.script(endless)
    assert failure_of(lambda: ask(sdk)).status_code == 502
    assert stored().finish_reason == "provider_error"
    wait_until(lambda: not provider.running)
