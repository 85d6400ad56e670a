"""Whatever is sent: a status that the design gives, a body that names the field, nothing stored."""

import json
import time
import uuid

import pytest

from conversations.models import Conversation, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.factories import fill, make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


@pytest.fixture
def chat(alice):
    return make_conversation(alice)


def send(api, url, text, **extra):
    data = text if isinstance(text, bytes) else text.encode()
    return api.post(url, data, content_type=extra.pop("content_type", "application/json"), **extra)


def deep(levels):
    return "[" * levels + "]" * levels


SAY = '{"role": "user", "content": "x", %s}'


@pytest.mark.parametrize(
    ("body", "status", "attr"),
    [
        ('{"role": "User", "content": "x"}', 400, "role"),
        ('{"role": null, "content": "x"}', 400, "role"),
        ('{"role": ["user"], "content": "x"}', 400, "role"),
        ('{"content": "x"}', 400, "role"),
        ('{"role": "user", "content": ""}', 400, "content"),
        ('{"role": "user", "content": " \\t\\n"}', 400, "content"),
        ('{"role": "user", "content": 5}', 400, "content"),
        ('{"role": "user", "content": null}', 400, "content"),
        ('{"role": "user", "content": "%s"}' % ("x" * 10_001), 400, "content"),
        ('{"role": "user", "content": "a\\u0000b"}', 400, "content"),
        ('{"role": "user", "content": "\\ud83d"}', 400, "content"),
        (SAY % '"contnet": "y"', 400, "contnet"),
        (SAY % '"created_at": "2020-01-01"', 400, "created_at"),
        (SAY % '"sequence": 7', 400, "sequence"),
        (SAY % '"id": "nope"', 400, "id"),
        (SAY % '"id": 7', 400, "id"),
        (SAY % '"prompt_tokens": "5"', 400, "prompt_tokens"),
        (SAY % '"prompt_tokens": true', 400, "prompt_tokens"),
        (SAY % '"prompt_tokens": 1e99', 400, "prompt_tokens"),
        (SAY % '"prompt_tokens": 99999999999', 400, "prompt_tokens"),
        (SAY % '"latency_ms": NaN', 400, "latency_ms"),
        (SAY % '"metadata": []', 400, "metadata"),
        (SAY % '"metadata": null', 400, "metadata"),
        (SAY % '"metadata": {"a": NaN}', 400, "metadata.a"),
        (SAY % '"metadata": {"a": {"b": [-Infinity]}}', 400, "metadata.a.b.0"),
        (SAY % '"metadata": {"a": 1e400}', 400, "metadata.a"),
        (SAY % ('"metadata": {"a": 1%s}' % ("0" * 30)), 400, "metadata.a"),
        (SAY % '"metadata": {"a": "\\u0000"}', 400, "metadata.a"),
        (SAY % '"metadata": {"a\\u0000": 1}', 400, "metadata (a key)"),
        (SAY % '"metadata": {"\\udc00": 1}', 400, "metadata (a key)"),
        (SAY % (f'"metadata": {{"a": {deep(40)}}}'), 400, "metadata"),
        (SAY % (f'"metadata": {{"a": {deep(100_000)}}}'), 400, "metadata"),
        (
            SAY % ('"metadata": {}'.format(json.dumps({f"k{i}": i for i in range(10_000)}))),
            400,
            "metadata",
        ),
        (SAY % '"tool_calls": {}', 400, "tool_calls"),
        (SAY % '"tool_calls": "[]"', 400, "tool_calls"),
        (SAY % '"status": "streaming"', 400, "status"),
        (SAY % '"status": "running"', 400, "status"),
        (SAY % '"detected_mode": "%s"' % ("m" * 51), 400, "detected_mode"),
        (SAY % '"expected_last_sequence": -1', 400, "expected_last_sequence"),
        ('{"messages": []}', 400, "messages"),
        ('{"messages": {}}', 400, "messages"),
        ('{"messages": [1]}', 400, "messages.0"),
        ('{"messages": [{"role": "user", "content": " "}]}', 400, "messages.0.content"),
        ('{"messages": [], "role": "user"}', 400, "role"),
        ("[]", 400, None),
        ('"text"', 400, None),
        ("null", 400, None),
        ("{", 400, None),
        ("{'role': 'user'}", 400, None),
        (deep(100_000), 400, None),
        ("9" * 5_000, 400, None),
        ('{"role": "user", "content": "é"}'.encode("utf-16"), 400, None),
        (b'{"role": "user", "content": "\xff"}', 400, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_message_is_refused_by_name(api, chat, body, status, attr):
    answer = send(api, f"{LIST}/{chat.pk}/messages", body)
    assert answer.status_code == status, answer.content
    assert attr in [error["attr"] for error in answer.json()["errors"]], answer.content
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    chat.refresh_from_db()
    assert (Message.objects.count(), chat.last_sequence, chat.title) == (0, 0, "New Chat")


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ('{"titel": "x"}', "titel"),
        ('{"title": 5}', "title"),
        ('{"title": ""}', "title"),
        ('{"title": "%s"}' % ("x" * 256), "title"),
        ('{"title": "\\ud800"}', "title"),
        ('{"user_id": {}}', "user_id"),
        ('{"user_id": true}', "user_id"),
        ('{"user_id": null}', "user_id"),
        ('{"user_id": -1}', "user_id"),
        ('{"user_id": 1e17}', "user_id"),
        ('{"user_id": 1%s}' % ("0" * 40), "user_id"),
        ('{"user_id": ""}', "user_id"),
        ('{"user_id": "%s"}' % ("x" * 151), "user_id"),
        ('{"user_id": "a\\u0000"}', "user_id"),
        ('{"metadata": {"a": NaN}}', "metadata.a"),
        ('{"message_count": 5}', "message_count"),
        ("{{{}}}".format(", ".join(f'"k{i}": 1' for i in range(10_000))), "k0"),
        ('{"\\u0000": 1}', "\x00"),
        ('{"\\ud800": 1}', "\\ud800"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_conversation_is_refused_by_name(backend, body, attr):
    answer = send(backend, LIST, body)
    assert answer.status_code == 400, answer.content
    assert attr in [error["attr"] for error in answer.json()["errors"]], answer.content
    assert len(answer.json()["errors"]) <= 10
    assert Conversation.objects.count() == 0


def test_an_unknown_field_names_the_nearest_real_one(api, chat):
    answer = send(api, f"{LIST}/{chat.pk}/messages", SAY % '"tool_cals": []')
    assert "`tool_calls`" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("path", ["", "/messages", "/messages/{id}"])
def test_a_malformed_uuid_is_400_and_named(api, chat, path):
    url = f"{LIST}/nope{path}".format(id=uuid.uuid4())
    for method in ("get", "patch", "delete", "post"):
        answer = getattr(api, method)(url, {"title": "x"} if method == "patch" else None)
        if answer.status_code != 405:
            assert answer.status_code == 400
            assert answer.json()["errors"][0]["attr"] in {"conversation_id", "title"}
    message = api.get(f"{LIST}/{chat.pk}/messages/nope")
    assert (message.status_code, message.json()["errors"][0]["attr"]) == (400, "message_id")


def test_a_body_of_20_mb_is_413(api, chat):
    answer = send(api, f"{LIST}/{chat.pk}/messages", SAY % ('"name": "%s"' % ("x" * 20_000_000)))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (413, "too_large")
    assert Message.objects.count() == 0


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x"]
)
def test_another_content_type_is_415(api, chat, kind):
    for url in (LIST, f"{LIST}/{chat.pk}/messages"):
        assert send(api, url, "{}", content_type=kind).status_code == 415


def test_json_with_a_charset_is_json(api):
    answer = send(api, LIST, '{"title": "é"}', content_type="application/json; charset=utf-8")
    assert answer.json()["title"] == "é"


def test_an_unknown_query_parameter_is_refused_by_name(api, chat):
    answer = api.get(f"{LIST}?page_sise=5")
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "page_sise")
    assert "`page_size`" in answer.json()["errors"][0]["detail"]
    assert api.delete(f"{LIST}/{chat.pk}?force=1").status_code == 400
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_a_bad_idempotency_key_is_refused_by_name(api, chat, key):
    answer = api.post(
        f"{LIST}/{chat.pk}/messages",
        {"role": "user", "content": "x"},
        headers={"Idempotency-Key": key},
    )
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "Idempotency-Key")


def test_an_unknown_route_answers_in_the_apis_form(api):
    answer = api.get("/api/nothing/here")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "not_found")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(("sent", "kept"), [("abc-1", True), ("x" * 65, False), ("a b", False)])
