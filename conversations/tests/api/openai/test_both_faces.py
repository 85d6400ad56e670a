"""/v1 and /api are two faces of one record: what comes in by one reads right by the other."""

import json

import pytest
from django.urls import reverse

from conversations.formats.response_items import items_of
from conversations.services import MessageDraft, add_messages
from conversations.tests.api.openai.items import EXAMPLES, expected, read_strictly
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_superuser,
    make_user,
)
from conversations.tests.sdk_messages import IMAGE, SDKS

pytestmark = pytest.mark.django_db

PATH, API = "/v1/conversations", "/api/conversations"


def test_items_are_messages_of_the_same_conversation(v1):
    made = v1.post(
        PATH,
        {
            "metadata": {"topic": "Rome"},
            "items": [
                {"role": "user", "content": "How warm is Rome?"},
                EXAMPLES["reasoning"],
                EXAMPLES["function_call"],
                EXAMPLES["function_call_output"],
                EXAMPLES["answer"],
            ],
        },
    ).json()
    key = made["id"].removeprefix("conv_")
    chat = v1.get(f"{API}/{key}").json()
    assert (chat["title"], chat["metadata"]) == ("How warm is Rome?", {"topic": "Rome"})
    assert chat["message_count"] == made["message_count"] == 5
    asked, thought, called, told, said = chat["messages"]
    assert (asked["role"], asked["content"], asked["parts"]) == (
        "user", "How warm is Rome?", None
    )  # fmt: skip
    assert (thought["role"], thought["parts"]) == ("assistant", [EXAMPLES["reasoning"]])
    assert called["tool_calls"][0]["function"]["name"] == "weather"
    assert (told["role"], told["tool_call_id"], told["content"]) == ("tool", "call_1", "24 °C")
    assert said["content"].startswith("It is 24 °C.")
    assert all(message["status"] == "complete" for message in chat["messages"])


def test_items_are_found_by_search(v1):
    v1.post(PATH, {"items": [EXAMPLES["easy message"], EXAMPLES["mcp_call"]]})
    for word in ("hello", "noon"):
        hits = v1.get("/api/search", {"q": word}).json()["results"]
        assert {hit["conversation"]["title"] for hit in hits} == {"Hello"}


def test_items_are_exported(v1):
    made = v1.post(PATH, {"items": [EXAMPLES["easy message"], EXAMPLES["answer"]]}).json()
    url = f"{API}/{made['id'].removeprefix('conv_')}/export"
    exported = v1.get(url, {"format": "openai"})
    assert exported.status_code == 200, exported.getvalue()
    messages = json.loads(exported.getvalue())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]


def test_staff_see_items_in_the_transcript(v1, client):
    made = v1.post(PATH, {"items": list(EXAMPLES.values())[:20]}).json()
    client.force_login(make_superuser())
    key = made["id"].removeprefix("conv_")
    page = client.get(reverse("admin:conversations_conversation_change", args=[key]))
    assert page.status_code == 200
    assert "What is this?" in page.content.decode()


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.__name__)
def test_messages_of_every_sdk_read_as_items(v1, alice, sdk):
    chat = make_conversation(alice)
    for message in sdk().values():
        added = v1.post(f"{API}/{chat.pk}/messages", message)
        assert added.status_code == 201, added.content
    page = v1.get(f"{PATH}/{chat.pk}/items", {"limit": 100, "order": "asc"}).json()
    assert len(page["data"]) >= len(sdk())
    for item in page["data"]:
        read_strictly(item)
        found = v1.get(f"{PATH}/{chat.pk}/items/{item['id']}").json()
        assert found["id"] == item["id"]
        read_strictly(found)


def test_a_conversation_of_the_api_has_its_id_and_its_times(v1, alice):
    chat = make_conversation(alice, messages=2, metadata={"a": {"b": [1]}}, title="T")
    found = v1.get(f"{PATH}/{chat.pk}").json()
    assert found == {
        "id": f"conv_{chat.pk.hex}",
        "object": "conversation",
        "created_at": int(chat.created_at.timestamp()),
        "metadata": {"a": {"b": [1]}},
        "title": "T",
        "user_id": "alice",
        "message_count": 2,
        "updated_at": int(chat.updated_at.timestamp()),
    }


def test_an_update_replaces_the_metadata_alone(v1, alice):
    chat = make_conversation(alice, metadata={"a": "1", "b": "2"}, title="T")
    changed = v1.post(f"{PATH}/{chat.pk}", {"metadata": {"a": "3"}}).json()
    assert (changed["metadata"], changed["title"]) == ({"a": "3"}, "T")
    assert v1.get(f"{API}/{chat.pk}").json()["metadata"] == {"a": "3"}
    missing = v1.post(f"{PATH}/{chat.pk}", {})
    assert missing.json()["error"]["param"] == "metadata"


