"""Reading a conversation with branches: messages, detail and history, of both names."""

import pytest

from conversations.formats import MessageDraft
from conversations.services import SCRIPT, append_drafts, update_conversation
from conversations.tests.factories import make_conversation

pytestmark = pytest.mark.django_db
CONVERSATIONS, SESSIONS = "/api/conversations", "/api/chat-history/sessions"


def add(chat, content, parent=None, role="user", **options):
    rows, _ = append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role=role, content=content)],
        parents=[parent] if parent else [],
        access=SCRIPT,
        **options,
    )
    return str(rows[0]["id"])


def activate(chat, number):
    update_conversation(conversation_id=chat.pk, changes={"active_branch": number}, access=SCRIPT)


@pytest.fixture
def chat(alice):
    """q1 - a1 - q2 - a2, where a1 was given again as a1b, with q3 after it, which is shown."""
    chat = make_conversation(alice)
    ids = {name: add(chat, name) for name in ("q1", "a1", "q2", "a2")}
    ids["a1b"] = add(chat, "a1b", ids["q1"])
    ids["q3"] = add(chat, "q3")
    chat.ids = ids
    return chat


def contents(answer):
    return [message["content"] for message in answer.json()["messages"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["q1", "a1b", "q3"]),
        ("?branch=active", ["q1", "a1b", "q3"]),
        ("?branch=0", ["q1", "a1", "q2", "a2"]),
        ("?branch=1", ["q1", "a1b", "q3"]),
        ("?branch=all", ["q1", "a1", "q2", "a2", "a1b", "q3"]),
    ],
)
def test_a_branch_is_read_by_its_number(api, chat, query, expected):
    for path in (CONVERSATIONS, SESSIONS):
        assert contents(api.get(f"{path}/{chat.pk}{query}")) == expected
        assert contents(api.get(f"{path}/{chat.pk}/messages{query}")) == expected
        again = f"{query}{'&' if query else '?'}order=desc"
        assert contents(api.get(f"{path}/{chat.pk}/messages{again}")) == expected[::-1]
    assert contents(api.get(f"/api/chat/history/{chat.pk}{query}")) == expected


def test_each_message_names_its_parent_and_its_siblings(api, chat):
    ids = chat.ids
    shown = api.get(f"{CONVERSATIONS}/{chat.pk}/messages").json()["messages"]
    answers = [ids["a1"], ids["a1b"]]
    assert [(one["parent_id"], one["branch"], one["siblings"]) for one in shown] == [
        (None, 0, None),
        (ids["q1"], 1, {"position": 2, "count": 2, "ids": answers}),
        (ids["a1b"], 1, None),
    ]
    first = api.get(f"{CONVERSATIONS}/{chat.pk}/messages/{ids['a1']}").json()
    assert first["siblings"] == {"position": 1, "count": 2, "ids": answers}
    session = api.get(f"{SESSIONS}/{chat.pk}/messages/{ids['a1']}").json()
    assert session.pop("session_id") == first.pop("conversation_id")
    assert session == first


