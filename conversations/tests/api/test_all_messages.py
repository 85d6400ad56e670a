"""GET /api/messages: messages across conversations."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection

from conversations.api.serializers import PLACE_ON_BRANCHES
from conversations.models import AccessRecord, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts, find_or_create_user
from conversations.tests.api.test_external_ids import error_of, plan_of
from conversations.tests.factories import (
    client_for,
    fill,
    make_conversation,
    make_staff,
    make_user,
)

pytestmark = pytest.mark.django_db
MESSAGES = "/api/messages"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def say(chat, *drafts):
    append_drafts(conversation_id=chat.pk, drafts=list(drafts), access=SCRIPT, from_client=False)


@pytest.fixture
def chats(alice):
    one = make_conversation(alice, tags=["vip"], metadata={"topic": "travel", "n": 1})
    two = make_conversation(alice)
    times = [AT + timedelta(hours=hour) for hour in range(4)]
    say(
        one,
        MessageDraft(role="user", content="a", created_at=times[0]),
        MessageDraft(
            role="assistant",
            content="b",
            model="gpt",
            provider="openai",
            detected_mode="m",
            rating=1,
            created_at=times[2],
        ),
    )
    say(
        two,
        MessageDraft(role="user", content="c", created_at=times[1]),
        MessageDraft(role="assistant", content="d", status="failed", created_at=times[3]),
    )
    return one, two


def contents(client, query=""):
    return "".join(said["content"] for said in client.get(f"{MESSAGES}?{query}").json()["messages"])


def test_messages_of_all_conversations_by_time(api, alice, chats):
    answer = api.get(MESSAGES).json()
    assert [said["content"] for said in answer["messages"]] == ["d", "b", "c", "a"]
    newest, oldest = answer["messages"][0], answer["messages"][-1]
    assert (newest["conversation_id"], oldest["conversation_id"]) == (
        str(chats[1].pk),
        str(chats[0].pk),
    )
    alone = api.get(f"/api/conversations/{chats[1].pk}/messages/{newest['id']}").json()
    for name in PLACE_ON_BRANCHES:
        del alone[name]
    assert newest == alone | {"user_id": "alice"}
    assert contents(api, "order=created_at") == "acbd"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("role=user", "ac"),
        ("role=user&role=assistant", "acbd"),
        ("status=failed", "d"),
        ("status=complete&role=assistant", "b"),
        ("provider=openai", "b"),
        ("model=gpt", "b"),
        ("mode=m", "b"),
        ("rating=1", "b"),
        ("rating=-1", ""),
        ("tag=vip", "ab"),
        ("tag=vip&role=user", "a"),
        ("tag=vip&tag=x", ""),
        ("metadata[topic]=travel&metadata[n]=1", "ab"),
        ("metadata[topic]=food", ""),
        ("metadata_key=topic", "ab"),
        ("metadata_key=n&metadata_value=1", "ab"),
        (f"created_after={quote((AT + timedelta(hours=1)).isoformat())}", "cbd"),
        (f"created_before={quote((AT + timedelta(hours=1)).isoformat())}", "a"),
    ],
)
def test_filters(api, backend, chats, query, found):
    assert contents(api, f"order=created_at&{query}") == found
    assert contents(backend, f"user_id=*&order=created_at&{query}") == found
    assert contents(backend, f"user_id=alice&order=created_at&{query}") == found


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("role=User", "role"),
        ("rating=2", "rating"),
        ("status=x", "status"),
        ("order=sequence", "order"),
        ("after_sequence=1", "after_sequence"),
        ("metadata=x", "metadata"),
        ("metadata_value=x", "metadata_value"),
        ("cursor=x", "cursor"),
        ("created_after=soon", "created_after"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(api, query, attr):
    assert error_of(api.get(f"{MESSAGES}?{query}"))[:2] == (400, attr)


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
@pytest.mark.parametrize("query", ["", "&tag=vip", "&user_id=*"])
def test_pages_join_without_a_gap_or_a_repeat_even_at_equal_times(alice, backend, order, query):
    """Of two conversations with messages of the same ids, as a copy has them."""
    copies = [make_conversation(alice, 5, tags=["vip"]) for _ in range(2)]
    ids = list(Message.objects.of(alice.pk, copies[0].pk).values_list("id", flat=True))
    for sequence, id_ in enumerate(ids, start=1):
        Message.objects.of(alice.pk, copies[1].pk).filter(sequence=sequence).update(id=id_)
    Message.objects.update(created_at=AT)
    client = backend if "user_id" in query else client_for(alice)
    url, seen = f"{MESSAGES}?page_size=3&order={order}{query}", []
    while url:
        page = client.get(url).json()
        seen += [(said["id"], said["conversation_id"]) for said in page["messages"]]
        url = page["next"]
    assert seen == sorted(seen, reverse=order.startswith("-"))
    assert len(set(seen)) == len(seen) == 10
    back = client.get(page["previous"]).json()["messages"]
    assert [(said["id"], said["conversation_id"]) for said in back] == seen[-4:-1]


def test_a_trusted_client_sees_its_users_and_no_others(chats, backend, bob):
    say(make_conversation(bob), MessageDraft(role="user", content="e"))
    hidden = find_or_create_user(3, namespace="crm"), make_user("boss", is_staff=True)
    for user in hidden:
        say(make_conversation(user), MessageDraft(role="user", content="x"))
    rows = backend.get(f"{MESSAGES}?user_id=*").json()["messages"]
    assert [(said["user_id"], said["content"]) for said in rows[:2]] == [
        ("bob", "e"),
        ("alice", "d"),
    ]
    assert len(rows) == 5
    crm = client_for(make_user("app"), trusted=True, namespace="crm")
    rows = crm.get(f"{MESSAGES}?user_id=*").json()["messages"]
    assert [(said["user_id"], said["content"]) for said in rows] == [(3, "x")]
    assert contents(backend) == ""
    assert contents(backend, "user_id=nobody") == ""
    assert error_of(backend.get(f"{MESSAGES}?user_id=nobody&role=x"))[:2] == (400, "role")


def test_staff_leave_a_record_that_says_what_they_looked_for(chats):
    client = client_for(make_staff())
    assert contents(client, "user_id=*&status=failed&metadata[a]=1") == ""
    assert contents(client, "user_id=alice&role=user") == "ca"
    assert contents(client) == ""
    records = AccessRecord.objects.order_by("created_at")
    assert [(one.action, one.owner_name, one.detail) for one in records] == [
        ("read", "", {"messages": "status=failed&metadata%5Ba%5D=1"}),
        ("read", "alice", {"messages": "role=user"}),
    ]


def test_an_abandoned_answer_reads_as_interrupted(api, chats):
    Message.objects.filter(content="d").update(status="streaming", updated_at=AT)
    assert api.get(MESSAGES).json()["messages"][0]["status"] == "interrupted"
    assert contents(api, "status=interrupted") == "d"
    assert contents(api, "status=streaming") == ""


@pytest.mark.parametrize("rows", [10, 500])
def test_the_statements_do_not_follow_the_rows(alice, backend, statements, rows):
    fill(make_conversation(alice, tags=["vip"]), rows)
    for client, query in ((client_for(alice), ""), (backend, "&user_id=*")):
        for filters in ("role=user", "tag=vip&metadata_key=a"):
            with statements() as seen:
                assert client.get(f"{MESSAGES}?{filters}{query}").status_code == 200
            assert len(seen) == 2


@pytest.mark.one_node("the plans of one server")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("", "message_user_created_idx"),
        ("role=user", "message_user_created_idx"),
        ("user_id=*", "message_created_idx"),
    ],
)
def test_pages_are_read_through_an_index(alice, bob, statements, query, index):
    for user, count in ((bob, 5_000), (alice, 200), (bob, 5_000)):
        fill(make_conversation(user), count)
    # The plan is that of many users, whatever autovacuum has seen of this table meanwhile.
    User.objects.bulk_create(User(username=f"user {number}") for number in range(200))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversations_message, auth_user")
    client = client_for(make_staff()) if "user_id" in query else client_for(alice)
    first = client.get(f"{MESSAGES}?{query}").json()["next_cursor"]
    for cursor in ("", f"&cursor={quote(first)}"):
        with statements() as seen:
            assert len(client.get(f"{MESSAGES}?{query}{cursor}").json()["messages"]) == 50
        (statement,) = [sql for sql in seen if "ORDER BY" in sql]
        plan = plan_of(statement)
        assert f"using {index}" in plan
        assert "Seq Scan on conversations_message" not in plan
