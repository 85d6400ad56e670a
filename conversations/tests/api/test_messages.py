import uuid
from typing import Any

import pytest

from conversations.models import Message
from conversations.services import get_chat_history
from conversations.tests.factories import make_conversation

pytestmark = pytest.mark.django_db
FIELDS = [
    "id",
    "conversation_id",
    "sequence",
    "branch",
    "parent_id",
    "siblings",
    "role",
    "content",
    "parts",
    "tool_calls",
    "tool_call_id",
    "name",
    "provider",
    "model",
    "sources",
    "detected_mode",
    "status",
    "finish_reason",
    "error",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost",
    "latency_ms",
    "first_token_ms",
    "rating",
    "rating_comment",
    "metadata",
    "extra",
    "emptied_at",
    "created_at",
    "updated_at",
]
ANSWER: dict[str, Any] = {
    "role": "assistant",
    "content": "It is 5.",
    "parts": [{"type": "text", "text": "It is 5."}],
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add"}}],
    "name": "calculator",
    "provider": "openai",
    "model": "gpt-4o",
    "sources": [{"score": 0.5, "text": "2+3"}],
    "detected_mode": "maths",
    "status": "stopped",
    "finish_reason": "stop",
    "error": None,
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "cached_tokens": 3,
    "reasoning_tokens": 2,
    "cost": "0.0000025",
    "latency_ms": 900,
    "first_token_ms": 120,
    "metadata": {"trace": "t", "precise": 0.1, "big": 2**63},
    "extra": {"refusal": None, "logprobs": {"content": []}},
}


@pytest.fixture
def chat(alice):
    return make_conversation(alice)


@pytest.fixture
def url(chat):
    return f"/api/conversations/{chat.pk}/messages"


def test_a_message_comes_back_as_it_was_sent(api, url):
    sent = api.post(url, ANSWER)
    assert sent.status_code == 201
    assert list(sent.json()) == FIELDS
    assert {name: sent.json()[name] for name in ANSWER} == ANSWER
    assert api.get(f"{url}/{sent.json()['id']}").json() == sent.json()
    assert api.get(url).json()["messages"] == [sent.json()]


def test_a_plain_message_has_the_defaults_of_the_design(api, url, chat):
    body = api.post(url, {"role": "user", "content": " hi "}).json()
    assert (body["content"], body["sequence"], body["provider"], body["model"]) == (
        " hi ",
        1,
        "",
        "",
    )
    assert body["conversation_id"] == str(chat.pk)
    assert body["status"] == "complete"
    assert body["created_at"] == body["updated_at"]
    assert body["created_at"].endswith("Z")


def test_many_at_once_are_stored_in_order(api, url):
    messages = [{"role": "user", "content": str(i)} for i in range(1_000)]
    answer = api.post(url, {"messages": messages})
    assert answer.status_code == 201
    assert [m["content"] for m in answer.json()["messages"]] == [m["content"] for m in messages]
    assert [m["sequence"] for m in answer.json()["messages"]] == list(range(1, 1_001))


def test_one_bad_message_stores_none_and_its_index_is_named(api, url):
    messages = [{"role": "user", "content": "ok"}, {"role": "robot", "content": "x"}]
    answer = api.post(url, {"messages": messages})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["attr"] == "messages.1.role"
    assert Message.objects.count() == 0


def test_more_than_a_thousand_at_once_are_refused(api, url):
    answer = api.post(url, {"messages": [{"role": "user", "content": "x"}] * 1_001})
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "messages")


def test_without_a_body_the_query_string_is_the_message(api, url):
    answer = api.post(url + '?role=assistant&content=&tool_calls=[{"id":"c"}]')
    assert answer.status_code == 201
    assert answer.json()["tool_calls"] == [{"id": "c"}]
    missing = api.post(url + "?content=hello")
    assert (missing.status_code, missing.json()["errors"][0]["attr"]) == (400, "role")
    broken = api.post(url + "?role=user&content=x&tool_calls=[")
    assert broken.status_code == 400


