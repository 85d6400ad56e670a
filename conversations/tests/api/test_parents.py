"""`parent_id`: what an appended message follows, over either name of the resource."""

import uuid

import pytest

from conversations.models import Branch, Conversation, Message
from conversations.services.branch_placement import MAX_BRANCHES
from conversations.tests.api.branching import (
    LIST,
    forked_chat,
    listed,
    new_chat,
    on_branch,
    said,
    say,
)
from conversations.tests.factories import client_for, make_conversation

pytestmark = pytest.mark.django_db
SESSIONS = "/api/chat-history/sessions"


def error_of(answer, status=400):
    assert answer.status_code == status, answer.content
    error = answer.json()["errors"][0]
    return error["attr"], error["code"]


def shown(api, chat):
    return {
        name: api.get(f"{LIST}/{chat}").json()[name]
        for name in ("active_branch", "branch_count", "message_count", "path_length")
    }


def test_a_message_follows_any_message_and_its_branch_is_shown(api):
    chat, ids = forked_chat(api)
    assert [on_branch(chat, number) for number in range(3)] == [["q", "a1"], ["q", "a2"], ["q2"]]
    assert shown(api, chat) == {
        "active_branch": 2,
        "branch_count": 3,
        "message_count": 4,
        "path_length": 1,
    }
    said(api, chat, "thanks", parent_id=ids["a1"])
    assert on_branch(chat, 0) == ["q", "a1", "thanks"]
    assert shown(api, chat)["active_branch"] == 0


def test_without_a_parent_it_follows_the_branch_that_is_shown(api):
    chat, _ = forked_chat(api)
    said(api, chat, "a3")
    assert on_branch(chat, 2) == ["q2", "a3"]


def test_the_end_of_the_line_named_opens_no_branch(api):
    chat = new_chat(api)
    first = said(api, chat, "q")
    said(api, chat, "a", parent_id=first)
    assert shown(api, chat)["branch_count"] == 1
    assert not Branch.objects.exists()


def test_a_first_message_may_be_named_a_beginning(api):
    chat = new_chat(api)
    said(api, chat, "q", parent_id="root")
    assert shown(api, chat)["branch_count"] == 1


def test_another_branch_is_shown_only_where_it_is_to_be(api):
    chat, ids = forked_chat(api)
    said(api, chat, "a3", parent_id=ids["q"], activate=False)
    body = {"messages": [{"role": "user", "content": "more"}], "activate": False}
    assert api.post(f"{LIST}/{chat}/messages", body).status_code == 201
    assert shown(api, chat)["active_branch"] == 2
    assert [on_branch(chat, number) for number in (2, 3)] == [["q2", "more"], ["q", "a3"]]


def test_a_session_takes_parents_too(api):
    chat, ids = forked_chat(api)
    path = f"{SESSIONS}/{chat}/messages"
    body = {"role": "user", "content": "s", "parent_id": ids["a2"]}
    assert api.post(path, body).status_code == 201
    assert on_branch(chat, 1) == ["q", "a2", "s"]
    wrong = api.post(path, {"messages": [body | {"parent_id": str(uuid.uuid4())}]})
    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["loc"] == ["body", "messages", 0, "parent_id"]


TREE = [
    # name, the name of its parent (None: the message before)
    ("q", None),
    ("a1", "q"),
    ("a2", "q"),
    ("more", "a1"),
    ("end", None),
    ("q2", "root"),
    ("other", "more"),
]
PATHS = [["q", "a1", "more", "end"], ["q", "a2"], ["q2"], ["q", "a1", "more", "other"]]


def tree():
    ids = {name: str(uuid.uuid4()) for name, _ in TREE} | {"root": "root"}
    parents = [{} if parent is None else {"parent_id": ids[parent]} for _, parent in TREE]
    return [
        {"id": ids[name], "role": "user", "content": name} | parent
        for (name, _), parent in zip(TREE, parents, strict=True)
    ]


def test_a_whole_tree_is_one_request(api):
    chat, messages = new_chat(api), tree()
    answer = api.post(f"{LIST}/{chat}/messages", {"messages": messages})
    assert answer.status_code == 201
    assert [row["content"] for row in answer.json()["messages"]] == [name for name, _ in TREE]
    assert [on_branch(chat, number) for number in range(4)] == PATHS
    again = api.post(f"{LIST}/{chat}/messages", {"messages": messages})
    assert (again.status_code, again.json()) == (200, answer.json())


def test_a_conversation_is_created_with_a_tree(api):
    body = {"id": str(uuid.uuid4()), "messages": tree()}
    answer = api.post(LIST, body)
    assert answer.status_code == 201
    created = answer.json()
    assert (created["branch_count"], created["active_branch"], created["path_length"]) == (4, 3, 4)
    assert [on_branch(created["id"], number) for number in range(4)] == PATHS
    assert api.post(LIST, body).status_code == 200
    body["messages"][2]["parent_id"] = body["messages"][1]["id"]
    assert error_of(api.post(LIST, body), 409) == ("messages", "key_reused")


def test_many_conversations_are_created_with_trees(api):
    body = {"conversations": [{"messages": tree()}, {"messages": tree()}]}
    answer = api.post(f"{LIST}/bulk", body)
    assert answer.status_code == 201
    for created in answer.json()["conversations"]:
        assert [on_branch(created["id"], number) for number in range(4)] == PATHS
        assert created["branch_count"] == 4
    body["conversations"][1]["messages"][0] |= {"id": str(uuid.uuid4()), "parent_id": "nobody"}
    field = "conversations.1.messages.0.parent_id"
    assert error_of(api.post(f"{LIST}/bulk", body)) == (field, "invalid")


