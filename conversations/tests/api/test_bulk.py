"""Conversations with their messages, one or many in a request; many deletions in one."""

import json
import uuid
from dataclasses import replace
from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.contrib.auth.models import User

from conversations.db.owners import is_distributed
from conversations.models import AccessRecord, Conversation, Message, id_from_key
from conversations.services import SCRIPT, bulk, set_legal_hold
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.api.test_external_ids import error_of
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_staff,
    make_token,
    make_user,
)

pytestmark = pytest.mark.django_db
LIST, BULK, DELETE = "/api/conversations", "/api/conversations/bulk", "/api/conversations/delete"
KEY = {"headers": {"Idempotency-Key": "k"}}
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Where to?"},
    {"role": "assistant", "content": "Rome.", "model": "m", "prompt_tokens": 3},
]


def stored():
    return Conversation.objects.count(), Message.objects.count()


def several(*bodies):
    return {"conversations": list(bodies)}


# One, with its messages


@pytest.mark.parametrize("path", [LIST, "/api/chat-history/sessions"])
def test_a_conversation_begins_with_its_messages(api, path):
    answer = api.post(path, {"user_id": "alice", "tags": ["t"], "messages": TALK})
    made = answer.json()
    assert (answer.status_code, made["title"], made["message_count"]) == (201, "Where to?", 2)
    owner = "session_id" if "session" in path else "conversation_id"
    assert [(said["sequence"], said["role"], said[owner]) for said in made["messages"]] == [
        (1, "user", made["id"]),
        (2, "assistant", made["id"]),
    ]
    provider = "ollama" if "session" in path else ""
    assert {said["provider"] for said in made["messages"]} == {provider}
    shown = api.get(f"{LIST}/{made['id']}").json()
    for name in made.keys() - {"messages"}:
        assert shown[name] == made[name]


def test_without_messages_the_answer_has_none(api):
    assert "messages" not in api.post(LIST, {}).json()
    assert "messages" not in api.post(LIST, {"messages": []}).json()


def test_a_bad_message_leaves_nothing(api):
    refused = api.post(LIST, {"messages": [*TALK, {"role": "user", "content": " "}]})
    assert error_of(refused) == (400, "messages.2.content", "blank")
    unknown = api.post(LIST, {"messages": [TALK[0] | {"contnet": "x"}]})
    assert error_of(unknown) == (400, "messages.0.contnet", "unknown_field")
    assert stored() == (0, 0)


@pytest.mark.parametrize("identity", ["id", "key", "external_id"])
def test_the_same_request_again_answers_with_what_is_stored(api, identity):
    options = KEY if identity == "key" else {}
    named = {} if identity == "key" else {identity: str(uuid.uuid4())}
    body = {"messages": TALK, "title": "T", **named}
    first, again = api.post(LIST, body, **options), api.post(LIST, body, **options)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    api.post(f"{LIST}/{first.json()['id']}/messages", TALK[0])
    later = api.post(LIST, body, **options)
    assert (later.status_code, later.json()["messages"]) == (200, first.json()["messages"])
    other = api.post(LIST, {**body, "messages": [TALK[1], TALK[0]]}, **options)
    assert (other.status_code, error_of(other)[2]) == (409, "key_reused")
    longer = api.post(LIST, {**body, "messages": [*TALK, TALK[0]]}, **options)
    shorter = api.post(LIST, {**body, "messages": TALK[:1]}, **options)
    assert [longer.status_code, shorter.status_code] == [409, 409]
    assert stored() == (1, 3)


def test_messages_are_never_acknowledged_without_being_stored(api):
    """A conversation of this name exists, with other messages or none."""
    api.post(LIST, {"external_id": "x"})
    refused = api.post(LIST, {"external_id": "x", "messages": TALK})
    assert error_of(refused) == (409, "messages", "key_reused")
    assert stored() == (1, 0)