def test_what_is_deleted_here_is_deleted_there(v1, alice):
    chat = make_conversation(alice, messages=2)
    item = v1.get(f"{PATH}/{chat.pk}/items").json()["first_id"]
    left = v1.delete(f"{PATH}/{chat.pk}/items/{item}").json()
    assert (left["object"], left["message_count"]) == ("conversation", 1)
    assert len(v1.get(f"{API}/{chat.pk}/messages").json()["messages"]) == 1
    assert v1.delete(f"{PATH}/{chat.pk}").json()["deleted"] is True
    assert v1.get(f"{API}/{chat.pk}").status_code == 404


def test_one_of_several_items_of_a_message_is_not_deleted_alone(v1, alice):
    chat = make_conversation(alice)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (message,) = add_messages(
        conversation_id=chat.pk,
        messages=[MessageDraft(role="assistant", content="Let me see", tool_calls=[call])],
    )
    for item in v1.get(f"{PATH}/{chat.pk}/items").json()["data"]:
        answer = v1.delete(f"{PATH}/{chat.pk}/items/{item['id']}")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "not_one_message")
        assert f"/api/conversations/{chat.pk}/messages/{message.id}" in error["message"]
    assert len(v1.get(f"{PATH}/{chat.pk}/items").json()["data"]) == 2


def test_a_reference_is_the_item_that_is_there(v1, alice):
    chat = make_conversation(alice, messages=1)
    there = v1.get(f"{PATH}/{chat.pk}/items").json()["data"][0]
    items = [
        {"type": "item_reference", "id": there["id"]},
        EXAMPLES["easy message"],
        {"id": there["id"]},
    ]
    added = v1.post(f"{PATH}/{chat.pk}/items", {"items": items}).json()["data"]
    assert [added[0], added[2]] == [there, there]
    assert added[1]["content"] == expected(EXAMPLES["easy message"])["content"]
    assert v1.get(f"{PATH}/{chat.pk}").json()["message_count"] == 2
    for path in (f"{PATH}/{chat.pk}/items", PATH):
        missing = v1.post(path, {"items": [EXAMPLES["easy message"], {"id": "msg_abc"}]})
        assert missing.status_code == 404
        assert missing.json()["error"]["param"] == "items[1].id"
    assert v1.get(f"{PATH}/{chat.pk}").json()["message_count"] == 2


def test_items_are_added_all_or_none(v1, alice):
    chat = make_conversation(alice)
    bad = {"items": [EXAMPLES["easy message"], {"role": "user", "content": "x" * 10_001}]}
    answer = v1.post(f"{PATH}/{chat.pk}/items", bad)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "items[1].content")
    assert v1.post(PATH, bad).status_code == 400
    assert v1.get(f"{PATH}/{chat.pk}").json()["message_count"] == 0
    assert len(v1.get(PATH).json()["data"]) == 1


def test_items_go_to_the_end_of_the_active_branch(v1, alice):
    chat = make_conversation(alice, messages=2)
    first = v1.get(f"{PATH}/{chat.pk}/items", {"order": "asc"}).json()["data"][0]
    body = {"role": "user", "content": "other", "parent_id": first["id"].removeprefix("msg_")}
    v1.post(f"{API}/{chat.pk}/messages", body)
    v1.post(f"{PATH}/{chat.pk}/items", {"items": [EXAMPLES["easy message"]]})
    page = v1.get(f"{PATH}/{chat.pk}/items", {"order": "asc"}).json()
    texts = [item["content"][0]["text"] for item in page["data"]]
    assert texts == ["message 1", "other", "Hello"]


def test_a_person_may_not_say_more_than_over_the_api(v1, backend, alice):
    chat = make_conversation(alice)
    long = {"items": [{"role": "user", "content": "x" * 10_001}]}
    assert v1.post(f"{PATH}/{chat.pk}/items", long).status_code == 400
    assert backend.post(f"{PATH}/{chat.pk}/items", long).status_code == 200


def test_an_image_of_a_question_reads_as_an_item(v1, alice):
    chat = make_conversation(alice)
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    body = {"role": "user", "content": [{"type": "text", "text": "What?"}, image]}
    stored = v1.post(f"{API}/{chat.pk}/messages", body).json()
    (item,) = v1.get(f"{PATH}/{chat.pk}/items").json()["data"]
    assert [item] == items_of(stored)
    assert item["content"][1] == {
        "type": "input_image",
        "image_url": IMAGE,
        "detail": "auto",
    }


def test_strangers_and_nobody_see_nothing(alice):
    chat = make_conversation(alice, messages=1)
    for client, status in ((client_for(make_user("eve")), 404), (client_for(None), 401)):
        assert client.get(f"{PATH}/{chat.pk}/items").status_code == status
