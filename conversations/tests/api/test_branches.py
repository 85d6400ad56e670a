"""The branches of a conversation: listed, shown, deleted."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from conversations.models import (
    AccessRecord,
    Branch,
    Change,
    Conversation,
    Message,
    Status,
    Tombstone,
)
from conversations.services import SCRIPT, set_legal_hold
from conversations.services.changes import sequence_changes
from conversations.tests.api.branching import (
    LIST,
    forked_chat,
    listed,
    new_chat,
    on_branch,
    said,
    say,
)
from conversations.tests.api.test_parents import error_of
from conversations.tests.chat.turns import begin
from conversations.tests.factories import client_for, make_conversation, make_superuser

pytestmark = pytest.mark.django_db
SESSIONS = "/api/chat-history/sessions"
MERGE = "application/merge-patch+json"


@pytest.fixture
def forked(api):
    return forked_chat(api)


def test_branches_are_listed_by_number(api, forked):
    chat, ids = forked
    activity = dict(Branch.objects.order_by("number").values_list("number", "updated_at"))
    expected = [
        # number, parent, forked after, length, last sequence, first words
        (0, None, None, 2, 2, "q"),
        (1, 0, ids["q"], 2, 3, "a2"),
        (2, None, None, 1, 4, "q2"),
    ]
    for face in (LIST, SESSIONS):
        branches = listed(api, chat, face)
        assert [tuple(branch.values())[:6] for branch in branches] == expected
        assert [branch["active"] for branch in branches] == [False, False, True]
        for branch in branches:
            shown = branch["last_activity"]
            assert datetime.fromisoformat(shown) == activity[branch["number"]]
    assert list(activity.values()) == sorted(activity.values())


def test_a_conversation_with_one_line_has_one_branch(api):
    chat = new_chat(api)
    empty = listed(api, chat)[0]
    said(api, chat, "Where to?" + " and then" * 20)
    said(api, chat, "Rome.")
    (branch,) = listed(api, chat)
    shown = api.get(f"{LIST}/{chat}").json()
    assert empty["first_words"] is None
    assert empty["length"] == 0
    assert branch == {
        "number": 0,
        "parent": None,
        "forked_after": None,
        "length": 2,
        "last_sequence": 2,
        "first_words": "Where to?" + " and then" * 7 + " and…",
        "last_activity": shown["updated_at"],
        "active": True,
    }


def test_the_first_words_are_those_that_are_left(api, forked):
    chat, ids = forked
    said(api, chat, "thanks", parent_id=ids["a1"])
    api.delete(f"{LIST}/{chat}/messages/{ids['q']}")
    api.delete(f"{LIST}/{chat}/messages/{ids['a2']}")
    branches = listed(api, chat)
    assert [branch["first_words"] for branch in branches] == ["a1", None, "q2"]
    assert [branch["length"] for branch in branches] == [2, 0, 1]
    # What forked after a message that is gone forks after the one before it.
    assert [branch["forked_after"] for branch in branches] == [None] * 3
    api.delete(f"{LIST}/{chat}/messages/{ids['a1']}")
    assert listed(api, chat)[0]["first_words"] == "thanks"


def test_the_last_activity_is_the_time_of_the_newest_message(backend):
    chat = new_chat(backend, user_id="carol")
    times = [f"2020-01-0{day}T00:00:00Z" for day in (1, 2, 3)]
    first = said(backend, chat, "q", created_at=times[0])
    said(backend, chat, "a1", created_at=times[2])
    said(backend, chat, "a2", created_at=times[1], parent_id=first)
    line, fork = [branch["last_activity"] for branch in listed(backend, chat)]
    assert fork == times[1]
    assert line == backend.get(f"{LIST}/{chat}").json()["updated_at"]


def test_branches_are_paged(api, forked):
    chat, ids = forked
    for _ in range(4):
        said(api, chat, "again", parent_id=ids["q"])
    numbers, pages = [], []
    url = f"{LIST}/{chat}/branches?page_size=3"
    while url:
        page = api.get(url).json()
        numbers += [branch["number"] for branch in page["branches"]]
        pages.append(len(page["branches"]))
        back, url = page["previous"], page["next"]
    assert (numbers, pages) == (list(range(7)), [3, 3, 1])
    assert [one["number"] for one in api.get(back).json()["branches"]] == [3, 4, 5]
    other = new_chat(api)
    cursor = api.get(f"{LIST}/{chat}/branches?page_size=3").json()["next_cursor"]
    assert error_of(api.get(f"{LIST}/{other}/branches?cursor={cursor}")) == ("cursor", "invalid")
    assert error_of(api.get(f"{LIST}/{chat}/branches?order=asc")) == ("order", "unknown_parameter")


@pytest.mark.parametrize("branches", [1, 5, 150])
def test_statements_of_the_list_are_few(alice, statements, branches):
    client = client_for(alice)
    chat = make_conversation(alice, 3)
    first = str(chat.messages.order_by("sequence").first().id)
    messages = [{"role": "user", "content": "x", "parent_id": first}] * (branches - 1)
    if messages:
        client.post(f"{LIST}/{chat.pk}/messages", {"messages": messages})
    with statements() as seen:
        assert len(listed(client, f"{chat.pk}")) == min(branches, 50)
    # The token, the conversation, its branches, and for a single line its beginning.
    assert len(seen) == (4 if branches == 1 else 3)


@pytest.mark.parametrize("how", ["application/json", MERGE])
def test_another_branch_is_shown(api, forked, how):
    chat, ids = forked
    for face, change, active, length in (
        (LIST, {"active_branch": 0}, 0, 2),
        (SESSIONS, {"active_branch": 2}, 2, 1),
        (LIST, {"active_message_id": ids["a1"]}, 0, 2),
        (LIST, {"active_message_id": ids["q"]}, 1, 2),
    ):
        answer = api.patch(f"{face}/{chat}", change, content_type=how) if how == MERGE else None
        answer = answer or api.patch(f"{face}/{chat}", change)
        assert answer.status_code == 200, answer.content
        shown = answer.json()
        assert (shown["active_branch"], shown["path_length"]) == (active, length)
        assert [branch["number"] for branch in listed(api, chat) if branch["active"]] == [active]
    said(api, chat, "thanks")
    assert on_branch(chat, 1) == ["q", "a2", "thanks"]
    # Of those through the question the one that was written to last.
    said(api, chat, "thanks", parent_id=ids["a1"])
    api.patch(f"{LIST}/{chat}", {"active_branch": 2})
    assert api.patch(f"{LIST}/{chat}", {"active_message_id": ids["q"]}).json()["active_branch"] == 0


def test_with_other_changes_all_or_none(api, forked):
    chat, _ = forked
    both = api.patch(f"{LIST}/{chat}", {"active_branch": 0, "title": "T", "metadata": {"a": 1}})
    shown = both.json()
    assert (shown["active_branch"], shown["title"], shown["metadata"]) == (0, "T", {"a": 1})
    refused = api.patch(f"{LIST}/{chat}", {"active_branch": 9, "title": "U"})
    assert error_of(refused) == ("active_branch", "not_found")
    taken = new_chat(api, external_id="x")
    refused = api.patch(f"{LIST}/{chat}", {"active_branch": 1, "external_id": "x"})
    assert error_of(refused, 409) == ("external_id", "key_reused")
    after = api.get(f"{LIST}/{chat}").json()
    assert (after["title"], after["active_branch"], after["external_id"]) == ("T", 0, None)
    assert taken != chat


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"active_branch": 3}, ("active_branch", "not_found")),
        ({"active_branch": -1}, ("active_branch", "min_value")),
        ({"active_branch": 40_000}, ("active_branch", "max_value")),
        ({"active_branch": "1"}, ("active_branch", "invalid")),
        ({"active_branch": True}, ("active_branch", "invalid")),
        ({"active_branch": None}, ("active_branch", "null")),
        ({"active_message_id": "x"}, ("active_message_id", "invalid")),
        ({"active_message_id": str(uuid.UUID(int=7))}, ("active_message_id", "not_found")),
        ({"active_message_id": None}, ("active_message_id", "null")),
        ({"branch_count": 1}, ("branch_count", "read_only")),
        ({"path_length": 1}, ("path_length", "read_only")),
        ({"forked_from": None}, ("forked_from", "read_only")),
    ],
)
def test_a_bad_branch_is_named(api, forked, change, error):
    chat, _ = forked
    assert error_of(api.patch(f"{LIST}/{chat}", change)) == error
    assert Conversation.objects.get().active_branch == 2


def test_one_way_to_say_which_branch(api, forked):
    chat, ids = forked
    both = {"active_branch": 0, "active_message_id": ids["a1"]}
    assert error_of(api.patch(f"{LIST}/{chat}", both)) == ("active_message_id", "ambiguous")


def test_the_only_line_may_be_shown(api):
    chat = new_chat(api)
    message = said(api, chat, "q")
    for change in ({"active_branch": 0}, {"active_message_id": message}):
        assert api.patch(f"{LIST}/{chat}", change).json()["active_branch"] == 0


def test_a_branch_is_deleted_with_those_that_forked_from_it(api, forked):
    chat, ids = forked
    under = said(api, chat, "under", parent_id=ids["a2"])
    said(api, chat, "deep", parent_id=ids["a2"])  # forks after a2, before `under`
    assert [branch["parent"] for branch in listed(api, chat)] == [None, 0, None, 1]
    answer = api.delete(f"{LIST}/{chat}/branches/1")
    expected = {"status": "deleted", "conversation_id": chat, "branch": 1, "deleted": 3}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert [branch["number"] for branch in listed(api, chat)] == [0, 2]
    shown = api.get(f"{LIST}/{chat}").json()
    assert (shown["message_count"], shown["branch_count"]) == (3, 2)
    # The active branch was one of them: now it is that from which they forked.
    assert (shown["active_branch"], shown["path_length"]) == (0, 2)
    assert {str(row.id) for row in Tombstone.objects.all()} >= {ids["a2"], under}
    assert api.get(f"{LIST}/{chat}/messages/{under}").status_code == 404
    assert error_of(say(api, chat, "x", id=ids["a2"]), 409)[1] == "deleted"
    # Numbers are not given again.
    said(api, chat, "x", parent_id=ids["q"])
    assert [branch["number"] for branch in listed(api, chat)] == [0, 2, 4]


def test_the_only_branch_is_not_deleted(api, forked):
    chat, _ = forked
    for number in (0, 2):
        answer = api.delete(f"{SESSIONS}/{chat}/branches/{number}")
        if number == 0:  # and the answer that forked from it
            assert answer.json() == {
                "status": "deleted",
                "session_id": chat,
                "branch": 0,
                "deleted": 3,
            }
    assert error_of(answer, 409) == ("branch", "only_branch")
    line = new_chat(api)
    said(api, line, "q")
    assert error_of(api.delete(f"{LIST}/{line}/branches/0"), 409) == ("branch", "only_branch")
    assert Message.objects.count() == 2


@pytest.mark.parametrize("number", ["7", "32767"])
def test_a_branch_that_is_not_there_is_not_found(api, forked, number):
    chat, _ = forked
    path = f"/branches/{number}"
    assert error_of(api.delete(f"{LIST}/{chat}{path}"), 404) == ("branch", "not_found")
    assert error_of(api.delete(f"{LIST}/{new_chat(api)}{path}"), 404) == ("branch", "not_found")


@pytest.mark.parametrize("number", ["-1", "x", "99999", "1.0", "\u0661"])
def test_what_is_no_number_is_named(api, forked, number):
    chat, _ = forked
    assert error_of(api.delete(f"{LIST}/{chat}/branches/{number}")) == ("branch", "invalid")
    assert Message.objects.count() == 4


def test_a_branch_with_a_running_answer_is_kept(api, alice, forked):
    chat, ids = forked
    opening = {"role": "assistant", "content": "", "status": "streaming"}
    answer = said(api, chat, parent_id=ids["a2"], **opening)
    assert error_of(api.delete(f"{LIST}/{chat}/branches/1"), 409)[1] == "turn_running"
    assert api.delete(f"{LIST}/{chat}/branches/2").status_code == 200
    Message.objects.filter(id=answer).update(updated_at=timezone.now() - timedelta(days=1))
    assert api.delete(f"{LIST}/{chat}/branches/1").json()["deleted"] == 2


def hold(chat):
    access = replace(SCRIPT, reason="Case 7")
    set_legal_hold(conversation_id=uuid.UUID(chat), on_hold=True, access=access)


def test_on_legal_hold_branches_are_added_and_not_moved(api, forked):
    chat, ids = forked
    hold(chat)
    assert error_of(api.delete(f"{LIST}/{chat}/branches/2"), 409)[1] == "not_changeable"
    refused = api.patch(f"{LIST}/{chat}", {"active_branch": 0})
    assert error_of(refused, 409)[1] == "not_changeable"
    said(api, chat, "a3", parent_id=ids["q"])
    said(api, chat, "more", parent_id=ids["a1"])
    assert api.get(f"{LIST}/{chat}").json()["active_branch"] == 0
    assert [branch["length"] for branch in listed(api, chat)] == [3, 2, 1, 2]
    line = new_chat(api)
    said(api, line, "q")
    hold(line)
    said(api, line, "q2", parent_id="root")
    assert [branch["first_words"] for branch in listed(api, line)] == ["q", "q2"]
    assert api.post(f"{LIST}/{chat}/fork", {"message_id": ids["a1"]}).status_code == 201


def test_the_feed_tells_of_branches(api, forked):
    chat, ids = forked

    def told(act):
        sequence_changes()
        before = set(Change.objects.values_list("position", flat=True))
        act()
        sequence_changes()
        news = Change.objects.exclude(position__in=before).order_by("position")
        return [(one.kind, one.first_sequence) for one in news]

    changed = ("conversation.changed", None)
    assert told(lambda: said(api, chat, "more")) == [("message.created", 5)]
    opened = told(lambda: said(api, chat, "a3", parent_id=ids["q"]))
    assert opened == [("message.created", 6), changed]
    assert told(lambda: api.patch(f"{LIST}/{chat}", {"active_branch": 0})) == [changed]
    assert told(lambda: api.patch(f"{LIST}/{chat}", {"active_branch": 0})) == []
    deleted = told(lambda: api.delete(f"{LIST}/{chat}/branches/2"))
    assert sorted(deleted, key=str) == [changed, ("message.deleted", 4), ("message.deleted", 5)]


def test_acts_of_staff_are_on_record(forked):
    chat, ids = forked
    staff = client_for(make_superuser())
    staff.get(f"{LIST}/{chat}/branches")
    staff.patch(f"{LIST}/{chat}", {"active_message_id": ids["a1"]})
    staff.delete(f"{LIST}/{chat}/branches/2")
    staff.post(f"{LIST}/{chat}/fork", {"message_id": ids["a1"]})
    staff.delete(f"{LIST}/{chat}/branches/7")
    records = AccessRecord.objects.order_by("created_at").values_list("action", "detail")
    assert list(records) == [
        ("read", {}),
        ("change", {"fields": ["active_message_id"]}),
        ("delete", {"branch": 2}),
        ("change", {"fork": ids["a1"]}),
        ("delete", {"branch": 7, "refused": "not_found"}),
    ]


def test_a_turn_runs_on_and_is_not_deleted_with_another_branch(alice, api):
    turn = begin(alice)
    chat = str(turn.conversation_id)
    question = Message.objects.get(role="user")
    said(api, chat, "other", parent_id="root")
    assert error_of(api.delete(f"{LIST}/{chat}/branches/0"), 409)[1] == "turn_running"
    assert api.delete(f"{LIST}/{chat}/branches/1").status_code == 200
    assert Message.objects.get(role="assistant").status == Status.STREAMING
    assert Message.objects.filter(id=question.id).exists()