def test_a_plain_request_id_is_taken_over(api, sent, kept):
    answer = api.get(f"{LIST}/nope", headers={"X-Request-ID": sent})
    assert (answer.headers["X-Request-ID"] == sent) is kept


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ('{"role": "user", "content": "a", "content": "b"}', "content"),
        ('{"role": "user", "content": "a", "content": "a"}', "content"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "a", "role": "b"}]}',
            "messages.1.role",
        ),
        (SAY % '"metadata": {"a": {"b": [[], {"c": 1, "c": 2}]}}', "metadata.a.b.1.c"),
        ('{"a": {"x": 1, "x": 1}, "b": {"y": 1, "y": 1}}', "a.x"),
        (SAY % '"metadata": {"k": 1, "\\u006b": 2}', "metadata.k"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_and_named(api, chat, body, attr):
    answer = send(api, f"{LIST}/{chat.pk}/messages", body)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["code"], error["attr"]) == ("repeated_key", attr)
    assert not Message.objects.exists()


def test_the_same_key_in_two_objects_is_no_repetition(api, chat):
    body = SAY % '"metadata": {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}'
    assert send(api, f"{LIST}/{chat.pk}/messages", body).status_code == 201


def test_a_repeated_key_is_found_in_time_that_grows_with_the_body(api, chat):
    nested = '{"a": [' * 400 + '{"z": 1, "z": 1}' + "]}" * 400
    body = '{"metadata": [' + ",".join(["{}"] * 300_000 + [nested]) + "]}"
    began = time.thread_time()  # of this thread alone, whatever else the machine does
    answer = send(api, f"{LIST}/{chat.pk}/messages", body)
    assert time.thread_time() - began < 5
    assert answer.json()["errors"][0]["code"] == "repeated_key"


