"""POST /v1/chat/completions with OpenAI's own clients, which check every answer strictly."""

import asyncio
import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from openai import APIError, APIStatusError, APITimeoutError

from conversations.models import AccessRecord, Conversation, Message, UnstoredTurn
from conversations.tests.chat.scripted_behaviours import (
    Call,
    Chunk,
    breaks,
    calls,
    drops,
    replies,
    says,
    says_json,
    streams,
    thinks,
)
from conversations.tests.chat.scripted_provider import TEXT
from conversations.tests.factories import client_for, make_conversation, make_token, make_user

from .forwarding import *  # noqa: F403
from .forwarding import ask, asked, async_client_of, client_of, says_hi, stored, stream

pytestmark = pytest.mark.django_db(transaction=True)

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


def text_of(chunks):
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices if not choice.index]
    return "".join(delta.content or "" for delta in deltas)


def test_an_answer_is_passed_on_and_recorded(sdk, provider):
    provider.script(says("Hel", "lo"))
    answer = ask(sdk)
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1, 2)
    question, row = Message.objects.order_by("sequence")
    assert (question.role, question.content) == ("user", "Hi")
    assert answer.id == f"chatcmpl-{row.id.hex}"
    assert (row.content, row.status, row.finish_reason) == ("Hello", "complete", "stop")
    assert (row.provider, row.model) == ("scripted", "scripted")
    assert (row.prompt_tokens, row.completion_tokens) == (1, 2)
    assert row.latency_ms is not None
    assert row.first_token_ms is None
    assert row.extra["id"].startswith("chatcmpl-")
    assert row.extra["id"] != answer.id


def test_a_stream_is_passed_on_and_recorded(sdk, provider):
    provider.script(says("Hel", "lo"))
    with stream(sdk) as chunks:
        found = list(chunks)
    row = stored()
    assert {chunk.id for chunk in found} == {f"chatcmpl-{row.id.hex}"}
    assert text_of(found) == row.content == "Hello"
    assert found[-1].choices[0].finish_reason == row.finish_reason == "stop"
    assert row.status == "complete"
    assert row.latency_ms >= row.first_token_ms


@pytest.mark.parametrize("wanted", [None, {"include_usage": False}, {"include_usage": True}])
def test_counts_are_always_asked_for_and_shown_to_who_asked(sdk, provider, wanted):
    provider.script(says("Hi", usage={"prompt_tokens_details": {"cached_tokens": 1}}))
    options = {} if wanted is None else {"stream_options": wanted}
    with stream(sdk, **options) as chunks:
        found = list(chunks)
    assert asked(provider)["stream_options"]["include_usage"] is True
    shown = [chunk.usage for chunk in found if chunk.usage]
    assert len(shown) == bool(wanted and wanted["include_usage"])
    assert all(chunk.choices or chunk.usage for chunk in found)
    row = stored()
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (1, 1, 1)


def test_both_forms_work_with_the_asynchronous_client(server, token, provider):
    async def talk():
        async with async_client_of(server, token) as client:
            whole = await ask(client)
            pieces = [chunk async for chunk in await stream(client, says_hi("Again"))]
        return whole.choices[0].message.content, text_of(pieces)

    provider.script(says("One"), says("Tw", "o"))
    assert asyncio.run(talk()) == ("One", "Two")
    answers = Message.objects.filter(role="assistant").order_by("created_at")
    assert [row.content for row in answers] == ["One", "Two"]


def test_the_provider_gets_what_the_client_sent(sdk, provider):
    options = {"temperature": 0.25, "seed": 7, "stop": ["a", "b"], "top_k": 3, "chat": {"x": [1]}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What?"}], "cache_control": {"t": 1}},
    ]
    extra = {name: options.pop(name) for name in ("top_k", "chat")}
    ask(sdk, messages, **options, extra_body=extra, user="u-1", metadata={"a": "b"}, store=True)
    assert asked(provider) == {
        "model": "scripted",
        "messages": messages,
        **options,
        **extra,
        "user": "u-1",
    }
    row = stored()
    assert row.metadata == {"a": "b"}
    assert row.extra["request"] == options | extra | {"user": "u-1"}