def test_a_repeated_append_answers_what_is_stored(api, url):
    def send(content, key="k"):
        body = {"role": "user", "content": content, "expected_last_sequence": 0}
        return api.post(url, body, headers={"Idempotency-Key": key})

    first, again, other, stale = send("a"), send("a"), send("b"), send("a", key="l")
    assert [r.status_code for r in (first, again, other, stale)] == [201, 200, 409, 409]
    assert first.json() == again.json()
    assert stale.json()["errors"][0]["code"] == "stale_sequence"
    assert Message.objects.count() == 1


def test_a_batch_with_client_ids_can_be_repeated(api, url):
    body = {"messages": [{"id": str(uuid.uuid4()), "role": "user", "content": "x"}] * 1}
    first, again = api.post(url, body), api.post(url, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_ids_and_a_key_together_are_refused(api, url):
    body = {"id": str(uuid.uuid4()), "role": "user", "content": "x"}
    assert api.post(url, body, headers={"Idempotency-Key": "k"}).status_code == 400


def test_a_message_can_be_rated_and_what_was_said_cannot_change(api, url):
    message = api.post(url, ANSWER).json()
    one = f"{url}/{message['id']}"
    rated = api.patch(one, {"rating": -1, "rating_comment": "wrong", "metadata": {"seen": True}})
    assert rated.status_code == 200
    assert (rated.json()["rating"], rated.json()["metadata"]) == (-1, {"seen": True})
    assert rated.json()["updated_at"] > message["updated_at"]
    for body, status, code in (
        ({"content": "x"}, 409, "turn_ended"),
        ({"role": "user"}, 400, "read_only"),
    ):
        refused = api.patch(one, body)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (status, code)
    assert api.patch(one, {"rating": 2}).status_code == 400
    assert api.patch(one, {"rating": None}).json()["rating"] is None


def test_a_message_can_be_deleted(api, url, chat):
    message = api.post(url, ANSWER).json()
    answer = api.delete(f"{url}/{message['id']}")
    assert answer.json() == {"status": "deleted", "message_id": message["id"]}
    assert api.get(f"{url}/{message['id']}").status_code == 404
    assert get_chat_history(conversation_id=chat.pk) == []


def test_a_message_of_another_conversation_is_not_found(api, url, alice):
    other = make_conversation(alice, messages=1)
    message = get_chat_history(conversation_id=other.pk)[0]
    assert api.get(f"{url}/{message.id}").status_code == 404
    assert api.patch(f"{url}/{message.id}", {"rating": 1}).status_code == 404
    assert api.delete(f"{url}/{message.id}").status_code == 404


def test_a_tool_call_is_linked_to_its_result(api, url):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    api.post(url, {"role": "assistant", "tool_calls": [call]})
    api.post(url, {"role": "tool", "tool_call_id": "call_1", "content": "[]"})
    asked, answered = api.get(url).json()["messages"]
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert asked["content"] == ""


def test_a_trusted_client_sets_the_time_and_a_person_does_not(api, backend, url, chat):
    said = {"role": "user", "content": "x", "created_at": "2020-01-02T03:04:05.5+02:00"}
    refused = api.post(url, {"messages": [{"role": "user", "content": "x"}, said]})
    assert refused.status_code == 400
    assert (refused.json()["errors"][0]["attr"], refused.json()["errors"][0]["code"]) == (
        "messages.1.created_at",
        "read_only",
    )
    stored = backend.post(url, said)
    assert stored.status_code == 201
    assert stored.json()["created_at"] == "2020-01-02T01:04:05.500000Z"
    again = backend.post(url, said | {"created_at": "2019-01-01T00:00:00Z"}).json()
    assert again["sequence"] == stored.json()["sequence"] + 1


@pytest.mark.parametrize(
    "time", ["2020-01-02T03:04:05", "2020-01-02", "yesterday", 5, None, "9999-12-31T23:59:59-23:59"]
)
def test_a_time_needs_an_offset(backend, url, time):
    refused = backend.post(url, {"role": "user", "content": "x", "created_at": time})
    assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (400, "created_at")


def test_the_limit_of_characters_is_not_for_trusted_clients(api, backend, url, settings):
    settings.CHAT_MAX_MESSAGE_CHARS = 10
    long = {"role": "user", "content": "x" * 11}
    refused = api.post(url, long)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "max_length")
    assert backend.post(url, long).status_code == 201
