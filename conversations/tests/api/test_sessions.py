"""The session-named contract: the same resource, other names, 422 for validation errors."""

import uuid

import pytest

from conversations.models import Conversation, Message
from conversations.tests.factories import client_for, make_conversation

pytestmark = pytest.mark.django_db
URL = "/api/chat-history/sessions"


def problems(answer):
    assert answer.status_code == 422, answer.content
    assert list(answer.json()) == ["detail"]
    assert all(list(problem) == ["loc", "msg", "type"] for problem in answer.json()["detail"])
    return {tuple(problem["loc"]): problem["type"] for problem in answer.json()["detail"]}


def test_a_session_is_created_for_the_user_it_names(backend):
    answer = backend.post(URL, {"user_id": 2_000, "title": "Security Q&A"})
    assert answer.status_code == 201
    assert (answer.json()["user_id"], answer.json()["title"]) == (2_000, "Security Q&A")
    listed = backend.get(f"{URL}?user_id=2000").json()
    assert [item["id"] for item in listed["sessions"]] == [answer.json()["id"]]
    assert listed["count"] == 1


def test_the_detail_wraps_the_session_beside_its_messages(api, alice):
    chat = make_conversation(alice, messages=2, title="T")
    body = api.get(f"{URL}/{chat.pk}").json()
    assert list(body) == ["session", "messages", "messages_next"]
    assert (body["session"]["id"], body["session"]["title"]) == (str(chat.pk), "T")
    message = body["messages"][0]
    assert message["session_id"] == str(chat.pk)
    assert "conversation_id" not in message
    wanted = {"role", "content", "provider", "model", "sources", "detected_mode", "created_at"}
    assert wanted <= message.keys()


def test_messages_carry_the_sessions_id_everywhere(api, alice):
    chat = make_conversation(alice)
    url = f"{URL}/{chat.pk}/messages"
    one = api.post(url, {"role": "user", "content": "hi"})
    many = api.post(url, {"messages": [{"role": "assistant", "content": "yo"}]})
    assert (one.status_code, many.status_code) == (201, 201)
    rated = api.patch(f"{url}/{one.json()['id']}", {"rating": 1})
    listed = api.get(url).json()["messages"]
    shown = [one.json(), *many.json()["messages"], rated.json(), *listed]
    shown.append(api.get(f"{url}/{one.json()['id']}").json())
    assert {message["session_id"] for message in shown} == {str(chat.pk)}
    assert all("conversation_id" not in message for message in shown)


def test_only_the_session_routes_set_a_provider_where_none_is_named(api, alice):
    key = make_conversation(alice).pk
    plain, named = {"role": "assistant", "content": "a"}, {"provider": "openai"}
    session, conversation = f"{URL}/{key}/messages", f"/api/conversations/{key}/messages"
    assert api.post(session, plain).json()["provider"] == "ollama"
    assert api.post(session, plain | named).json()["provider"] == "openai"
    assert api.post(session, plain | {"provider": ""}).json()["provider"] == ""
    assert api.post(conversation, plain).json()["provider"] == ""


def test_it_is_the_same_resource_under_both_names(api, alice):
    chat = make_conversation(alice, messages=1)
    as_session = api.get(f"{URL}/{chat.pk}").json()["session"]
    as_conversation = api.get(f"/api/conversations/{chat.pk}").json()
    assert as_session == {name: as_conversation[name] for name in as_session}


def test_a_session_can_be_changed_and_deleted(api, alice):
    chat = make_conversation(alice)
    assert api.patch(f"{URL}/{chat.pk}", {"title": "New"}).json()["title"] == "New"
    answer = api.delete(f"{URL}/{chat.pk}")
    assert answer.json() == {"status": "deleted", "session_id": str(chat.pk)}


def test_history_is_the_messages_of_a_session(api, alice, bob):
    chat = make_conversation(alice, messages=3)
    body = api.get(f"/api/chat/history/{chat.pk}").json()
    assert body["session_id"] == str(chat.pk)
    assert [message["sequence"] for message in body["messages"]] == [1, 2, 3]
    assert body["messages_next"] is None
    assert client_for(bob).get(f"/api/chat/history/{chat.pk}").status_code == 404
    assert api.get("/api/chat/history/nope").status_code == 400


def test_a_long_session_says_where_it_goes_on(api, alice):
    chat = make_conversation(alice, messages=1_001)
    for url in (f"{URL}/{chat.pk}", f"/api/chat/history/{chat.pk}"):
        rest = api.get(api.get(url).json()["messages_next"]).json()
        assert [m["session_id"] for m in rest["messages"]] == [str(chat.pk)]


def test_what_is_missing_and_what_is_unknown_are_both_named(api):
    found = problems(api.post(URL, {"id": 2}))
    assert found == {("body", "user_id"): "missing", ("body", "id"): "extra_forbidden"}


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({"user_id": 1, "titel": "x"}, ("body", "titel"), "extra_forbidden"),
        ({"user_id": 1, "created_at": "2020"}, ("body", "created_at"), "read_only"),
        ({"user_id": 1, "updated_at": 5}, ("body", "updated_at"), "read_only"),
        ({"user_id": {}}, ("body", "user_id"), "value_error"),
        ({"user_id": 1, "title": ""}, ("body", "title"), "string_too_short"),
        ({"user_id": 1, "title": "x" * 256}, ("body", "title"), "string_too_long"),
        ([], ("body",), "not_an_object"),
    ],
)
def test_validation_errors_have_the_familys_form(backend, body, loc, kind):
    assert problems(backend.post(URL, body))[loc] == kind
    assert Conversation.objects.count() == 0


def test_every_part_of_a_request_is_located(api, alice):
    chat = make_conversation(alice)
    messages = f"{URL}/{chat.pk}/messages"
    batch = {"messages": [{"role": "user", "content": "x"}, {"role": "User", "content": "x"}]}
    assert problems(api.post(messages, batch)) == {("body", "messages", 1, "role"): "enum"}
    assert problems(api.get(f"{URL}?page_size=0")) == {("query", "page_size"): "value_error"}
    assert problems(api.get(f"{URL}?nope=1")) == {("query", "nope"): "extra_forbidden"}
    assert problems(api.get(f"{URL}/nope")) == {("path", "session_id"): "value_error"}
    headers = {"Idempotency-Key": ""}
    answer = api.post(messages, {"role": "user", "content": "x"}, headers=headers)
    assert ("header", "Idempotency-Key") in problems(answer)
    broken = api.post(messages, b"{", content_type="application/json")
    assert problems(broken) == {("body",): "json_invalid"}
    assert Message.objects.count() == 0


def test_other_errors_keep_the_one_form(api, bob):
    theirs = make_conversation(bob)
    for answer in (api.get(f"{URL}/{theirs.pk}"), api.put(URL, {})):
        assert answer.json()["type"] == "client_error"
    assert api.get(f"{URL}/{theirs.pk}").status_code == 404


@pytest.mark.parametrize("how", ["key", "id"])
def test_creating_a_session_can_be_repeated(api, how):
    extra = {"id": str(uuid.uuid4())} if how == "id" else {}
    headers = {} if how == "id" else {"Idempotency-Key": "k"}
    first, again = (api.post(URL, {"user_id": "alice"} | extra, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