def test_a_later_message_of_the_request_is_no_parent(api):
    chat, messages = new_chat(api), tree()
    messages[2]["parent_id"] = messages[5]["id"]
    answer = api.post(f"{LIST}/{chat}/messages", {"messages": messages})
    assert error_of(answer) == ("messages.2.parent_id", "not_found")
    body = {"id": str(uuid.uuid4()), "messages": messages}
    assert error_of(api.post(LIST, body)) == ("messages.2.parent_id", "not_found")
    bulk = api.post(f"{LIST}/bulk", {"conversations": [{}, body]})
    assert error_of(bulk) == ("conversations.1.messages.2.parent_id", "not_found")
    assert not Message.objects.exists()
    assert [str(pk) for pk in Conversation.objects.values_list("pk", flat=True)] == [chat]


@pytest.mark.parametrize(
    ("parent", "code"),
    [
        ("nobody", "invalid"),
        (7, "invalid"),
        ("", "invalid"),
        (["root"], "invalid"),
        (None, "null"),
        ("00000000-0000-4000-8000-000000000000", "not_found"),
    ],
)
def test_a_bad_parent_is_named(api, parent, code):
    chat = new_chat(api)
    said(api, chat, "q")
    message = {"role": "user", "content": "x", "parent_id": parent}
    path = f"{LIST}/{chat}/messages"
    assert error_of(api.post(path, message)) == ("parent_id", code)
    bulk = {"messages": [{"role": "user", "content": "x"}, message]}
    assert error_of(api.post(path, bulk)) == ("messages.1.parent_id", code)
    assert error_of(api.post(path, {"messages": [message]})) == ("messages.0.parent_id", code)
    assert Message.objects.count() == 1


def test_a_message_of_another_conversation_is_no_parent(api, bob):
    mine = said(api, new_chat(api), "q")
    chat = new_chat(api)
    theirs = make_conversation(bob, 1).messages.get().id
    for parent in (mine, str(theirs)):
        answer = say(api, chat, "x", parent_id=parent)
        assert error_of(answer) == ("parent_id", "not_found")


def test_a_message_of_an_sdk_takes_a_parent(api):
    chat, ids = forked_chat(api)
    dumped = {"role": "assistant", "content": "No.", "refusal": None, "annotations": []}
    item = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    messages = [dumped | {"parent_id": ids["q"]}, item | {"parent_id": ids["q"]}]
    answer = api.post(f"{LIST}/{chat}/messages", {"messages": messages, "activate": False})
    assert [row["parent_id"] for row in answer.json()["messages"]] == [ids["q"]] * 2
    assert "parent_id" not in (answer.json()["messages"][1]["extra"] or {})
    assert say(api, chat, **dumped, parent_id="root", activate=False).status_code == 201
    assert shown(api, chat)["active_branch"] == 2


def test_a_query_string_has_no_parent(api):
    chat = new_chat(api)
    answer = api.post(f"{LIST}/{chat}/messages?role=user&content=x&parent_id=root")
    assert error_of(answer) == ("parent_id", "unknown_parameter")


@pytest.mark.parametrize("field", ["branch", "siblings"])
def test_what_the_server_sets_is_refused(api, field):
    assert error_of(say(api, new_chat(api), "x", **{field: 1})) == (field, "read_only")


def test_the_expected_sequence_is_that_of_the_branch_written_to(api):
    chat, ids = forked_chat(api)  # sequences: q 1, a1 2, a2 3, q2 4
    for parent, expected in ((ids["a1"], 2), (ids["a2"], 3), (ids["q"], 1), ("root", 0)):
        stale = say(api, chat, "x", parent_id=parent, expected_last_sequence=expected + 7)
        assert error_of(stale, 409) == ("expected_last_sequence", "stale_sequence")
        said(api, chat, "x", parent_id=parent, expected_last_sequence=expected)
    assert listed(api, chat)[0]["last_sequence"] == 5


def test_a_conversation_has_a_last_branch(api, alice):
    chat, ids = forked_chat(api)
    Conversation.objects.filter(pk=chat).update(last_branch=MAX_BRANCHES)
    assert error_of(say(api, chat, "x", parent_id="root")) == ("parent_id", "too_many_branches")
    assert say(api, chat, "x", parent_id=ids["a1"]).status_code == 201


def test_statements_of_an_append_with_a_parent(alice, statements):
    """Of the last message; of an earlier one, which opens a branch; and on a branch."""
    client = client_for(alice)
    chat = make_conversation(alice, 100)
    ids = list(chat.messages.order_by("sequence").values_list("id", flat=True))
    counts = []
    for parent in (ids[-1], ids[50], None, ids[20]):
        with statements() as seen:
            given = {} if parent is None else {"parent_id": str(parent)}
            assert say(client, chat.pk, "x", **given).status_code == 201
        counts.append(len(seen))
    # The token and whose it is, the conversation, the parent, the counters, the message. With a
    # branch also its row, read and written, and the message as it is answered; with a first one
    # what follows the parent (two) and the messages after it, and later the row of the line too.
    assert counts == [6, 10, 2, 11]


def test_a_tree_costs_statements_by_branch_and_not_by_message(alice, statements):
    client = client_for(alice)
    counts = []
    for size in (10, 100):
        chat = new_chat(client)
        ids = [str(uuid.uuid4()) for _ in range(size)]
        messages = [{"id": id_, "role": "user", "content": "x"} for id_ in ids]
        for message in messages[1:]:
            message["parent_id"] = ids[0]
        with statements() as seen:
            assert client.post(f"{LIST}/{chat}/messages", {"messages": messages}).status_code == 201
        counts.append(len(seen))
    assert counts[0] == counts[1]
