import uuid

import pytest

from conversations.models import Conversation
from conversations.tests.factories import fill, make_conversation

pytestmark = pytest.mark.django_db
URL = "/api/conversations"
FIELDS = [
    "id",
    "user_id",
    "title",
    "model_used",
    "metadata",
    "external_id",
    "tags",
    *("message_count", "path_length", "branch_count", "active_branch", "forked_from"),
    "emptied_through",
    "pinned",
    "archived",
    "created_at",
    "updated_at",
]


@pytest.mark.parametrize("slash", ["", "/"])
def test_without_a_body_the_latest_conversation_is_found_or_made(api, slash):
    first = api.post(URL + slash)
    again = api.post(URL + slash)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert list(first.json()) == FIELDS


def test_with_a_body_it_is_always_a_new_one(api, alice):
    given = {"title": " Trip ", "model_used": "llama3", "metadata": {"tags": ["a"]}}
    first, second = api.post(URL, given), api.post(URL, given)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    assert first.json()["user_id"] == "alice"
    assert {name: first.json()[name] for name in given} == given | {"title": "Trip"}
    assert api.post(URL, {}).json()["title"] == "New Chat"


def test_a_trusted_client_names_the_owner_and_the_first_write_makes_them(backend):
    by_name = backend.post(f"{URL}?user_id=carol")
    assert by_name.status_code == 201
    number = by_name.json()["user_id"]
    assert backend.post(f"{URL}?user_id={number}").json() == by_name.json()
    assert backend.post(URL, {"user_id": "carol"}).json()["user_id"] == number
    assert backend.post(URL, {"user_id": number}).json()["user_id"] == number
    assert backend.get("/api/users/carol/conversations").json()["count"] == 3


def test_a_user_may_name_themself_and_nobody_else(api, alice, bob):
    assert api.post(URL, {"user_id": "alice"}).status_code == 201
    assert api.post(URL, {"user_id": "alice"}).status_code == 201
    known, unknown = api.post(URL, {"user_id": "bob"}), api.post(URL, {"user_id": "nobody"})
    assert known.status_code == unknown.status_code == 404
    assert known.json()["errors"] == unknown.json()["errors"]
    assert known.json()["errors"][0]["attr"] == "user_id"


def test_two_owners_in_one_request_are_refused(backend):
    answer = backend.post(f"{URL}?user_id=1", {"user_id": 2})
    assert answer.status_code == 400


@pytest.mark.parametrize("how", ["key", "id"])
def test_a_repeated_create_answers_what_is_stored(api, how):
    extra = {"id": str(uuid.uuid4())} if how == "id" else {}
    headers = {} if how == "id" else {"Idempotency-Key": "k-1"}
    first = api.post(URL, {"title": "A"} | extra, headers=headers)
    again = api.post(URL, {"title": "A"} | extra, headers=headers)
    other = api.post(URL, {"title": "B"} | extra, headers=headers)
    assert [first.status_code, again.status_code, other.status_code] == [201, 200, 409]
    assert first.json() == again.json()
    assert other.json()["errors"][0]["attr"] == ("id" if how == "id" else "Idempotency-Key")
    assert Conversation.objects.count() == 1


def test_somebody_elses_id_is_a_conflict_that_shows_nothing(api, bob):
    theirs = make_conversation(bob, title="Secret")
    answer = api.post(URL, {"id": str(theirs.pk)})
    assert answer.status_code == 409
    assert "Secret" not in answer.content.decode()


def test_the_list_is_newest_first_with_the_owners_total(api, alice, bob):
    chats = [make_conversation(alice) for _ in range(3)]
    make_conversation(bob)
    fill(chats[0], 2)
    body = api.get(URL).json()
    assert [item["id"] for item in body["conversations"]] == [str(chats[i].pk) for i in (0, 2, 1)]
    assert (body["count"], body["next"], body["previous"]) == (3, None, None)
    assert body["conversations"][0]["message_count"] == 2
    assert list(body["conversations"][0]) == FIELDS


def test_a_user_not_seen_so_far_has_no_conversations(backend):
    assert backend.get(f"{URL}?user_id=nobody").json() == {
        "conversations": [],
        "count": 0,
        "next": None,
        "previous": None,
        "next_cursor": None,
        "previous_cursor": None,
    }


def test_the_detail_holds_the_messages_in_order(api, alice):
    chat = make_conversation(alice, messages=3)
    body = api.get(f"{URL}/{chat.pk}/").json()
    assert list(body) == [*FIELDS, "messages", "messages_next"]
    assert [m["sequence"] for m in body["messages"]] == [1, 2, 3]
    assert body["messages_next"] is None


def test_a_long_detail_says_where_the_messages_go_on(api, alice):
    chat = make_conversation(alice, messages=1_002)
    body = api.get(f"{URL}/{chat.pk}").json()
    assert len(body["messages"]) == 1_000
    rest = api.get(body["messages_next"]).json()
    assert [m["sequence"] for m in rest["messages"]] == [1_001, 1_002]


def test_title_metadata_pinned_and_archived_can_be_changed(api, alice):
    chat = make_conversation(alice)
    changes = {"title": "New", "metadata": {"a": 1}, "pinned": True, "archived": True}
    answer = api.patch(f"{URL}/{chat.pk}", changes)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in changes} == changes
    assert api.get(f"{URL}/{chat.pk}").json()["archived"] is True
    assert api.patch(f"{URL}/{chat.pk}", {}).status_code == 200


def test_deleting_answers_what_was_deleted(api, alice):
    chat = make_conversation(alice, messages=2)
    answer = api.delete(f"{URL}/{chat.pk}")
    assert answer.status_code == 200
    assert answer.json() == {"status": "deleted", "conversation_id": str(chat.pk)}
    assert api.get(f"{URL}/{chat.pk}").status_code == 404
    assert api.delete(f"{URL}/{chat.pk}").status_code == 404


def test_what_is_on_hold_cannot_be_changed_and_its_owner_is_not_told_why(api, alice):
    chat = make_conversation(alice)
    Conversation.objects.update(legal_hold=True)
    answer = api.delete(f"{URL}/{chat.pk}")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "not_changeable")
    assert "hold" not in answer.content.decode()


@pytest.mark.parametrize(("method", "path"), [("put", "/{id}"), ("put", ""), ("delete", "")])
def test_other_methods_are_405(api, alice, method, path):
    chat = make_conversation(alice)
    answer = getattr(api, method)(URL + path.format(id=chat.pk), {})
    assert answer.status_code == 405
    assert answer.json()["errors"][0]["code"] == "method_not_allowed"