@pytest.mark.parametrize("how", ["message", "clear", "conversation"])
def test_what_was_deleted_does_not_come_back_with_a_late_retry(api, how):
    made = api.post(LIST, {"messages": TALK}, **KEY).json()
    url = f"{LIST}/{made['id']}"
    api.delete(
        {
            "message": f"{url}/messages/{made['messages'][1]['id']}",
            "clear": f"{url}/messages",
            "conversation": url,
        }[how]
    )
    before = stored()
    late = api.post(LIST, {"messages": TALK}, **KEY)
    assert error_of(late)[::2] == (409, "deleted")
    assert stored() == before


def test_it_may_begin_with_an_answer_that_the_application_writes(api):
    body = {"messages": [TALK[0], {"role": "assistant", "content": "Ro", "status": "streaming"}]}
    made = api.post(LIST, body, **KEY).json()
    answer = made["messages"][1]
    assert answer["status"] == "streaming"
    url = f"{LIST}/{made['id']}/messages/{answer['id']}"
    assert (
        api.patch(
            url, {"append": {"content": "me."}, "offset": 2, "status": "complete"}
        ).status_code
        == 200
    )
    again = api.post(LIST, body, **KEY)
    assert (again.status_code, again.json()["messages"][1]["content"]) == (200, "Rome.")


def test_ids_of_messages_and_a_key_are_two_identities(api):
    body = {"messages": [TALK[0] | {"id": str(uuid.uuid4())}]}
    assert error_of(api.post(LIST, body, **KEY)) == (400, "messages.0.id", "ambiguous")
    assert api.post(LIST, body).json()["messages"][0]["id"] == body["messages"][0]["id"]


def test_at_most_a_thousand_messages(api):
    refused = api.post(LIST, {"messages": [TALK[0]] * 1_001})
    assert error_of(refused)[:2] == (400, "messages")
    assert stored() == (0, 0)


# Many


def test_many_are_created_in_order_with_their_messages(api):
    bodies = [{"title": f"T{n}", "messages": TALK * n, "external_id": f"e{n}"} for n in range(3)]
    answer = api.post(BULK, several(*bodies))
    made = answer.json()["conversations"]
    assert answer.status_code == 201
    assert [(one["title"], one["external_id"], one["message_count"]) for one in made] == [
        ("T0", "e0", 0),
        ("T1", "e1", 2),
        ("T2", "e2", 4),
    ]
    assert [len(one.get("messages", [])) for one in made] == [0, 2, 4]
    assert stored() == (3, 6)


def test_each_may_have_an_owner_of_its_own(backend):
    answer = backend.post(BULK, several(*({"user_id": name} for name in ("carol", 7, "carol"))))
    assert [one["user_id"] for one in answer.json()["conversations"]] == ["carol", 7, "carol"]
    assert User.objects.filter(username__in=["carol", "7"]).count() == 2


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        ({"title": ""}, "conversations.1.title"),
        ({"tags": ["a", ""]}, "conversations.1.tags.1"),
        ({"messages": [TALK[0] | {"role": "User"}]}, "conversations.1.messages.0.role"),
        ({"messages": [{"role": "user", "content": " "}]}, "conversations.1.messages.0.content"),
        ({"titel": "x"}, "conversations.1.titel"),
        ({"user_id": "*"}, "conversations.1.user_id"),
    ],
)
def test_one_that_is_bad_leaves_nothing_of_the_others(backend, bad, path):
    refused = backend.post(BULK, several({"user_id": "new", "messages": TALK}, bad, {}))
    assert error_of(refused)[:2] == (400, path)
    assert stored() == (0, 0)
    assert not User.objects.filter(username="new").exists()


def test_a_taken_id_leaves_nothing_of_the_others(api, bob):
    taken = str(make_conversation(bob).pk)
    refused = api.post(BULK, several({"messages": TALK}, {"id": taken}))
    assert error_of(refused) == (409, "conversations.1.id", "key_reused")
    assert stored() == (1, 0)


