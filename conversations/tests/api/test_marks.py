"""Lists and searches by what applications and people mark: tags, metadata, ratings."""

from urllib.parse import quote

import pytest
from django.db import connection

from conversations.models import Conversation
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.api.test_external_ids import error_of, plan_of
from conversations.tests.factories import client_for, make_conversation, make_staff

pytestmark = pytest.mark.django_db
LIST, SEARCH = "/api/conversations", "/api/search"
LISTS = [LIST, "/api/users/alice/conversations", "/api/chat-history/sessions"]
MARKED = {
    "a": (["vip"], {"topic": "travel", "n": 5, "open": True, "none": None, "nested": {"x": 1}}, 1),
    "b": (["vip", "eu"], {"topic": "travel", "n": "5", "open": "true"}, -1),
    "c": ([], {"topic": "food", "n": 5.0, "a.b-c": "x", "": "empty", "é]": "odd"}, None),
    "d": ([], {}, 1),
}


@pytest.fixture(autouse=True)
def chats(alice):
    for title, (tags, metadata, rating) in MARKED.items():
        chat = make_conversation(alice, title=title, tags=tags, metadata=metadata)
        drafts = [
            MessageDraft(role="user", content=f"zebra {title}"),
            MessageDraft(role="assistant", content="an answer about zebra", rating=rating),
        ]
        append_drafts(conversation_id=chat.pk, drafts=drafts, access=SCRIPT, from_client=False)


def titles(api, url, query):
    body = api.get(f"{url}?{query}&order=created_at").json()
    return "".join(chat["title"] for chat in body.get("conversations", body.get("sessions")))


def found(api, query):
    results = api.get(f"{SEARCH}?{query}").json()["results"]
    return "".join(sorted({hit["conversation"]["title"] for hit in results}))


BY_METADATA = [
    ("metadata[topic]=travel", "ab"),
    ("metadata[topic]=trav", ""),
    ("metadata[n]=5", "abc"),
    ("metadata[open]=true", "ab"),
    ("metadata[none]=null", "a"),
    ("metadata[nested]=1", ""),
    ("metadata[x]=1", ""),
    ("metadata[a.b-c]=x", "c"),
    (f"metadata[{quote('é]')}]=odd", "c"),
    ("metadata%5Btopic%5D=food", "c"),
    ("metadata[topic]=travel&metadata[n]=5", "ab"),
    ("metadata[topic]=travel&metadata[topic]=food", ""),
    ("metadata[topic]=travel&metadata_key=none", "a"),
    ("metadata[topic]=", ""),
    ("metadata[topic]=travel&tag=eu", "b"),
    ("metadata_key=topic&metadata_value=food", "c"),
]


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        *BY_METADATA,
        ("rating=1", "ad"),
        ("rating=-1", "b"),
        ("rating=1&tag=vip", "a"),
        ("has_rating=false", "c"),
    ],
)
def test_lists(api, url, query, expected):
    assert titles(api, url, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        *BY_METADATA,
        ("tag=vip", "ab"),
        ("tag=vip&tag=eu", "b"),
        ("rating=1", "ad"),
        ("rating=-1", "b"),
        ("rating=1&metadata[topic]=travel", "a"),
        ("rating=1&role=user", ""),
    ],
)
def test_search(api, query, expected):
    assert found(api, f"q=zebra&{query}") == expected
    assert found(api, f'q="about zebra" OR zebra&{query}') == expected


def test_titles_are_searched_among_the_same_conversations(api, alice):
    for tags in (["vip"], []):
        make_conversation(alice, title="Giraffe", tags=tags)
    hits = api.get(f"{SEARCH}?q=giraffe&tag=vip").json()["results"]
    assert [hit["kind"] for hit in hits] == ["title"]
    assert api.get(f"{SEARCH}?q=giraffe&rating=1").json()["results"] == []


def test_a_rating_is_the_messages_own(api):
    hits = api.get(f"{SEARCH}?q=zebra&rating=1").json()["results"]
    assert {hit["message"]["role"] for hit in hits} == {"assistant"}


def test_messages_of_one_conversation_by_rating(api, alice):
    chat = alice.conversations.get(title="b")
    for rating, count in ((1, 0), (-1, 1)):
        listed = api.get(f"{LIST}/{chat.pk}/messages?rating={rating}").json()["messages"]
        assert len(listed) == count


def test_over_all_users(backend, bob):
    theirs = make_conversation(bob, title="e", tags=["vip"], metadata={"topic": "travel"})
    draft = MessageDraft(role="user", content="zebra")
    append_drafts(conversation_id=theirs.pk, drafts=[draft], access=SCRIPT)
    for client in (backend, client_for(make_staff())):
        for query in ("tag=vip", "metadata[topic]=travel"):
            assert titles(client, LIST, f"{query}&user_id=*") == "abe"
            assert found(client, f"q=zebra&{query}&user_id=*") == "abe"
            assert found(client, f"q=zebra&{query}&user_id=bob") == "e"
    assert found(client_for(bob), "q=zebra&tag=vip") == "e"


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("metadata=x", "metadata"),
        ("metadata[]=x", "metadata[]"),
        ("metadata[a=x", "metadata[a"),
        ("metadata[a%00]=x", "metadata"),
        ("metadata[a]=x%00", "metadata"),
        ("title[a]=x", "title[a]"),
        ("rating=0", "rating"),
        ("rating=", "rating"),
        ("tag=", "tag"),
    ],
)
@pytest.mark.parametrize("url", [f"{LIST}?", f"{SEARCH}?q=zebra&"])
def test_a_bad_filter_is_refused_by_name(api, backend, url, query, attr):
    assert error_of(api.get(url + query))[:2] == (400, attr)
    assert error_of(backend.get(f"{url}{query}&user_id=nobody"))[:2] == (400, attr)


def test_pages_keep_the_keys_and_a_cursor_fits_no_other(api, alice):
    for _ in range(3):
        make_conversation(alice, title="x", metadata={"k": 1})
    page = api.get(f"{LIST}?metadata[k]=1&page_size=2").json()
    assert len(api.get(page["next"]).json()["conversations"]) == 1
    cursor = quote(page["next_cursor"])
    for query in ("metadata[k]=2", "metadata[j]=1", ""):
        assert error_of(api.get(f"{LIST}?{query}&cursor={cursor}"))[:2] == (400, "cursor")


@pytest.mark.one_node("the plans of one server")
def test_metadata_of_all_users_are_found_by_their_index(alice, backend, statements):
    Conversation.objects.bulk_create(
        Conversation(user=alice, metadata={"number": number, "kind": "x"})
        for number in range(3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversations_conversation, auth_user")
    with statements() as seen:
        listed = backend.get(f"{LIST}?user_id=*&metadata[number]=7").json()["conversations"]
    assert len(listed) == 1
    (statement,) = [sql for sql in seen if "ORDER BY" in sql]
    assert "conversation_metadata_idx" in plan_of(statement)


def test_marks_take_no_more_statements(api, statements):
    query = "tag=vip&metadata[topic]=travel&metadata[n]=5&rating=1"
    for url, count in ((f"{LIST}?", 3), (f"{SEARCH}?q=zebra&", 3)):
        with statements() as seen:
            assert api.get(url + query).status_code == 200
        assert len(seen) == count
