from urllib.parse import urlencode

import pytest

from conversations.services import SCRIPT, delete_conversation
from conversations.tests.factories import client_for, fill, make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


def walk(client, url, key, direction="next"):
    """Every page from `url` on, as lists of ids."""
    while url:
        body = client.get(url).json()
        yield [item["id"] for item in body[key]]
        url = body[direction]


@pytest.fixture
def chats(alice):
    return [str(make_conversation(alice).pk) for _ in range(7)][::-1]


def test_pages_join_without_a_gap_or_a_repeat(api, chats):
    pages = list(walk(api, f"{LIST}?page_size=3", "conversations"))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sum(pages, []) == chats


def test_the_way_back_shows_the_same_pages(api, chats):
    url = f"{LIST}?page_size=3"
    while (body := api.get(url).json())["next"]:
        url = body["next"]
    back = list(walk(api, url, "conversations", "previous"))
    assert sum(back[::-1], []) == chats
    assert [len(page) for page in back] == [1, 3, 3]


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (f"{LIST}?order=created_at", "conversations"),
        ("/api/users/alice/conversations?order=created_at", "conversations"),
        ("/api/chat-history/sessions?order=created_at", "sessions"),
        (f"{LIST}/{{chat}}/messages?order=desc", "messages"),
        ("/api/chat-history/sessions/{chat}/messages?role=user&role=assistant", "messages"),
        ("/api/search?q=message", "results"),
    ],
)
def test_the_cursors_alone_lead_to_the_same_pages_as_the_urls(api, alice, chats, url, key):
    fill(alice.conversations.get(pk=chats[3]), 7)
    url = url.format(chat=chats[3]) + "&page_size=3"
    page = api.get(url).json()
    for direction in ("next", "next", "previous"):
        cursor = page[f"{direction}_cursor"]
        if key == "results" and direction == "previous":
            assert (cursor, page["previous"]) == (None, None)
            continue
        assert page[direction].endswith(urlencode({"cursor": cursor}))
        by_cursor = api.get(f"{url}&{urlencode({'cursor': cursor})}").json()
        by_url = api.get(page[direction]).json()
        assert by_cursor == by_url
        assert by_cursor[key] != page[key]
        page = by_cursor
    while page["next_cursor"]:
        page = api.get(f"{url}&{urlencode({'cursor': page['next_cursor']})}").json()
    assert page["next"] is None


def test_a_list_of_one_page_has_no_cursors(api, backend):
    for client, query in ((api, ""), (backend, "?user_id=nobody")):
        body = client.get(f"{LIST}{query}").json()
        assert body["next_cursor"] is body["previous_cursor"] is None


def test_inserts_and_deletes_between_two_pages_repeat_and_skip_nothing(api, alice, chats):
    first = api.get(f"{LIST}?page_size=3").json()
    make_conversation(alice)
    delete_conversation(conversation_id=first["conversations"][-1]["id"], access=SCRIPT)
    second = api.get(first["next"]).json()
    assert [item["id"] for item in second["conversations"]] == chats[3:6]


def test_equal_times_are_told_apart_by_id(api, alice, chats):
    alice.conversations.update(updated_at="2026-01-01T00:00:00Z")
    pages = list(walk(api, f"{LIST}?page_size=2", "conversations"))
    assert sum(pages, []) == sorted(chats, reverse=True)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_messages_are_paged_by_sequence(api, alice, order):
    chat = make_conversation(alice, messages=11)
    url = f"{LIST}/{chat.pk}/messages?page_size=4&order={order}"
    sequences = []
    while url:
        body = api.get(url).json()
        sequences += [m["sequence"] for m in body["messages"]]
        url = body["next"]
    assert sequences == sorted(range(1, 12), reverse=order == "desc")


def test_bounds_limit_the_sequences(api, alice):
    url = f"{LIST}/{make_conversation(alice, messages=9).pk}/messages"

    def sequences(query):
        return [m["sequence"] for m in api.get(f"{url}?{query}").json()["messages"]]

    assert sequences("after_sequence=7") == [8, 9]
    assert sequences("before_sequence=3") == [1, 2]
    assert sequences("after_sequence=2&before_sequence=5") == [3, 4]
    assert sequences("before_sequence=5&order=desc&page_size=2") == [4, 3]
    assert sequences("after_sequence=9") == []


def test_messages_appended_while_paging_are_reached(api, alice):
    chat = make_conversation(alice, messages=4)
    first = api.get(f"{LIST}/{chat.pk}/messages?page_size=3").json()
    fill(chat, 2)
    second = api.get(first["next"]).json()
    assert [m["sequence"] for m in second["messages"]] == [4, 5, 6]


@pytest.mark.parametrize("size", ["0", "201", "-1", "x", "1.5", "", "٣", "9" * 50])
def test_a_bad_page_size_is_refused_by_name(api, alice, size):
    chat = make_conversation(alice)
    for url in (LIST, f"{LIST}/{chat.pk}/messages"):
        answer = api.get(url, {"page_size": size})
        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "page_size")


def test_a_cursor_is_good_for_its_own_list_alone(api, alice, bob, chats):
    for _ in range(2):
        make_conversation(bob)
    theirs = client_for(bob).get(f"{LIST}?page_size=1").json()["next"]
    messages = make_conversation(alice, messages=3)
    of_messages = api.get(f"{LIST}/{messages.pk}/messages?page_size=1").json()["next"]
    own = api.get(f"{LIST}?page_size=1").json()["next"]
    cursors = [theirs, own[:-1] + ("A" if own[-1] != "A" else "B"), own + "x"]
    wrong = [*cursors, LIST + "?" + of_messages.partition("?")[2]]
    for url in [*wrong, f"{LIST}?cursor=", f"{LIST}?cursor=%00", f"{LIST}?cursor=é:é"]:
        answer = api.get(url)
        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "cursor")