@pytest.mark.parametrize("path", ["streams/{}", "ask-stream?question=Hi"])
@pytest.mark.parametrize(
    "stream", ["-" * 36, "0" * 36, "0198c5a000007000-8000-0000-00000000-", "0" * 35 + "-"]
)
def test_an_event_id_that_is_none_is_refused(api, chat, path, stream):
    fill(chat, 2)
    path = "/api/chat/" + path.format(Message.objects.get(role="assistant").id)
    answer = api.get(path, headers={"Last-Event-ID": f"{stream}:1.0.1"})
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "Last-Event-ID")


@pytest.mark.parametrize(
    ("calls", "at"),
    [
        ('["x"]', "tool_calls.0"),
        ('[{"id": "a"}, 7]', "tool_calls.1"),
        ('[{"id": "a", "function": "f"}]', "tool_calls.0.function"),
    ],
)
def test_tool_calls_that_no_reader_could_read_are_refused(api, chat, calls, at):
    where = f"/api/conversations/{chat.pk}/messages"
    said = f'{{"role": "assistant", "tool_calls": {calls}}}'
    for body, path in ((said, at), (f'{{"messages": [{said}]}}', f"messages.0.{at}")):
        answer = send(api, where, body)
        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, path)
        assert answer.json()["errors"][0]["code"] == "not_an_object"
    assert not Message.objects.exists()


@pytest.mark.parametrize("calls", [["x", None], [{"id": "a", "function": "f"}], [[1], 2]])
def test_older_rows_with_such_calls_are_read(api, chat, calls):
    append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role="assistant", content="Hi", tool_calls=[{}])],
        access=SCRIPT,
    )
    Message.objects.update(tool_calls=calls)
    message = Message.objects.get()
    assert api.get(f"/api/conversations/{chat.pk}").json()["messages"][0]["tool_calls"] == calls
    events = b"".join(api.get(f"/api/chat/streams/{message.id}")).decode()
    assert events.count("event: tool_call") == len(calls)
    assert "event: done" in events