def test_of_a_large_option_the_record_keeps_the_name(sdk, provider):
    ask(sdk, tools=[WEATHER], extra_body={"guide": "x" * 2_000})
    assert asked(provider)["guide"] == "x" * 2_000
    assert stored().extra["request"] == {"tools": ["weather"], "left_out": ["guide"]}


@pytest.mark.parametrize(
    ("name", "sent"),
    [("scripted/a/b", "a/b"), ("a/b", "a/b"), ("small", "small"), ("openai/x", "openai/x")],
)
def test_a_model_is_named_with_its_provider_or_is_the_default_ones(sdk, provider, name, sent):
    ask(sdk, model=name)
    assert asked(provider)["model"] == sent
    assert (stored().provider, stored().model) == ("scripted", sent)


def test_calls_of_tools_are_streamed_and_recorded_in_their_order(sdk, provider):
    wanted = [Call("weather", {"city": "Rome"}, "call_1"), Call("weather", {"city": "Oslo"}, "c2")]
    provider.script(calls(*wanted, text="A moment. "), calls(*wanted))
    with stream(sdk, tools=[WEATHER], parallel_tool_calls=True) as chunks:
        found = list(chunks)
    assert found[-1].choices[0].finish_reason == "tool_calls"
    pieces = [
        call
        for chunk in found
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]
    assert {piece.index for piece in pieces} == {0, 1}
    row = stored()
    assert (row.content, row.status, row.finish_reason) == ("A moment. ", "complete", "tool_calls")
    assert row.tool_calls == [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps(call.arguments)},
        }
        for call in wanted
    ]
    answer = ask(sdk, tools=[WEATHER])
    assert [call.id for call in answer.choices[0].message.tool_calls] == ["call_1", "c2"]
    again = Message.objects.get(id=answer.id.removeprefix("chatcmpl-"))
    assert (again.content, again.status) == ("", "complete")
    assert again.tool_calls == row.tool_calls


def test_an_answer_in_json_is_passed_on(sdk, provider):
    schema = {"name": "city", "schema": {"type": "object", "properties": {}}}
    wanted = {"type": "json_schema", "json_schema": schema}
    provider.script(says_json({"city": "Rome"}))
    answer = ask(sdk, response_format=wanted)
    assert json.loads(answer.choices[0].message.content) == {"city": "Rome"}
    assert asked(provider)["response_format"] == wanted
    assert json.loads(stored().content) == {"city": "Rome"}
    assert stored().extra["request"]["response_format"] == wanted


def test_an_image_is_passed_on_and_recorded(sdk, provider):
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    ask(sdk, says_hi(parts))
    assert asked(provider)["messages"][0]["content"] == parts
    question = Message.objects.get(role="user")
    assert (question.content, question.parts) == ("What is it?", parts)


def test_reasoning_is_passed_on_and_recorded(sdk, provider):
    provider.script(says(*thinks("Let ", "me see"), "Six"))
    with stream(sdk) as chunks:
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    thought = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    assert "".join(thought) == "Let me see"
    row = stored()
    assert row.content == "Six"
    assert row.parts[0]["content"][0]["text"] == "Let me see"


