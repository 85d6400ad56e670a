"""POST …/fork: a new conversation with the path up to a message."""

import threading
import uuid

import pytest
from django.db import connection, transaction

from conversations.models import Branch, Conversation, Message
from conversations.services import SCRIPT, add_note
from conversations.services import branches as service
from conversations.services.branches import fork_conversation
from conversations.services.changes import sequence_changes
from conversations.services.reviews import review_message
from conversations.tests.api.branching import (
    LIST,
    forked_chat,
    listed,
    new_chat,
    on_branch,
    said,
    say,
)
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.api.test_parents import error_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.cluster import someone_waits_for_a_lock
from conversations.tests.factories import (
    access_of,
    client_for,
    make_conversation,
    make_superuser,
    make_user,
)

pytestmark = pytest.mark.django_db
SESSIONS = "/api/chat-history/sessions"


@pytest.fixture
def forked(api):
    chat, ids = forked_chat(api)
    said(api, chat, "thanks", parent_id=ids["a1"])
    return chat, ids


def fork(api, chat, message, key=None, **fields):
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post(f"{LIST}/{chat}/fork", {"message_id": message} | fields, headers=headers)


def test_a_fork_has_the_path_up_to_the_message(api, forked):
    chat, ids = forked
    said(api, chat, "end", parent_id=ids["a2"])
    before = api.get(f"{LIST}/{chat}").json()
    for message, path in (("a1", ["q", "a1"]), ("a2", ["q", "a2"]), ("q2", ["q2"])):
        answer = fork(api, chat, ids[message])
        assert answer.status_code == 201
        made = answer.json()
        assert (made["forked_from"], made["message_count"], made["path_length"]) == (
            chat,
            len(path),
            len(path),
        )
        assert (made["branch_count"], made["active_branch"]) == (1, 0)
        assert on_branch(made["id"], 0) == path
        copies = api.get(f"{LIST}/{made['id']}/messages").json()["messages"]
        assert [row["sequence"] for row in copies] == list(range(1, len(path) + 1))
        assert not {row["id"] for row in copies} & set(ids.values())
    assert api.get(f"{LIST}/{chat}").json() == before


def test_it_is_as_the_conversation_was(api, trusted, staff):
    backend = client_for(trusted)
    values = {"title": "Trip", "model_used": "m", "metadata": {"a": [1]}, "tags": ["vip"]}
    chat = new_chat(backend, user_id="carol", external_id="e", **values)
    given = {
        "role": "assistant",
        "content": "Rome.",
        "parts": [{"type": "text", "text": "Rome."}],
        "created_at": "2020-01-01T00:00:00Z",
        "metadata": {"n": 1},
        "extra": {"x": None},
        "cost": "0.000000000001",
        "prompt_tokens": 7,
    }
    message = said(backend, chat, **given)
    rated = {"rating": 1, "rating_comment": "Good"}
    stored = backend.patch(f"{LIST}/{chat}/messages/{message}", rated).json()
    made = fork(backend, chat, message).json()
    assert {name: made[name] for name in values} == values
    assert (made["user_id"], made["external_id"], made["pinned"]) == ("carol", None, False)
    (copy,) = backend.get(f"{LIST}/{made['id']}/messages").json()["messages"]
    differ = {"id", "conversation_id"}
    assert {n: copy[n] for n in copy.keys() - differ} == {
        n: stored[n] for n in copy.keys() - differ
    }


def test_it_may_have_another_title_and_goes_on_by_itself(api, forked):
    chat, ids = forked
    made = fork(api, chat, ids["a1"], title="Elsewhere").json()
    assert made["title"] == "Elsewhere"
    said(api, made["id"], "on")
    first = api.get(f"{LIST}/{made['id']}/messages").json()["messages"][0]["id"]
    said(api, made["id"], "other", parent_id=first)
    assert [branch["length"] for branch in listed(api, made["id"])] == [3, 2]
    again = fork(api, made["id"], first).json()
    assert again["forked_from"] == made["id"]
    assert api.delete(f"{LIST}/{chat}").status_code == 200
    assert api.get(f"{LIST}/{made['id']}").json()["forked_from"] == chat


def test_a_session_is_forked_by_its_name(api, forked):
    chat, ids = forked
    answer = api.post(f"{SESSIONS}/{chat}/fork", {"message_id": ids["q"]})
    assert (answer.status_code, answer.json()["forked_from"]) == (201, chat)
    wrong = api.post(f"{SESSIONS}/{chat}/fork", {})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "message_id"])


def test_what_staff_said_of_messages_is_not_copied(api, forked):
    chat, ids = forked
    place = {
        "conversation_id": uuid.UUID(chat),
        "access": access_of(make_superuser(), reader=True, writer=True),
    }
    review_message(message_id=uuid.UUID(ids["a1"]), score=1, **place)
    add_note(text="Look", **place)
    made = fork(api, chat, ids["a1"]).json()
    stored = Conversation.objects.get(pk=made["id"])
    assert (stored.notes.count(), stored.reviews.count()) == (0, 0)


def test_the_feed_has_a_fork_as_one_conversation(api, backend, forked):
    chat, ids = forked
    sequence_changes()
    after = backend.get("/api/changes?after=now").json()["next_cursor"]
    made = fork(api, chat, ids["a1"]).json()
    news = backend.get(f"/api/changes?after={after}").json()["changes"]
    assert {one["conversation_id"] for one in news} == {made["id"]}
    assert [one["type"] for one in news] == ["conversation.created", "message.created"]
    assert len(news[1]["message_ids"]) == 2


