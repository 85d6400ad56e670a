"""A repeated append names the same parents, or it is refused."""

import uuid

import pytest

from conversations.models import Conversation, Message
from conversations.tests.api.branching import (
    LIST,
    forked_chat,
    new_chat,
    on_branch,
    said,
    say,
)
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.api.test_parents import error_of, tree
from conversations.tests.factories import client_for, make_conversation, make_user

pytestmark = pytest.mark.django_db
KEYS = ["key", "id"]


def keyed(api, chat, by, name="k", **fields):
    """The same message each time, by an Idempotency-Key or its id."""
    body = {"role": "user", "content": "again"} | fields
    headers = {"Idempotency-Key": name} if by == "key" else {}
    if by == "id":
        body["id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
    return api.post(f"{LIST}/{chat}/messages", body, headers=headers)


@pytest.fixture
def refused_for(api):
    def check(answer, by):
        field = "Idempotency-Key" if by == "key" else "id"
        assert error_of(answer, 409) == (field, "key_reused")

    return check


@pytest.mark.parametrize("by", KEYS)
@pytest.mark.parametrize("parent", ["q", "a1", "a2", "root"])
def test_the_same_parent_again_returns_what_is_stored(api, by, parent):
    chat, ids = forked_chat(api)
    ids["root"] = "root"
    first = keyed(api, chat, by, parent_id=ids[parent])
    said(api, chat, "later")
    said(api, chat, "elsewhere", parent_id=ids["q"])
    again = keyed(api, chat, by, parent_id=ids[parent])
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["parent_id"] == (None if parent == "root" else ids[parent])
    assert Message.objects.filter(content="again").count() == 1


@pytest.mark.parametrize("by", KEYS)
@pytest.mark.parametrize("parent", ["q", "a2", "q2", "root"])
def test_another_parent_is_refused(api, by, parent, refused_for):
    chat, ids = forked_chat(api)
    ids["root"] = "root"
    assert keyed(api, chat, by, parent_id=ids["a1"]).status_code == 201
    refused_for(keyed(api, chat, by, parent_id=ids[parent]), by)
    refused_for(keyed(api, chat, by, parent_id=str(uuid.uuid4())), by)
    assert Message.objects.count() == 5
    assert Conversation.objects.get(pk=chat).branch_count == 3


@pytest.mark.parametrize("by", KEYS)
def test_on_a_line_another_parent_is_refused_too(api, by, refused_for):
    chat = new_chat(api)
    first, second = said(api, chat, "q"), said(api, chat, "a")
    assert keyed(api, chat, by).status_code == 201
    for parent in (first, "root"):
        refused_for(keyed(api, chat, by, parent_id=parent), by)
    assert keyed(api, chat, by, parent_id=second).status_code == 200


@pytest.mark.parametrize("by", KEYS)
def test_without_a_parent_it_is_whatever_the_end_was(api, by):
    chat, ids = forked_chat(api)
    assert keyed(api, chat, by).status_code == 201
    assert on_branch(chat, 2) == ["q2", "again"]
    said(api, chat, "elsewhere", parent_id=ids["q"])
    assert keyed(api, chat, by).status_code == 200
    assert keyed(api, chat, by, parent_id=ids["q2"]).status_code == 200


@pytest.mark.parametrize("by", KEYS)
def test_a_parent_that_was_deleted_since_is_accepted(api, by):
    chat, ids = forked_chat(api)
    first = keyed(api, chat, by, parent_id=ids["a1"])
    assert api.delete(f"{LIST}/{chat}/messages/{ids['a1']}").status_code == 200
    again = keyed(api, chat, by, parent_id=ids["a1"])
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert again.json()["parent_id"] == ids["q"]
    # It follows this one now, and no other.
    assert keyed(api, chat, by, parent_id=ids["q"]).status_code == 200
    assert keyed(api, chat, by, parent_id="root").status_code == 409


@pytest.mark.parametrize("by", KEYS)
def test_what_was_deleted_with_its_parent_is_not_stored_again(api, by):
    chat, ids = forked_chat(api)
    end = said(api, chat, "end", parent_id=ids["a1"])
    assert keyed(api, chat, by, parent_id=end).status_code == 201
    assert api.delete(f"{LIST}/{chat}/messages").status_code == 200
    assert error_of(keyed(api, chat, by, parent_id=end), 409)[1] == "deleted"
    # Another message after what is not there any more was never stored.
    answer = keyed(api, chat, by, name="other", parent_id=end)
    assert error_of(answer) == ("parent_id", "not_found")


@pytest.mark.parametrize("by", KEYS)
def test_an_expected_sequence_does_not_refuse_the_same_again(api, by):
    chat, ids = forked_chat(api)
    given = {"parent_id": ids["a1"], "expected_last_sequence": 2}
    assert keyed(api, chat, by, **given).status_code == 201
    assert keyed(api, chat, by, **given).status_code == 200


def test_a_tree_again_with_other_parents_is_refused(api, refused_for):
    chat, messages = new_chat(api), tree()
    path = f"{LIST}/{chat}/messages"
    assert api.post(path, {"messages": messages}).status_code == 201
    for place, parent in ((2, messages[1]["id"]), (4, messages[0]["id"]), (5, messages[0]["id"])):
        others = [dict(message) for message in messages]
        others[place]["parent_id"] = parent
        refused_for(api.post(path, {"messages": others}), "id")
    plain = [{**message} for message in messages]
    del plain[5]["parent_id"]  # after the message before, and not a beginning
    refused_for(api.post(path, {"messages": plain}), "id")
    assert api.post(path, {"messages": messages}).status_code == 200


def test_a_tree_again_after_a_message_in_the_middle_was_deleted(api):
    chat, messages = new_chat(api), tree()
    path = f"{LIST}/{chat}/messages"
    api.post(path, {"messages": messages})
    assert api.delete(f"{path}/{messages[1]['id']}").status_code == 200
    assert error_of(api.post(path, {"messages": messages}), 409)[1] == "deleted"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by", KEYS)
def test_equal_appends_at_the_same_moment_open_one_branch(by):
    """Each of them finds something else at the parent that it names."""
    alice = make_user("alice")
    chat, ids = forked_chat(client_for(alice))

    def write(_):
        return keyed(client_for(alice), chat, by, parent_id=ids["q"])

    answers = at_once(6, write)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    stored = Conversation.objects.get(pk=chat)
    assert (stored.branch_count, stored.message_count, stored.last_sequence) == (4, 5, 5)


def test_a_message_is_not_its_own_parent(api, refused_for):
    chat = new_chat(api)
    own = str(uuid.uuid4())
    said(api, chat, "q")
    assert error_of(say(api, chat, "x", id=own, parent_id=own)) == ("parent_id", "not_found")
    said(api, chat, "x", id=own)
    refused_for(say(api, chat, "x", id=own, parent_id=own), "id")


def test_a_repeated_append_on_a_line_looks_for_no_parents(alice, statements):
    """And one on a branch in one statement."""
    client = client_for(alice)
    line = make_conversation(alice, 10)
    forked, _ = forked_chat(client)
    body = {"messages": [{"role": "user", "content": "x"}] * 100}
    counts = []
    for chat in (line.pk, forked):
        path = f"{LIST}/{chat}/messages"
        for _ in range(2):
            with statements() as seen:
                client.post(path, body, headers={"Idempotency-Key": "k"})
        counts.append(len(seen))
    # The second finds out after it has placed the messages, and has compared the parents.
    assert counts == [5, 6]