def test_what_has_no_column_is_kept(sdk, provider):
    token = {"token": "H", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    provider.script(
        says(
            Chunk(
                {"content": "H"},
                {"logprobs": {"content": [token], "refusal": None}},
                {"system_fingerprint": "fp", "service_tier": "flex"},
            ),
            Chunk(
                {"content": "i"},
                {"logprobs": {"content": [token | {"token": "i"}], "refusal": None}},
            ),
            Chunk({"annotations": [{"type": "x", "n": 1}]}),
        )
    )
    with stream(sdk, logprobs=True) as chunks:
        found = list(chunks)
    # Each piece once, although the record joins them.
    tokens = [
        [one.token for one in choice.logprobs.content]
        for chunk in found
        for choice in chunk.choices
        if choice.logprobs
    ]
    assert tokens == [["H"], ["i"]]
    extra = stored().extra
    assert [one["token"] for one in extra["logprobs"]["content"]] == ["H", "i"]
    assert (extra["system_fingerprint"], extra["service_tier"]) == ("fp", "flex")
    assert extra["annotations"] == [{"type": "x", "n": 1}]


def test_a_refusal_is_what_was_said(sdk, provider):
    provider.script(says(Chunk({"refusal": "I can"}), Chunk({"refusal": "not."})))
    list(stream(sdk))
    row = stored()
    assert (row.content, row.status, row.extra["refusal"]) == ("I cannot.", "complete", "I cannot.")


def test_of_several_answers_the_first_is_the_message(sdk, provider):
    def choice(index, text):
        return {"index": index, "delta": {"content": text}, "finish_reason": None}

    def end(index):
        return {"index": index, "delta": {}, "finish_reason": "stop"}

    def chunk(*choices):
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
        return head | {"choices": list(choices)}

    provider.script(
        streams(
            chunk(choice(0, "One")),
            chunk(choice(1, "Tw")),
            chunk(choice(1, "o"), choice(0, "!")),
            chunk(end(1), end(0)),
        )
    )
    with stream(sdk, n=2) as chunks:
        assert len(list(chunks)) == 4
    row = stored()
    assert row.content == "One!"
    assert row.extra["other_choices"] == [
        {"index": 1, "delta": {"content": "Two"}, "finish_reason": "stop"}
    ]


def test_store_false_keeps_counts_alone(sdk, provider):
    answer = sdk.chat.completions.with_raw_response.create(
        model="scripted", messages=says_hi("A secret"), store=False
    )
    assert "X-Conversation-Id" not in answer.headers
    list(stream(sdk, says_hi("Another"), store=False))
    assert not Message.objects.exists()
    assert not Conversation.objects.exists()
    rows = UnstoredTurn.objects.order_by("id")
    assert [(row.status, row.completion_tokens) for row in rows] == [("complete", 1)] * 2


def test_the_answer_names_its_conversation_which_goes_on(sdk, provider):
    first = sdk.chat.completions.with_raw_response.create(model="scripted", messages=says_hi())
    name = first.headers["X-Conversation-Id"]
    assert name == f"conv_{Conversation.objects.get().pk.hex}"
    assert first.headers["x-request-id"]
    history = [*says_hi(), {"role": "assistant", "content": TEXT}]
    for text, options in (
        ("More", {"extra_headers": {"X-Conversation-Id": name}}),
        ("Last", {"extra_body": {"conversation_id": name}}),
    ):
        history += says_hi(text)
        answer = ask(sdk, history, **options)
        history.append({"role": "assistant", "content": answer.choices[0].message.content})
    rows = Message.objects.order_by("sequence").values_list("role", "content")
    assert [content for role, content in rows if role == "user"] == ["Hi", "More", "Last"]
    assert Conversation.objects.get().message_count == 6
    assert sdk.conversations.retrieve(name).id == name


def test_the_stream_is_as_openai_frames_it(server, token, provider):
    lines = raw_lines(server, token, says_hi())
    assert all(line.startswith("data: ") for line in lines if line)
    assert lines[-3:] == ["data: [DONE]", "", ""]
    chunk = json.loads(lines[0].removeprefix("data: "))
    assert list(chunk) == ["id", "object", "created", "model", "choices"]


def test_signs_of_life_are_passed_on(server, token, provider):
    provider.script(
        streams(
            b": OPENROUTER PROCESSING\n\n",
            b'event: chunk\r\ndata: {"choices": [{"index": 0,\r\n',
            b'data: "delta": {"content": "Hi"}}]}\r\n\r\n',
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        )
    )
    lines = raw_lines(server, token, says_hi())
    assert lines[0] == ": keep-alive"
    assert json.loads(lines[2].removeprefix("data: "))["choices"][0]["delta"]["content"] == "Hi"
    assert stored().content == "Hi"


def raw_lines(server, token, messages):
    request = urllib.request.Request(
        f"{server.url}/v1/chat/completions",
        data=json.dumps({"model": "scripted", "messages": messages, "stream": True}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        assert reply.headers["X-Accel-Buffering"] == "no"
        assert reply.headers["X-Request-ID"]
        return reply.read().decode().split("\n")


def test_a_server_that_answers_whole_is_streamed_all_the_same(sdk, provider):
    message = {"role": "assistant", "content": "Hi", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    provider.script(replies(200, answer | {"choices": [choice]}))
    with stream(sdk) as chunks:
        assert text_of(list(chunks)) == "Hi"
    assert (stored().content, stored().extra["model"]) == ("Hi", "m")


def test_an_empty_answer_is_passed_on_and_recorded_as_one(sdk, provider):
    provider.script(says(finish="length"), says(finish="length"))
    assert ask(sdk).choices[0].finish_reason == "length"
    row = stored()
    assert (row.status, row.finish_reason, row.content) == ("failed", "empty_answer", "")
    with stream(sdk, says_hi("Again")) as chunks:
        assert list(chunks)[-1].choices[0].finish_reason == "length"


def test_a_repeated_request_with_its_key_is_answered_from_the_record(sdk, provider):
    provider.script(calls(Call("weather", {"a": 1}, "c1"), text="See"))
    options = {"extra_headers": {"Idempotency-Key": "k-1"}, "tools": [WEATHER]}
    first = ask(sdk, **options)
    again = ask(sdk, **options)
    assert again.id == first.id
    assert again.choices[0].message.content == "See"
    (call,) = again.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("c1", "weather", '{"a": 1}')
    assert again.usage.total_tokens == first.usage.total_tokens
    with stream(sdk, **options, stream_options={"include_usage": True}) as chunks:
        found = list(chunks)
    assert text_of(found) == "See"
    assert found[0].choices[0].delta.tool_calls[0].function.name == "weather"
    assert [chunk.choices[0].finish_reason for chunk in found[:2]] == [None, "tool_calls"]
    assert found[-1].usage.total_tokens == first.usage.total_tokens
    assert len(provider.chats) == 1
    assert Message.objects.count() == 2


def test_an_equal_request_meanwhile_waits_for_the_same_answer_and_ends_it_not(
    sdk, server, token, provider
):
    provider.script(says("Hel", "lo, ", "you", pause=1.0))
    options = {"extra_headers": {"Idempotency-Key": "k-1"}}
    with stream(sdk, **options) as chunks, ThreadPoolExecutor(2) as pool:
        begun = next(chunks)
        again = pool.submit(ask, sdk, **options)
        with client_of(server, token, timeout=1) as hasty, pytest.raises(APITimeoutError):
            ask(hasty, **options)
        assert text_of([begun, *chunks]) == "Hello, you"
        assert again.result().choices[0].message.content == "Hello, you"
    assert len(provider.chats) == 1
    assert stored().status == "complete"


def test_what_came_to_no_answer_is_asked_again_under_the_same_key(sdk, provider):
    provider.script(breaks(), drops("Hel"), says("Hello"))
    options = {"extra_headers": {"Idempotency-Key": "k-1"}}
    for _ in range(2):
        with pytest.raises(APIError):
            list(stream(sdk, **options))
    assert [ask(sdk, **options).choices[0].message.content for _ in range(2)] == ["Hello"] * 2
    assert len(provider.chats) == 3
    rows = Message.objects.order_by("sequence").values_list("role", "status", "content")
    assert list(rows) == [
        ("user", "complete", "Hi"),
        ("assistant", "failed", ""),
        ("assistant", "failed", "Hel"),
        ("assistant", "complete", "Hello"),
    ]
    assert Conversation.objects.get().branch_count == 3


def test_a_repeat_by_the_sdk_doubles_nothing(server, token, provider):
    provider.script(breaks(503), breaks(500), says("Hello"))
    with client_of(server, token, max_retries=2) as client:
        assert ask(client).choices[0].message.content == "Hello"
    assert Message.objects.filter(role="user").count() == 1
    statuses = Message.objects.filter(role="assistant").order_by("sequence")
    assert [row.status for row in statuses] == ["failed", "failed", "complete"]
    assert Conversation.objects.count() == 1


def test_a_whole_chat_is_one_conversation_without_any_name(sdk, provider):
    history = []
    for number in range(3):
        provider.script(says(f"answer {number}"))
        history += says_hi(f"question {number}")
        answer = ask(sdk, history)
        history.append({"role": "assistant", "content": answer.choices[0].message.content})
    assert Conversation.objects.get().message_count == 6
    provider.script(says("another answer"))
    ask(sdk, history[:-1])  # regenerates
    provider.script(says("to the edited one"))
    ask(sdk, [*history[:4], *says_hi("edited")])
    chat = Conversation.objects.get()
    assert (chat.message_count, chat.branch_count) == (9, 3)


def test_what_an_interface_asks_for_itself_is_counted_alone(sdk, provider):
    title = "### Task:\nGenerate a concise, 3-5 word title\n### Chat History:\nUSER: Hi"
    headers = {"X-Conversation-Id": "chat 1"}
    ask(sdk, says_hi(title), extra_headers=headers)
    ask(sdk, says_hi("Any words"), extra_headers=headers | {"X-Task": "title_generation"})
    assert not Message.objects.exists()
    assert UnstoredTurn.objects.count() == 2
    ask(sdk, extra_headers=headers | {"X-Task": ""})
    assert Conversation.objects.get().external_id == "chat 1"


def test_a_request_under_another_ones_key_is_refused(sdk, provider):
    headers = {"Idempotency-Key": "k-1"}
    ask(sdk, extra_headers=headers)
    refused = sdk.with_options(max_retries=2).chat.completions.with_raw_response
    with pytest.raises(Exception, match="Idempotency-Key") as error:
        refused.create(model="scripted", messages=says_hi("Other"), extra_headers=headers)
    assert error.value.status_code == 409
    assert len(provider.chats) == 1


def test_a_trusted_client_names_the_user(server, transactional_db, provider):
    token = make_token(make_user("crm"), trusted=True)
    with client_of(server, token, default_headers={"X-User-Id": "carol"}) as client:
        ask(client)
    assert Conversation.objects.get().user.username == "carol"


@pytest.mark.parametrize(
    ("kind", "status", "owner"),
    [
        ("owner", 200, "owner"),
        ("stranger", 404, None),
        ("trusted", 200, "owner"),
        ("reader", 403, None),
        ("superuser", 200, "owner"),
        ("nobody", 401, None),
    ],
)
def test_who_may_go_on_in_a_conversation(server, transactional_db, provider, kind, status, owner):
    chat = make_conversation(make_user("owner"))
    rights = {
        "reader": ("view_conversation", "view_message"),
    }.get(kind, ())
    known = {"owner": chat.user, "nobody": None}
    user = (
        known[kind]
        if kind in known
        else make_user(
            kind,
            *rights,
            is_staff=kind in ("reader", "superuser"),
            is_superuser=kind == "superuser",
        )
    )
    token = make_token(user, trusted=kind == "trusted") if user else "nothing"
    with client_of(server, token) as client:
        headers = {"X-Conversation-Id": f"conv_{chat.pk.hex}"}
        try:
            found = ask(client, extra_headers=headers) and 200
        except APIStatusError as error:
            found = error.status_code
    assert found == status
    assert len(provider.chats) == (status == 200)
    assert {row.user.username for row in Message.objects.all()} == ({owner} if owner else set())
    assert AccessRecord.objects.filter(action="change").exists() == (kind == "superuser")


def test_the_statements_before_the_model_do_not_grow(scripted, transactional_db):
    """For a history of 2 and of 200 messages, without a server between."""
    client, counts = client_for(make_user("alice")), []
    for turns in (1, 100):
        history = says_hi(f"{turns}")
        for number in range(turns):
            history += [{"role": "assistant", "content": f"a {number}"}, *says_hi(f"q {number}")]
        chat = {"conversation_id": f"chat of {turns}"}
        client.post("/v1/chat/completions", {"model": "m", "messages": history} | chat, "json")
        history += [{"role": "assistant", "content": TEXT}, *says_hi("More")]
        with CaptureQueriesContext(connection) as seen:
            body = {"model": "m", "messages": history} | chat
            assert client.post("/v1/chat/completions", body, "json").status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 9


def test_the_lines_of_the_documentation_work(server, token, provider, capsys):
    page = (settings.BASE_DIR / "docs" / "v1.md").read_text()
    sections = {section.partition("\n")[0]: section for section in page.split("\n## ")}
    shown = sections["# `/v1`: OpenAI's API on your own record"] + sections["Chat completions"]
    code = "".join(re.findall(r"```python\n(.*?)```", shown, re.S))
    for given, here in (
        ("http://127.0.0.1:8000", server.url),
        ("TOKEN", token),
        ("embedded/SmolLM2-135M-Instruct", "scripted/scripted"),
    ):
        assert given in code
        code = code.replace(given, here)
    provider.script(says("24 degrees."))
    exec(compile(code, "docs/v1.md", "exec"), {})
    assert capsys.readouterr().out == "24 degrees.\n"
