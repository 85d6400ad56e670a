"""How many statements each route takes, authentication included, whatever the number of rows."""

import pytest

from conversations.db.owners import is_distributed
from conversations.models import Message, id_from_key
from conversations.services import get_chat_history
from conversations.tests.api.test_access import filled
from conversations.tests.cluster import analyze, plans_of
from conversations.tests.factories import client_for, make_conversation

pytestmark = pytest.mark.django_db
LIST, ONE = "/api/conversations", "/api/conversations/{chat}"
SESSIONS = "/api/chat-history/sessions"
V1, V1_ONE = "/v1/conversations", "/v1/conversations/{chat}"
ITEMS = V1_ONE + "/items"
MANY, MESSAGE = ONE + "/messages", ONE + "/messages/{message}"

# method, path, body, the owner's statements, a trusted client's: one more says whose it is
COUNTS = [
    ("get", LIST, None, 2, 2),
    ("get", ONE, None, 3, 4),
    ("get", MANY, None, 2, 3),
    ("get", MANY + "?order=desc&after_sequence=3", None, 2, 3),
    ("get", MESSAGE, None, 2, 3),
    ("post", MANY, {"role": "user", "content": "x"}, 2, 3),
    ("post", MANY, {"messages": [{"role": "user", "content": "x"}] * 100}, 2, 3),
    ("post", LIST, {"title": "x"}, 2, 2),
    ("post", LIST, {"title": "x", "external_id": "e"}, 3, 3),
    ("post", LIST, {"messages": [{"role": "user", "content": "x"}] * 100}, 5, 5),
    ("post", LIST + "/bulk", {"conversations": [{"title": "x"}] * 10}, 11, 11),
    ("post", LIST, None, 2, 2),
    ("patch", ONE, {"title": "x"}, 3, 4),
    ("patch", MESSAGE, {"rating": 1}, 5, 6),
    ("delete", MESSAGE, None, 5, 6),
    ("get", "/api/users/{owner}/conversations", None, 2, 3),
    ("get", "/api/conversations?user_id={owner}", None, 2, 3),
    ("get", SESSIONS, None, 2, 2),
    ("get", SESSIONS + "/{chat}", None, 3, 4),
    ("get", SESSIONS + "/{chat}/messages", None, 2, 3),
    ("get", SESSIONS + "/{chat}/messages/{message}", None, 2, 3),
    ("post", SESSIONS + "/{chat}/messages", {"role": "user", "content": "x"}, 2, 3),
    ("get", "/api/chat/history/{chat}", None, 3, 4),
    ("get", "/api/search?q=message", None, 3, 3),
    ("get", "/api/tokens", None, 2, 2),
    ("get", "/api/me", None, 1, 1),
    ("get", ONE + "/branches", None, 4, 5),
    ("post", MANY, {"role": "user", "content": "x", "parent_id": "{message}"}, 6, 7),
    ("patch", ONE, {"active_branch": 0}, 3, 4),
    ("post", ONE + "/fork", {"message_id": "{message}"}, 13, 14),
    ("delete", ONE, None, 5, 6),
    ("get", V1, None, 2, 2),
    ("get", V1_ONE, None, 2, 3),
    ("get", ITEMS, None, 2, 3),
    ("get", ITEMS + "?after={item}&order=desc", None, 3, 4),
    ("get", ITEMS + "/{item}", None, 2, 3),
    ("post", V1, {}, 2, 2),
    ("post", V1, {"items": [{"role": "user", "content": "x"}] * 20}, 5, 5),
    ("post", V1_ONE, {"metadata": {"a": "b"}}, 3, 4),
    ("post", ITEMS, {"items": [{"role": "user", "content": "x"}] * 20}, 2, 3),
    ("delete", ITEMS + "/{item}", None, 7, 9),
    ("delete", V1_ONE, None, 5, 6),
]


@pytest.mark.parametrize("rows", [10, 1_000])
@pytest.mark.parametrize("route", COUNTS, ids=lambda route: f"{route[0]} {route[1]}")
def test_statements_are_pinned(alice, trusted, statements, route, rows):
    method, path, body, as_owner, as_trusted = route
    chat = make_conversation(alice, messages=rows)
    for _ in range(rows // 10):
        make_conversation(alice)
    make_conversation(trusted)
    for user, expected in ((alice, as_owner), (trusted, as_trusted)):
        message = get_chat_history(conversation_id=chat.pk, limit=1)[0].id if chat else None
        client = client_for(user)
        with statements() as seen:
            item = message and f"msg_{message.hex}"
            url = path.format(chat=chat.pk, message=message, item=item, owner="alice")
            answer = getattr(client, method)(url, filled(body, message=message))
        assert answer.status_code < 300, answer.content
        assert len(seen) <= expected + on_cluster(route, user), "\n".join(seen)
        if method == "delete" and path in (ONE, V1_ONE):
            break


def on_cluster(route, user):
    """There one statement more says whose a conversation is, or claims the id of a new one."""
    method, path, body, *_ = route
    looked_up = user.username == "backend" and "{chat}" in path
    if (method, path) == ("post", LIST + "/bulk"):
        claimed = len(body["conversations"])
    else:
        claimed = (method, path) in (("post", LIST), ("post", V1)) and body is not None
    again = (method, path) == ("delete", ITEMS + "/{item}") and looked_up
    return int(is_distributed()) * (looked_up + again + claimed)


def test_a_keyed_append_costs_no_more_and_a_repeat_little(alice, statements):
    chat = make_conversation(alice)
    client, body = client_for(alice), {"role": "user", "content": "x"}
    id_from_key("any", "key")  # the installation's secret is read once a process
    counts = []
    for _ in range(2):
        with statements() as seen:
            client.post(MANY.format(chat=chat.pk), body, headers={"Idempotency-Key": "k"})
        counts.append(len(seen))
    assert counts == [2, 5]
    assert Message.objects.count() == 1


@pytest.mark.parametrize("start", ["", "?after_sequence=2500", "?after_sequence=4900"])
def test_a_history_page_reads_only_its_own_rows_however_deep(explains, alice, start):
    """What PostgreSQL itself counts as read from the index and the table."""
    chat = make_conversation(alice, messages=5_000)
    client = client_for(alice)
    analyze("conversations_message")
    (plan,) = plans_of(
        "SELECT * FROM conversations_message WHERE user_id = %s AND conversation_id = %s"
        " AND sequence > %s ORDER BY sequence LIMIT 51",
        [alice.pk, chat.pk, int(start.partition("=")[2] or 0)],
        execute=True,
    )
    node = plan["Plan"]
    while "Plans" in node:
        node = node["Plans"][0]
    assert node["Node Type"] == "Index Scan"
    assert node["Index Name"].startswith("message_sequence_unique")
    assert node["Actual Rows"] <= 51
    assert client.get(MANY.format(chat=chat.pk) + start).status_code == 200