def test_what_is_written_is_answered_with_its_place(api, chat):
    url = f"{CONVERSATIONS}/{chat.pk}/messages"
    added = api.post(url, {"role": "user", "content": "q4"}, headers={"Idempotency-Key": "k"})
    place = {"branch": 1, "parent_id": chat.ids["q3"], "siblings": None}
    assert added.json() | place == added.json()
    again = api.post(url, {"role": "user", "content": "q4"}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (200, added.json())
    rated = api.patch(f"{url}/{added.json()['id']}", {"rating": 1}).json()
    assert rated | place == rated
    many = {"messages": [{"role": "user", "content": str(at)} for at in range(3)]}
    rows = api.post(url, many).json()["messages"]
    ids = [added.json()["id"], *(row["id"] for row in rows)]
    assert [row["parent_id"] for row in rows] == ids[:-1]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_pages_cross_segments_in_both_directions(api, chat, size):
    activate(chat, 0)
    for content in ("a3", "q4"):
        add(chat, content)  # the first line goes on
    for order, expected in (("asc", "q1 a1 q2 a2 a3 q4"), ("desc", "q4 a3 a2 q2 a1 q1")):
        url = f"{CONVERSATIONS}/{chat.pk}/messages?page_size={size}&order={order}"
        pages = []
        while url:
            page = api.get(url)
            pages.append(contents(page))
            url = page.json()["next"]
        assert sum(pages, []) == expected.split()
        back = page.json()["previous"]
        while back:
            page = api.get(back)
            pages.pop()
            assert contents(page) == pages[-1]
            back = page.json()["previous"]


def test_a_cursor_stays_on_its_branch(api, chat):
    page = api.get(f"{CONVERSATIONS}/{chat.pk}/messages?page_size=2").json()
    activate(chat, 0)
    assert contents(api.get(page["next"])) == ["q3"]
    assert contents(api.get(f"{CONVERSATIONS}/{chat.pk}/messages?page_size=2")) == ["q1", "a1"]


def test_filters_and_bounds_stay_on_the_branch(api, chat):
    url = f"{CONVERSATIONS}/{chat.pk}/messages"
    add(chat, "a3", role="assistant")
    assert contents(api.get(f"{url}?role=user")) == ["q1", "a1b", "q3"]
    assert contents(api.get(f"{url}?role=assistant&branch=all")) == ["a3"]
    assert contents(api.get(f"{url}?role=user&branch=0&order=desc")) == ["a2", "q2", "a1", "q1"]
    assert contents(api.get(f"{url}?after_sequence=1")) == ["a1b", "q3", "a3"]
    assert contents(api.get(f"{url}?branch=0&after_sequence=1&before_sequence=4")) == ["a1", "q2"]
    page = api.get(f"{url}?role=user&page_size=2").json()
    assert contents(api.get(page["next"])) == ["q3"]
    shown = api.get(f"{url}?role=assistant").json()["messages"]
    assert shown[0]["parent_id"] == chat.ids["q3"]


def test_the_rest_of_a_long_branch_is_named(api, alice, monkeypatch):
    monkeypatch.setattr("conversations.api.message_pages.DETAIL_MESSAGES", 2)
    chat = make_conversation(alice)
    first = add(chat, "0")
    for content in ("1", "2"):
        add(chat, content)
    for content in ("x", "y", "z"):
        first = add(chat, content, first)
    shown = api.get(f"{CONVERSATIONS}/{chat.pk}").json()
    activate(chat, 0)
    rest = api.get(shown["messages_next"])
    assert [m["content"] for m in shown["messages"]] + contents(rest) == ["0", "x", "y", "z"]
    all_of_them = api.get(f"{CONVERSATIONS}/{chat.pk}?branch=all").json()
    assert contents(api.get(all_of_them["messages_next"])) == ["2", "x", "y", "z"]


@pytest.mark.parametrize("branch", ["", "-1", "x", "1.5", "40000", "١"])
def test_a_bad_branch_is_refused_by_name(api, chat, branch):
    answer = api.get(f"{CONVERSATIONS}/{chat.pk}/messages", {"branch": branch})
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "branch")
    assert api.get(f"{SESSIONS}/{chat.pk}", {"branch": branch}).status_code == 422


@pytest.mark.parametrize("path", ["", "/messages"])
def test_a_branch_that_is_not_there_is_not_found(api, chat, alice, path):
    for one in (chat, make_conversation(alice, messages=2)):
        answer = api.get(f"{CONVERSATIONS}/{one.pk}{path}?branch=9")
        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (404, "branch")
    filtered = api.get(f"{CONVERSATIONS}/{chat.pk}/messages?branch=9&role=user")
    assert filtered.status_code == 404


def test_a_page_takes_no_more_statements_with_branches(api, chat, statements):
    for path, count in (("", 3), ("/messages", 2), ("/messages?branch=all", 2)):
        with statements() as seen:
            api.get(f"{CONVERSATIONS}/{chat.pk}{path}")
        assert len(seen) == count