def test_a_key_makes_it_repeatable(api, forked):
    chat, ids = forked
    first = fork(api, chat, ids["a1"], "k", title="Mine")
    said(api, first.json()["id"], "on")
    api.patch(f"{LIST}/{first.json()['id']}", {"title": "Changed"})
    api.patch(f"{LIST}/{chat}", {"title": "Also changed"})
    again = fork(api, chat, ids["a1"], "k", title="Mine")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert fork(api, chat, ids["a1"], "other").status_code == 201
    for message in ("q", "a2", "q2"):
        refused = fork(api, chat, ids[message], "k")
        assert error_of(refused, 409) == ("Idempotency-Key", "key_reused")
    # A key stands for one fork of one conversation.
    other, others = forked_chat(api)
    assert fork(api, other, others["a1"], "k").status_code == 201
    assert Conversation.objects.exclude(forked_from=None).count() == 3


def test_a_repeated_fork_whose_message_was_deleted_since(api, forked):
    """In the conversation, or in the fork."""
    chat, ids = forked
    made = fork(api, chat, ids["a1"], "k").json()["id"]
    assert api.delete(f"{LIST}/{chat}/messages/{ids['a1']}").status_code == 200
    assert fork(api, chat, ids["a1"], "k").json()["id"] == made
    assert api.delete(f"{LIST}/{made}/messages").status_code == 200
    assert fork(api, chat, ids["a1"], "k").status_code == 200
    assert error_of(fork(api, chat, ids["q"], "k"), 409)[1] == "key_reused"


def test_a_deleted_fork_is_not_made_again(api, forked):
    chat, ids = forked
    made = fork(api, chat, ids["a1"], "k").json()["id"]
    assert api.delete(f"{LIST}/{made}").status_code == 200
    assert error_of(fork(api, chat, ids["a1"], "k"), 409) == ("Idempotency-Key", "deleted")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, ("message_id", "required")),
        ({"message_id": "x"}, ("message_id", "invalid")),
        ({"message_id": None}, ("message_id", "null")),
        ({"message_id": str(uuid.UUID(int=7))}, ("message_id", "not_found")),
        ({"message_id": str(uuid.UUID(int=7)), "title": ""}, ("title", "blank")),
        ({"message_id": str(uuid.UUID(int=7)), "title": " "}, ("title", "blank")),
        ({"message_id": str(uuid.UUID(int=7)), "title": "x" * 256}, ("title", "max_length")),
        ({"message_id": str(uuid.UUID(int=7)), "titel": "x"}, ("titel", "unknown_field")),
    ],
)
def test_a_bad_request_makes_nothing(api, forked, body, error):
    chat, _ = forked
    for headers in ({}, {"Idempotency-Key": "k"}):
        answer = api.post(f"{LIST}/{chat}/fork", body, headers=headers)
        assert error_of(answer) == error
    assert Conversation.objects.count() == 1


def test_a_message_of_another_conversation_is_not_found(api, bob, forked):
    chat, _ = forked
    theirs = make_conversation(bob, 1)
    message = str(theirs.messages.get().id)
    assert error_of(fork(api, chat, message)) == ("message_id", "not_found")
    assert fork(api, theirs.pk, message).status_code == 404


def test_a_running_answer_is_not_copied(api, forked):
    chat, ids = forked
    answer = said(api, chat, "", role="assistant", status="streaming", parent_id=ids["a1"])
    assert error_of(fork(api, chat, answer), 409)[1] == "turn_running"
    assert fork(api, chat, ids["a1"]).status_code == 201
    assert Conversation.objects.count() == 2


def test_a_long_path_is_copied_in_batches(alice, statements, monkeypatch):
    monkeypatch.setattr(service, "COPIED_AT_ONCE", 100)
    chat = make_conversation(alice, 450)
    last = chat.messages.order_by("sequence").last()
    client = client_for(alice)
    with statements() as seen:
        made = fork(client, chat.pk, str(last.id)).json()
    assert made["message_count"] == 450
    assert on_branch(made["id"], 0) == on_branch(chat.pk, 0)
    assert len(seen) <= 10 + 3 * 5


@pytest.mark.django_db(transaction=True)
def test_equal_forks_at_the_same_moment_are_one():
    alice = make_user("alice")
    chat, ids = forked_chat(client_for(alice))

    def make(_):
        return fork(client_for(alice), chat, ids["a1"], "k")

    answers = at_once(6, make)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Message.objects.filter(conversation_id=answers[0].json()["id"]).count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["delete", "clear"])
def test_nothing_is_deleted_while_it_is_copied_and_appends_go_on(method):
    """The copy has all of the path, whoever deletes the conversation meanwhile."""
    alice = make_user("alice")
    client = client_for(alice)
    chat, ids = forked_chat(client)
    path = f"{LIST}/{chat}" + ("/messages" if method == "clear" else "")
    answers = []

    def send(call):
        def run():
            try:
                answers.append(call().status_code)
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with transaction.atomic():
        made, _ = fork_conversation(
            conversation_id=uuid.UUID(chat), message_id=uuid.UUID(ids["a1"]), access=SCRIPT
        )
        send(lambda: say(client, chat, "meanwhile")).join(10)
        assert answers == [201]
        deleting = send(lambda: client.delete(path))
        wait_until(someone_waits_for_a_lock)
        assert answers == [201]
    deleting.join(10)
    assert answers == [201, 200]
    assert on_branch(made.pk, 0) == ["q", "a1"]
    assert not Branch.objects.filter(conversation_id=made.pk).exists()
