"""Tags: short texts that applications mark conversations with."""

import uuid

import pytest
from django.db import connection

from conversations.models import Conversation
from conversations.services import create_conversation
from conversations.tests.api.test_external_ids import error_of, plan_of
from conversations.tests.factories import client_for, make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


def titles(api, query, url=LIST):
    listed = api.get(f"{url}?{query}&order=created_at").json()
    return [chat["title"] for chat in listed.get("conversations") or listed.get("sessions") or []]


@pytest.fixture
def chats(alice):
    for title, tags in {"a": ["vip", "billing"], "b": ["vip"], "c": []}.items():
        make_conversation(alice, title=title, tags=tags)


def test_tags_are_trimmed_and_each_is_kept_once_in_order(api):
    made = api.post(LIST, {"tags": [" vip", "billing", "vip ", "Vip", "要"]}).json()
    assert made["tags"] == ["vip", "billing", "Vip", "要"]
    assert api.get(f"{LIST}/{made['id']}").json()["tags"] == made["tags"]
    assert api.post(LIST, {}).json()["tags"] == []


def test_a_patch_replaces_them(api):
    url = f"{LIST}/{api.post(LIST, {'tags': ['a', 'b']}).json()['id']}"
    assert api.patch(url, {"tags": ["c", "c"]}).json()["tags"] == ["c"]
    assert api.patch(url, {"title": "T"}).json()["tags"] == ["c"]
    merge = {"content_type": "application/merge-patch+json"}
    assert api.patch(url, '{"tags": ["d"]}', **merge).json()["tags"] == ["d"]
    assert api.patch(url, {"tags": []}).json()["tags"] == []


@pytest.mark.parametrize(
    ("tags", "attr", "code"),
    [
        ("vip", "tags", "not_a_list"),
        (None, "tags", "null"),
        (["vip", ""], "tags.1", "blank"),
        (["vip", "  "], "tags.1", "blank"),
        ([7], "tags.0", "invalid"),
        ([["vip"]], "tags.0", "invalid"),
        (["x" * 51], "tags.0", "max_length"),
        (["a\0"], "tags.0", "null_characters_not_allowed"),
        ([str(number) for number in range(21)], "tags", "max_length"),
    ],
)
def test_what_cannot_be_a_tag_is_refused_by_place(api, tags, attr, code):
    url = f"{LIST}/{api.post(LIST, {'tags': ['kept']}).json()['id']}"
    for answer in (api.post(LIST, {"tags": tags}), api.patch(url, {"tags": tags})):
        assert error_of(answer) == (400, attr, code)
    assert [chat.tags for chat in Conversation.objects.all()] == [["kept"]]


def test_twenty_of_fifty_characters_are_allowed(api):
    tags = [f"{number:02}" + "x" * 48 for number in range(20)]
    assert api.post(LIST, {"tags": tags}).json()["tags"] == tags


def test_the_same_request_with_other_tags_is_another(api):
    body = {"id": str(uuid.uuid4()), "tags": ["a"]}
    assert [api.post(LIST, body).status_code for _ in range(2)] == [201, 200]
    assert error_of(api.post(LIST, body | {"tags": ["b"]})) == (409, "id", "key_reused")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tag=vip", ["a", "b"]),
        ("tag=%20vip", ["a", "b"]),
        ("tag=vip&tag=billing", ["a"]),
        ("tag=VIP", []),
        ("tag=vi", []),
        ("tag=none", []),
        ("tag=vip&title=b", ["b"]),
    ],
)
def test_a_list_is_narrowed_to_those_with_all_of_the_tags(api, chats, query, found):
    assert titles(api, query) == found
    assert titles(api, query, "/api/users/alice/conversations") == found
    assert titles(api, query, "/api/chat-history/sessions") == found


def test_over_all_users_too(api, backend, chats, bob):
    make_conversation(bob, title="bobs", tags=["vip"])
    assert titles(backend, "tag=vip&user_id=*") == ["a", "b", "bobs"]
    assert titles(client_for(bob), "tag=vip") == ["bobs"]


@pytest.mark.parametrize("query", ["tag=", "tag=%20", "tag=a%00", "tag=vip&tag="])
def test_a_bad_tag_is_refused_by_name(api, query):
    assert error_of(api.get(f"{LIST}?{query}"))[:2] == (400, "tag")


def test_pages_keep_all_of_the_tags(api, alice):
    for number in range(3):
        create_conversation(owner=alice, title=str(number), tags=["a", "b"])
        create_conversation(owner=alice, title="x", tags=["a"])
    page = api.get(f"{LIST}?tag=a&tag=b&page_size=2&order=created_at").json()
    following = api.get(page["next"]).json()
    assert [chat["title"] for chat in following["conversations"]] == ["2"]


@pytest.mark.one_node("the plans of one server")
@pytest.mark.parametrize("query", ["tag=rare&tag=t1", "user_id=*&tag=rare"])
def test_tags_are_found_by_their_index(alice, backend, statements, query):
    for number in range(300):
        make_conversation(alice, tags=[f"t{number % 2}", *(["rare"] if number == 7 else [])])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversations_conversation")
    client = backend if "user_id" in query else client_for(alice)
    with statements() as seen:
        assert len(client.get(f"{LIST}?{query}").json()["conversations"]) == 1
    (statement,) = [sql for sql in seen if "ORDER BY" in sql]
    assert "conversation_tags_idx" in plan_of(statement)