@pytest.mark.parametrize("bodies", [[], [{}] * 101])
def test_one_to_a_hundred(api, bodies):
    assert error_of(api.post(BULK, several(*bodies)))[:2] == (400, "conversations")
    assert api.post(BULK, several(*[{}] * 100)).status_code == 201
    assert stored() == (100, 0)


def test_so_many_messages_together_and_no_more(api, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_MESSAGES", 3)
    bodies = several({"messages": TALK}, {"messages": TALK})
    assert error_of(api.post(BULK, bodies))[:2] == (400, "conversations")
    assert stored() == (0, 0)


def test_the_same_key_again_answers_with_what_is_stored(api, alice):
    bodies = several({"title": "A", "messages": TALK}, {"title": "B"})
    first, again = api.post(BULK, bodies, **KEY), api.post(BULK, bodies, **KEY)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    ids = [one["id"] for one in first.json()["conversations"]]
    assert ids == [str(id_from_key(alice.pk, f"k\n{place}")) for place in range(2)]
    assert stored() == (2, 2)


@pytest.mark.parametrize(
    "bodies",
    [
        several({"title": "A", "messages": TALK}),
        several({"title": "A", "messages": TALK}, {"title": "B"}, {"title": "C"}),
        several({"title": "A", "messages": TALK[:1]}, {"title": "B"}),
        several({"title": "A", "messages": TALK}, {"title": "Other"}),
        several({"title": "B"}, {"title": "A", "messages": TALK}),
    ],
    ids=["fewer", "more", "fewer messages", "another title", "another order"],
)
def test_the_same_key_with_others_is_refused(api, bodies):
    api.post(BULK, several({"title": "A", "messages": TALK}, {"title": "B"}), **KEY)
    refused = api.post(BULK, bodies, **KEY)
    assert error_of(refused)[::2] == (409, "key_reused")
    assert stored() == (2, 2)


def test_a_key_of_a_request_for_one_is_not_one_for_many(api):
    one = api.post(LIST, {"title": "A"}, **KEY).json()["id"]
    many = api.post(BULK, several({"title": "A"}), **KEY).json()["conversations"][0]["id"]
    assert one != many


def test_ids_and_external_ids_make_it_repeatable_too(api):
    bodies = several({"id": str(uuid.uuid4()), "messages": TALK}, {"external_id": "x"})
    first, again = api.post(BULK, bodies), api.post(BULK, bodies)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    more = api.post(BULK, several(*bodies["conversations"], {"external_id": "y"}))
    assert (more.status_code, stored()) == (201, (3, 2))


def test_an_id_and_a_key_are_two_identities(api):
    refused = api.post(BULK, several({}, {"id": str(uuid.uuid4())}), **KEY)
    assert error_of(refused) == (400, "conversations.1.id", "ambiguous")


def test_two_of_a_request_with_one_external_id_are_one(api):
    made = api.post(BULK, several({"external_id": "x"}, {"external_id": "x"}))
    assert len({one["id"] for one in made.json()["conversations"]}) == 1


def test_staff_leave_a_record_for_each_owner(alice, bob):
    root = client_for(make_user("root", is_staff=True, is_superuser=True))
    bodies = several(*({"user_id": name} for name in ("alice", "bob", "alice")))
    assert root.post(BULK, bodies).status_code == 201
    assert sorted(AccessRecord.objects.values_list("owner_name", "action")) == [
        ("alice", "change"),
        ("bob", "change"),
    ]
    assert client_for(make_staff()).post(BULK, bodies).status_code == 404


@pytest.mark.parametrize("count", [2, 50])
def test_each_takes_so_many_statements_and_no_more(alice, statements, count):
    client = client_for(alice)
    with statements() as seen:
        client.post(BULK, several(*[{"messages": TALK}] * count))
    # On a cluster one more claims the id.
    assert len(seen) == 1 + (3 + is_distributed()) * count


@pytest.mark.django_db(transaction=True)
def test_equal_requests_at_the_same_moment_store_it_once(live_server):
    token = make_token(make_user("alice"))
    bodies = json.dumps(several(*[{"messages": TALK}] * 20)).encode()

    def post(_):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = Request(
            live_server.url + BULK, data=bodies, headers=headers | {"Idempotency-Key": "k"}
        )
        with urlopen(request) as answer:
            return answer.status, json.load(answer)

    answers = at_once(6, post)
    assert sorted(status for status, _ in answers) == [200] * 5 + [201]
    assert all(body == answers[0][1] for _, body in answers)
    assert stored() == (20, 40)


# Deletion of many


def results_of(answer):
    return {one["id"]: one["status"] for one in answer.json()["results"]}


def test_each_is_deleted_or_says_why_not(api, alice, bob):
    mine, held = make_conversation(alice, 2), make_conversation(alice)
    theirs, missing = make_conversation(bob), str(uuid.uuid4())
    set_legal_hold(conversation_id=held.pk, on_hold=True, access=replace(SCRIPT, reason="a case"))
    ids = [str(mine.pk), str(held.pk), str(theirs.pk), missing]
    answer = api.post(DELETE, {"ids": ids})
    assert (answer.status_code, answer.json()["deleted"]) == (200, 1)
    assert results_of(answer) == dict(
        zip(ids, ["deleted", "not_changeable", "not_found", "not_found"], strict=True)
    )
    assert set(Conversation.objects.all()) == {held, theirs}
    assert not Message.objects.exists()
    assert api.post(DELETE, {"ids": [str(mine.pk)]}).json()["deleted"] == 0


def test_what_is_not_yours_reads_as_what_is_not_there(api, bob):
    answer = api.post(DELETE, {"ids": [str(make_conversation(bob).pk), str(uuid.uuid4())]})
    first, second = answer.json()["results"]
    assert first | {"id": ""} == second | {"id": ""}


def test_an_id_given_twice_is_one(api, alice):
    key = str(make_conversation(alice).pk)
    answer = api.post(DELETE, {"ids": [key, key.replace("-", "").upper()]})
    assert results_of(answer) == {key: "deleted"}


@pytest.mark.parametrize("ids", [[], ["nope"], [7], "x", None, [str(uuid.uuid4())] * 101])
def test_one_to_a_hundred_ids(api, ids):
    status, attr, _ = error_of(api.post(DELETE, {"ids": ids}))
    assert (status, attr.partition(".")[0]) == (400, "ids")


def test_staff_leave_a_record_for_each_and_readers_delete_nothing(alice, settings):
    chats = [str(make_conversation(alice).pk) for _ in range(2)]
    refused = client_for(make_staff()).post(DELETE, {"ids": chats})
    assert set(results_of(refused).values()) == {"permission_denied"}
    assert not AccessRecord.objects.exists()
    root = make_user("root", is_staff=True, is_superuser=True)
    settings.CHAT_REQUIRE_READ_REASON = True
    unexplained = client_for(root).post(DELETE, {"ids": chats})
    assert set(results_of(unexplained).values()) == {"reason_required"}
    done = client_for(root).post(DELETE, {"ids": chats}, headers={"Access-Reason": "asked to"})
    assert done.json()["deleted"] == 2
    assert set(AccessRecord.objects.values_list("action", "reason")) == {("delete", "asked to")}
    assert AccessRecord.objects.count() == 2


def test_a_trusted_client_deletes_what_its_users_have(backend, alice, bob):
    boss = make_conversation(make_user("boss", is_staff=True))
    ids = [str(make_conversation(user).pk) for user in (alice, bob)]
    answer = backend.post(DELETE, {"ids": [*ids, str(boss.pk)]})
    assert list(results_of(answer).values()) == ["deleted", "deleted", "not_found"]
