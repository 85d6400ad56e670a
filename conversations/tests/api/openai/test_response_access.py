"""Who may read, cancel and delete a response, and what staff leave behind."""

import uuid

import pytest

from conversations.models import AccessRecord, Message
from conversations.services import get_chat_history
from conversations.tests.api.test_access import CALLERS, KINDS, chat, owner
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.factories import client_for, make_conversation, make_user

__all__ = ["chat", "owner"]

pytestmark = pytest.mark.django_db

RESPONSE = "/v1/responses/resp_{answer}"
# For each of KINDS the status; with `!` staff leave a record.
READ = (200, 404, 200, 404, 404, "200!", "200!")
CHANGE = (200, 404, 200, 404, 404, 403, "200!")
TABLE = [
    ("get", RESPONSE, READ),
    ("get", RESPONSE + "?stream=true", READ),
    ("get", RESPONSE + "/input_items", READ),
    ("post", RESPONSE + "/cancel", CHANGE),
    ("delete", RESPONSE, CHANGE),
]


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route[0]} {route[1]}")
def test_every_route_answers_each_caller_as_the_design_says(owner, chat, route, who):
    method, path, statuses = route
    kind, client_of = CALLERS[who]
    expected = str(dict(zip(KINDS, statuses, strict=True)).get(kind, 401))
    answer = get_chat_history(conversation_id=chat.pk)[1]
    client = client_of(owner)
    response = getattr(client, method)(path.format(answer=answer.id.hex))
    assert response.status_code == int(expected.strip("!")), response.getvalue()
    assert AccessRecord.objects.exists() == expected.endswith("!")
    if response.status_code >= 400:
        assert set(response.json()) == {"error"}


@pytest.mark.parametrize("who", CALLERS)
def test_who_goes_on_from_a_response(owner, chat, who, transactional_db, scripted):
    scripted.always(says("More."))
    kind, client_of = CALLERS[who]
    answer = get_chat_history(conversation_id=chat.pk)[1]
    client = client_of(owner)
    body = {"input": "And?", "previous_response_id": f"resp_{answer.id.hex}"}
    response = client.post("/v1/responses", body, format="json")
    allowed = kind in ("owner", "crm", "superuser")
    refused = {None: 401, "reader": 403}.get(kind, 400)
    assert response.status_code == (200 if allowed else refused), response.getvalue()
    assert Message.objects.count() == (4 if allowed else 2)


def test_a_trusted_client_that_names_a_user_finds_only_theirs(owner, chat):
    answer = get_chat_history(conversation_id=chat.pk)[1]
    client = client_for(make_user("crm"), trusted=True, namespace="crm")
    path = RESPONSE.format(answer=answer.id.hex)
    assert client.get(path, headers={"X-User-Id": "3"}).status_code == 200
    make_user("crm\uff1a4")
    assert client.get(path, headers={"X-User-Id": "4"}).status_code == 404
    assert client.delete(path, headers={"X-User-Id": "4"}).status_code == 404
    assert client.delete(path, headers={"X-User-Id": "3"}).status_code == 200


def answers_about(client, conversation, question, answer):
    """What a client that names a user is told of these ids, which the texts are without."""
    item = {"type": "item_reference", "id": f"msg_{question}"}
    name, response = {"conversation": f"conv_{conversation}"}, f"resp_{answer}"
    bodies = [
        {"input": "And?", "previous_response_id": response},
        {"input": [item], "previous_response_id": response},
        {"input": "And?"} | name,
        {"input": [item]} | name,
        {"input": [{"type": "item_reference", "id": "msg_1"}]} | name,
        {"input": [item]},
        {"input": [item], "store": False},
    ]
    answers = [client.post("/v1/responses", body, format="json") for body in bodies]
    completion = f"/v1/chat/completions/chatcmpl-{answer}"
    paths = [f"/v1/responses/{response}", completion, f"{completion}/messages"]
    answers += [client.get(path) for path in paths]
    answers += [client.delete(path) for path in paths[:2]]
    return [(one.status_code, one.content.decode().replace(answer, "")) for one in answers]


def test_what_another_user_has_is_told_from_nothing_by_no_answer(owner, chat):
    question, answer = get_chat_history(conversation_id=chat.pk)
    client = client_for(make_user("crm"), trusted=True, namespace="crm")
    client.credentials(**client._credentials, HTTP_X_USER_ID="4")
    make_user("crm\uff1a4")
    theirs = answers_about(client, chat.pk.hex, question.id.hex, answer.id.hex)
    nothing = answers_about(client, *(uuid.uuid4().hex for _ in range(3)))
    assert theirs == nothing
    assert {status for status, _ in theirs} == {400, 404}


@pytest.mark.parametrize("kept", ["x", [1], {"input": "x"}, {"input": -1}, {"input": 10**15}])
def test_an_answer_that_a_client_stored_with_another_meaning_of_the_key_is_read(alice, kept):
    conversation, client = make_conversation(alice, messages=1), client_for(alice)
    body = {"role": "assistant", "content": "Hm.", "extra": {"response": kept}}
    path = f"/api/conversations/{conversation.pk}/messages"
    assert client.post(path, body, format="json").status_code == 201
    answer = Message.objects.get(role="assistant")
    path = RESPONSE.format(answer=answer.id.hex)
    assert client.get(path).json()["output"][0]["content"][0]["text"] == "Hm."
    items = client.get(f"{path}/input_items").json()["data"]
    assert [item["content"][0]["text"] for item in items] == ["message 1"]


def test_an_empty_input_is_an_empty_question(alice, transactional_db, scripted):
    scripted.always(says("Yes?"))
    response = client_for(alice).post("/v1/responses", {"input": ""}, format="json")
    assert response.status_code == 200, response.getvalue()
    assert [message.role for message in Message.objects.order_by("sequence")] == [
        "user",
        "assistant",
    ]
