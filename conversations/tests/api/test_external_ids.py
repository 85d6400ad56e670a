"""The application's own name of a conversation: found by it, made once under it."""

import json
import uuid
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from conversations.models import Conversation
from conversations.services import find_or_create_user, update_conversation
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.factories import (
    access_of,
    client_for,
    make_conversation,
    make_token,
    make_user,
)

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"
NAMED = {"external_id": "ticket-7"}


def error_of(answer):
    error = answer.json()["errors"][0]
    return answer.status_code, error["attr"], error["code"]


def test_a_conversation_is_made_once_and_then_found(api):
    first = api.post(LIST, NAMED | {"title": "Ticket 7"})
    again = api.post(LIST, NAMED | {"title": "Another title", "metadata": {"a": 1}})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["external_id"] == "ticket-7"
    assert again.json() == first.json()
    assert Conversation.objects.count() == 1


def test_an_archived_one_is_found_too(api):
    made = api.post(LIST, NAMED).json()
    api.patch(f"{LIST}/{made['id']}", {"archived": True})
    assert api.post(LIST, NAMED).json()["id"] == made["id"]


def test_each_owner_has_names_of_their_own(api, bob):
    mine, theirs = api.post(LIST, NAMED), client_for(bob).post(LIST, NAMED)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


def test_users_of_two_namespaces_have_names_of_their_own(db):
    clients = [client_for(make_user(name), trusted=True, namespace=name) for name in ("crm", "erp")]
    answers = [client.post(LIST, NAMED | {"user_id": 3}) for client in clients]
    assert [answer.status_code for answer in answers] == [201, 201]
    for client, answer in zip(clients, answers, strict=True):
        for query in ("user_id=3", "user_id=*"):
            found = client.get(f"{LIST}?external_id=ticket-7&{query}").json()["conversations"]
            assert [chat["id"] for chat in found] == [answer.json()["id"]]


def test_the_list_is_narrowed_to_one_name(api, alice):
    make_conversation(alice)
    made = api.post(LIST, NAMED).json()
    found = api.get(f"{LIST}?external_id=ticket-7").json()
    assert ([chat["id"] for chat in found["conversations"]], found["count"]) == ([made["id"]], 1)
    assert api.get(f"{LIST}?external_id=ticket").json()["conversations"] == []


def test_a_session_has_one_too(backend):
    body = NAMED | {"user_id": 2}
    sessions = "/api/chat-history/sessions"
    made, again = backend.post(sessions, body), backend.post(sessions, body)
    assert (made.status_code, again.status_code) == (201, 200)
    listed = backend.get(f"{sessions}?user_id=2&external_id=ticket-7").json()["sessions"]
    assert [session["id"] for session in listed] == [made.json()["id"]]


def test_an_id_that_is_given_must_be_the_id_of_that_name(api):
    key = str(uuid.uuid4())
    body = NAMED | {"id": key}
    assert api.post(LIST, body).status_code == 201
    assert api.post(LIST, body).status_code == 200
    other = api.post(LIST, NAMED | {"id": str(uuid.uuid4())})
    assert error_of(other) == (409, "external_id", "key_reused")
    assert error_of(api.post(LIST, {"id": key, "external_id": "b"})) == (409, "id", "key_reused")
    assert error_of(api.post(LIST, {"id": key})) == (409, "id", "key_reused")
    assert Conversation.objects.count() == 1


def test_a_key_does_not_stand_in_the_way_of_a_name(api):
    """A client that sends a new key with each request still finds the conversation."""
    made = api.post(LIST, NAMED, headers={"Idempotency-Key": "a"})
    again = api.post(LIST, NAMED, headers={"Idempotency-Key": "a"})
    found = api.post(LIST, NAMED, headers={"Idempotency-Key": "b"})
    assert [answer.status_code for answer in (made, again, found)] == [201, 200, 200]
    assert made.json() == again.json() == found.json()
    reused = api.post(LIST, {"external_id": "x"}, headers={"Idempotency-Key": "a"})
    assert error_of(reused) == (409, "Idempotency-Key", "key_reused")


