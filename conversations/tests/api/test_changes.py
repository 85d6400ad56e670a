"""GET /api/changes: pages, cursors, waiting, and what each kind of caller is given."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from conversations.chat.runtime.reaper import tend_changes
from conversations.models import AccessRecord, Change
from conversations.services import add_message, find_or_create_user
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_staff,
    make_token,
    make_trusted,
    make_user,
)

pytestmark = pytest.mark.django_db
FEED = "/api/changes"


def test_a_mirror_begins_at_the_end_and_goes_on(alice, backend):
    make_conversation(alice)
    begun = backend.get(FEED, {"after": "now"}).json()
    assert begun["changes"] == []
    chat = backend.post("/api/conversations", {"user_id": 7, "title": "Trip"}).json()
    said = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    messages = backend.post(f"/api/conversations/{chat['id']}/messages", said).json()["messages"]
    page = backend.get(begun["next"]).json()
    created, filled = page["changes"]
    assert created["type"] == "conversation.created"
    assert filled == {
        "cursor": page["next_cursor"],
        "type": "message.created",
        "user_id": 7,
        "conversation_id": chat["id"],
        "message_ids": [message["id"] for message in messages],
        "first_sequence": 1,
        "last_sequence": 2,
        "at": filled["at"],
    }
    assert created["message_ids"] == []
    assert (created["first_sequence"], created["last_sequence"]) == (None, None)
    after = backend.get(FEED, {"after": page["next_cursor"]}).json()
    assert (after["changes"], after["next_cursor"]) == ([], page["next_cursor"])
    assert backend.get(FEED, {"after": created["cursor"]}).json()["changes"] == [filled]


@pytest.mark.one_node("changes of different owners have no common order there")
def test_pages_follow_each_other_and_keep_the_other_parameters(alice, bob, backend):
    for owner in (alice, bob) * 3:
        make_conversation(owner)
    url, seen = f"{FEED}?user_id=alice&page_size=2", []
    while changes := (page := backend.get(url).json())["changes"]:
        assert len(changes) <= 2
        seen += changes
        url = page["next"]
        assert "user_id=alice" in url
        assert "page_size=2" in url
    assert [one["cursor"] for one in seen] == [1, 3, 5]
    assert page["next_cursor"] == 6
    assert len(backend.get(FEED).json()["changes"]) == 6
    assert backend.get(FEED, {"user_id": "nobody"}).json()["changes"] == []


def test_a_cursor_that_is_too_old_or_not_of_this_feed_is_410(alice, backend):
    for _ in range(3):
        make_conversation(alice)
    tend_changes()
    Change.objects.filter(position__lte=2).update(created_at="2020-01-01T00:00:00Z")
    tend_changes()
    for after, code in ((1, "changes_removed"), (4, "unknown_cursor")):
        refused = backend.get(FEED, {"after": after})
        assert refused.status_code == 410
        (error,) = refused.json()["errors"]
        assert (error["code"], error["attr"]) == (code, "after")
        assert "read the lists again" in error["detail"]
    assert [one["cursor"] for one in backend.get(FEED).json()["changes"]] == [3]


@pytest.mark.parametrize(
    "query",
    [
        *({"after": value} for value in ("", "-1", "1.5", "Now", "x", "9" * 17, "٣")),
        *({"wait": value} for value in ("-1", "31", "1.5", "")),
        *({"page_size": value} for value in ("0", "1001", "")),
        {"user_id": ""},
        {"since": "1"},
    ],
    ids=str,
)
def test_bad_parameters_are_refused_by_name(backend, query):
    refused = backend.get(FEED, query)
    assert refused.status_code == 400
    assert [error["attr"] for error in refused.json()["errors"]] == list(query)


def test_an_ordinary_user_is_told_for_whom_it_is(alice, api):
    for query in ({}, {"user_id": "alice"}, {"user_id": "*"}, {"after": "now"}):
        refused = api.get(FEED, query)
        assert refused.status_code == 403
        assert "trusted client or staff" in refused.json()["errors"][0]["detail"]


def test_each_look_of_staff_leaves_a_record_and_may_need_a_reason(alice, staff, settings):
    make_conversation(alice)
    client = client_for(staff)
    assert len(client.get(FEED, {"user_id": "alice"}).json()["changes"]) == 1
    assert client.get(FEED).status_code == 200
    found = [(one.owner_name, one.action, one.detail) for one in AccessRecord.objects.all()]
    assert sorted(found) == [("", "read", {"changes": True}), ("alice", "read", {"changes": True})]
    settings.CHAT_REQUIRE_READ_REASON = True
    assert client.get(FEED).json()["errors"][0]["code"] == "reason_required"
    assert client.get(FEED, headers={"Access-Reason": "Case 7"}).status_code == 200


def test_staff_without_the_right_to_read_messages_have_no_feed(alice):
    lister = make_user("lister", "view_conversation", is_staff=True)
    assert client_for(lister).get(FEED).status_code == 403


def test_namespaces_do_not_see_each_other(alice):
    three = find_or_create_user(3, namespace="crm")
    make_conversation(three)
    make_conversation(alice)
    make_conversation(make_staff())
    seen = {
        namespace: client_for(make_user(f"app-{namespace}"), trusted=True, namespace=namespace)
        .get(FEED)
        .json()["changes"]
        for namespace in ("crm", "erp", "")
    }
    assert [one["user_id"] for one in seen["crm"]] == [3]
    assert seen["erp"] == []
    assert [one["user_id"] for one in seen[""]] == ["alice"]
    crm = client_for(make_user("crm"), trusted=True, namespace="crm")
    assert [one["user_id"] for one in crm.get(FEED, {"user_id": 3}).json()["changes"]] == [3]
    assert crm.get(FEED, {"user_id": "：alice"}).status_code == 404


@pytest.mark.parametrize("chats", [1, 30])
def test_statements_are_pinned(alice, trusted, statements, chats):
    """Authentication, a look at what is pending, the lock, the state of the feed, a page, its
    messages; for those who come first, a lock, the pending changes, their owners and three writes
    beside."""
    client = client_for(trusted)
    client.get(FEED)
    for _ in range(chats):
        make_conversation(alice, messages=2)
    counts = []
    for _ in range(2):
        with statements() as seen:
            assert len(client.get(FEED).json()["changes"]) == 3 * chats
        counts.append(len(seen))
    assert counts == [13, 6]


@pytest.fixture
def get(transactional_db, live_server):
    """`get(query)` as a trusted client, over real HTTP."""
    token = make_token(make_trusted())

    def call(query):
        request = Request(
            f"{live_server.url}{FEED}?{query}", headers={"Authorization": f"Bearer {token}"}
        )
        with urlopen(request) as answer:
            return json.load(answer)

    return call


def test_a_wait_ends_with_the_change(get):
    alice = make_user("alice")
    start = get("after=now")["next_cursor"]
    with ThreadPoolExecutor(3) as pool:
        of_all = [pool.submit(get, f"after={start}&wait=30") for _ in range(2)]
        of_bob = pool.submit(get, f"after={start}&wait=2&user_id=bob")
        time.sleep(1)
        assert not any(waiting.done() for waiting in of_all)
        begun = time.monotonic()
        chat = make_conversation(alice)
        for waiting in of_all:
            assert waiting.result()["changes"][0]["conversation_id"] == str(chat.pk)
        assert time.monotonic() - begun < 20
        page = of_bob.result()
    assert page["changes"] == []
    assert page["next_cursor"] in (start, start + 1)


@pytest.mark.one_node("changes of different owners have no common order there")
def test_a_wait_of_one_owner_passes_over_the_changes_of_others(get):
    alice, bob = make_user("alice"), make_user("bob")
    start = get("after=now")["next_cursor"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, f"after={start}&wait=30&user_id=bob")
        chats = [make_conversation(owner) for owner in (alice, alice, bob)]
        (change,) = waiting.result()["changes"]
    assert change["conversation_id"] == str(chats[-1].pk)
    assert change["cursor"] == start + 3


def sessions():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend'"
        )
        return cursor.fetchone()[0]


def test_those_who_wait_share_one_connection(get):
    start = get("after=now")["next_cursor"]
    before = sessions()  # this test's, and of the server's threads
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(get, f"after={start}&wait=30") for _ in range(6)]
        ends = time.monotonic() + 20
        while sessions() > before + 2 and time.monotonic() < ends:
            time.sleep(0.2)
        assert sessions() <= before + 2  # not one for each of the six
        assert not any(one.done() for one in waiting)
        make_conversation(make_user("alice"))
        for one in waiting:
            assert len(one.result()["changes"]) == 1
    ends = time.monotonic() + 20
    while "changes" in {thread.name for thread in threading.enumerate()}:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_a_wait_behind_removed_changes_is_410_at_once(get):
    chat = make_conversation(make_user("alice"))
    add_message(conversation_id=chat.pk, role="user", content="x")
    tend_changes()
    Change.objects.update(created_at="2020-01-01T00:00:00Z")
    tend_changes()
    with pytest.raises(HTTPError) as refused:
        get("after=0&wait=30")
    assert refused.value.code == 410
