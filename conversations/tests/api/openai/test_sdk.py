"""The eight operations by OpenAI's own SDK against a real server: each answer is parsed."""

import pytest

from conversations.tests.api.openai.conftest import library
from conversations.tests.api.openai.items import EXAMPLES

MESSAGE = {"type": "message", "role": "user", "content": "Hello"}
INCLUDE = ["reasoning.encrypted_content", "message.input_image.image_url"]


def ids(listed):
    return [item.id for item in listed.data]


def test_conversations(sdk):
    made = sdk(lambda client: client.conversations.create())
    assert (made.object, made.metadata) == ("conversation", {})
    full = sdk(
        lambda client: client.conversations.create(items=[MESSAGE], metadata={"topic": "demo"})
    )
    assert full.metadata == {"topic": "demo"}
    assert sdk(lambda client: client.conversations.create(items=None, metadata=None)).id != made.id

    found = sdk(lambda client: client.conversations.retrieve(full.id))
    assert (found.id, found.created_at) == (full.id, full.created_at)
    assert found.title == "Hello"  # what else is known is there too

    changed = sdk(lambda client: client.conversations.update(full.id, metadata={"a": "b"}))
    assert changed.metadata == {"a": "b"}
    assert sdk(lambda c: c.conversations.update(full.id, metadata=None)).metadata == {}

    gone = sdk(lambda client: client.conversations.delete(full.id))
    assert (gone.id, gone.deleted, gone.object) == (full.id, True, "conversation.deleted")
    with pytest.raises(library().NotFoundError):
        sdk(lambda client: client.conversations.retrieve(full.id))


def test_items(sdk):
    chat = sdk(lambda client: client.conversations.create()).id
    empty = sdk(lambda client: client.conversations.items.list(chat))
    assert (empty.data, empty.first_id, empty.last_id, empty.has_more) == ([], "", "", False)

    added = sdk(
        lambda client: client.conversations.items.create(
            chat, items=[MESSAGE, EXAMPLES["reasoning"]], include=INCLUDE
        )
    )
    assert [item.type for item in added.data] == ["message", "reasoning"]
    assert (added.first_id, added.last_id) == (added.data[0].id, added.data[1].id)

    listed = sdk(
        lambda client: client.conversations.items.list(
            chat, order="asc", limit=1, after=added.first_id, include=INCLUDE
        )
    )
    assert ids(listed) == [added.last_id]

    one = sdk(
        lambda client: client.conversations.items.retrieve(
            added.first_id, conversation_id=chat, include=INCLUDE
        )
    )
    assert one == added.data[0]

    left = sdk(lambda c: c.conversations.items.delete(added.last_id, conversation_id=chat))
    assert (left.id, left.object) == (chat, "conversation")
    assert ids(sdk(lambda client: client.conversations.items.list(chat))) == [added.first_id]


def test_items_of_every_type(sdk):
    items = list(EXAMPLES.values())
    for batch in (items[:20], items[20:]):
        chat = sdk(lambda client, batch=batch: client.conversations.create(items=batch)).id
        listed = sdk(
            lambda client, chat=chat: client.conversations.items.list(chat, order="asc", limit=100)
        )
        assert [item.type for item in listed.data] == [
            item.get("type", "message") for item in batch
        ]


def test_the_sdk_pages_through_all_items(strict_sdk):
    chat = strict_sdk(lambda client: client.conversations.create()).id
    for _ in range(3):
        strict_sdk(lambda client: client.conversations.items.create(chat, items=[MESSAGE] * 15))
    for order in ("asc", "desc"):
        found = strict_sdk(
            lambda client, order=order: [
                item.id for item in client.conversations.items.list(chat, order=order, limit=7)
            ]
        )
        assert len(found) == len(set(found)) == 45


def test_raw_responses_carry_the_id_of_the_request(strict_sdk):
    answer = strict_sdk(lambda client: client.conversations.with_raw_response.create())
    assert answer.request_id
    assert answer.status_code == 200