def test_a_name_can_be_set_changed_and_taken_away(api):
    chat, other = api.post(LIST, {}).json()["id"], api.post(LIST, NAMED).json()["id"]
    taken = api.patch(f"{LIST}/{chat}", NAMED)
    assert error_of(taken) == (409, "external_id", "key_reused")
    assert api.patch(f"{LIST}/{other}", {"external_id": None}).json()["external_id"] is None
    assert api.patch(f"{LIST}/{chat}", NAMED).json()["external_id"] == "ticket-7"
    assert api.patch(f"{LIST}/{chat}", NAMED).status_code == 200
    assert api.post(LIST, NAMED).json()["id"] == chat


def test_the_name_of_a_deleted_conversation_is_free(api):
    first = api.post(LIST, NAMED).json()["id"]
    api.delete(f"{LIST}/{first}")
    again = api.post(LIST, NAMED)
    assert (again.status_code, again.json()["id"] != first) == (201, True)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "blank"), (" ", "blank"), ("x" * 256, "max_length"), (7, "invalid"), ("a\0", "null")],
)
def test_what_cannot_be_a_name_is_refused_by_field(api, text, code):
    for answer in (
        api.post(LIST, {"external_id": text}),
        api.patch(f"{LIST}/{api.post(LIST).json()['id']}", {"external_id": text}),
    ):
        assert error_of(answer)[:2] == (400, "external_id")
        assert error_of(answer)[2].startswith(code)


def test_a_name_is_kept_exactly_as_sent(api):
    for text in (" ticket ", "Ticket", "ticket", "票-7", "x" * 255):
        assert api.post(LIST, {"external_id": text}).json()["external_id"] == text
    assert Conversation.objects.count() == 5


def test_a_trusted_client_finds_it_among_its_users(backend):
    carol = find_or_create_user("carol")
    chat = make_conversation(carol, external_id="ticket-7")
    boss = make_conversation(make_user("boss", is_staff=True), external_id="ticket-7")
    found = backend.get(f"{LIST}?external_id=ticket-7&user_id=*").json()["conversations"]
    assert [one["id"] for one in found] == [str(chat.pk)]
    assert str(boss.pk) not in str(found)


def plan_of(statement):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {statement}")
        return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.one_node("the plans of one server")
@pytest.mark.parametrize("query", ["", "&user_id=*"])
def test_a_name_is_looked_up_by_an_index(alice, backend, statements, query):
    for number in range(200):
        make_conversation(alice, external_id=f"ticket-{number}")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversations_conversation, auth_user")
    owner = client_for(alice)
    with statements() as seen:
        (backend if query else owner).get(f"{LIST}?external_id=ticket-7{query}")
    (statement,) = [sql for sql in seen if "ORDER BY" in sql]
    assert "Index Cond: ((external_id)::text" in plan_of(statement)


@pytest.mark.django_db(transaction=True)
def test_at_the_same_moment_one_conversation_is_made(live_server):
    token = make_token(make_user("alice"))

    def post(_):
        request = Request(
            f"{live_server.url}{LIST}",
            data=json.dumps(NAMED).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urlopen(request) as answer:
            return answer.status, json.load(answer)

    answers = at_once(8, post)
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert all(body == answers[0][1] for _, body in answers)


@pytest.mark.django_db(transaction=True)
def test_of_two_that_take_a_name_at_the_same_moment_one_is_refused():
    alice = make_user("alice")
    chats = [make_conversation(alice) for _ in range(4)]

    def take(index):
        try:
            update_conversation(
                conversation_id=chats[index].pk, changes=dict(NAMED), access=access_of(alice)
            )
        except Exception as error:
            return type(error).__name__
        return "taken"

    assert sorted(at_once(4, take)) == ["KeyReused"] * 3 + ["taken"]
