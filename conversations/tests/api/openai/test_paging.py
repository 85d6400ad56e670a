"""Pages of items and of conversations: `after`, `limit`, `order`; also inside a message that reads
as several items."""

import pytest

from conversations.services import MessageDraft, add_messages
from conversations.services.messages import delete_message
from conversations.tests.api.openai.items import EXAMPLES
from conversations.tests.factories import access_of, client_for, make_conversation, make_trusted

pytestmark = pytest.mark.django_db

PATH = "/v1/conversations"


def call(number):
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
    }


@pytest.fixture
def chat(alice):
    """Messages that read as 1, 4, 1, 2 and 1 items."""
    chat = make_conversation(alice)
    drafts = [
        MessageDraft(role="user", content="one"),
        MessageDraft(
            role="assistant",
            content="two",
            parts=[{"type": "reasoning", "summary": []}],
            tool_calls=[call(1), call(2)],
        ),
        MessageDraft(role="tool", content="three", tool_call_id="call_1"),
        MessageDraft(role="assistant", content="four", tool_calls=[call(3)]),
        MessageDraft(role="user", content="five"),
    ]
    add_messages(conversation_id=chat.pk, messages=drafts)
    return chat


def items(client, chat, **query):
    answer = client.get(f"{PATH}/{chat.pk}/items", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def all_ids(client, chat, **query):
    """Page by page, as the SDK does."""
    found, after = [], {}
    while True:
        page = items(client, chat, **query, **after)
        found += [item["id"] for item in page["data"]]
        assert page["last_id"] == (found[-1] if page["data"] else "")
        if not page["has_more"]:
            return found
        assert len(page["data"]) == query["limit"]
        after = {"after": page["last_id"]}


@pytest.mark.parametrize("limit", range(1, 11))
def test_pages_of_any_size_have_every_item_once(v1, chat, limit):
    whole = [item["id"] for item in items(v1, chat, order="asc", limit=100)["data"]]
    assert len(set(whole)) == 9
    assert all_ids(v1, chat, order="asc", limit=limit) == whole
    assert all_ids(v1, chat, order="desc", limit=limit) == whole[::-1]


def test_items_read_newest_first_unless_asked_otherwise(v1, chat):
    page = items(v1, chat)
    assert [item["type"] for item in page["data"]][:3] == ["message", "function_call", "message"]
    assert page["data"] == items(v1, chat, order="desc", limit=20)["data"]


@pytest.mark.parametrize(("limit", "count"), [(-5, 1), (0, 1), (1, 1), (100, 9), (1_000, 9)])
def test_a_limit_is_brought_within_its_bounds(v1, chat, limit, count):
    assert len(items(v1, chat, limit=limit)["data"]) == count


def test_an_empty_after_is_none(v1, chat):
    assert items(v1, chat, after="") == items(v1, chat)


@pytest.mark.parametrize("after", ["msg_abc", "x", "msg_" + "0" * 32, "fc_{last}_7", "a\0b"])
def test_after_an_item_that_is_not_there_is_not_found(v1, chat, after):
    last = items(v1, chat)["first_id"].removeprefix("msg_")
    answer = v1.get(f"{PATH}/{chat.pk}/items", {"after": after.format(last=last)})
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "after"


def test_an_item_of_another_conversation_is_not_found(alice, v1, chat):
    other = make_conversation(alice, messages=1)
    foreign = items(v1, other)["first_id"]
    for path in (f"items/{foreign}", f"items?after={foreign}"):
        assert v1.get(f"{PATH}/{chat.pk}/{path}").status_code == 404


def test_ids_are_read_leniently(v1, chat):
    page = items(v1, chat, order="asc")
    first = page["data"][0]
    digits = first["id"].removeprefix("msg_")
    dashed = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    for name in (digits, dashed, f"item_{digits}", f"msg_{digits.upper()}"):
        assert v1.get(f"{PATH}/{chat.pk}/items/{name}").json() == first
    for name in (chat.pk, chat.pk.hex, f"conv_{chat.pk.hex}", f"session_{chat.pk.hex}"):
        assert v1.get(f"{PATH}/{name}/items/{first['id']}").json() == first


def test_each_item_of_a_message_is_found_by_its_id(v1, chat):
    for item in items(v1, chat)["data"]:
        assert v1.get(f"{PATH}/{chat.pk}/items/{item['id']}").json() == item


def test_pages_follow_the_active_branch(v1, alice, chat):
    first = items(v1, chat, order="asc")["data"][0]["id"].removeprefix("msg_")
    body = {"role": "assistant", "content": "another", "parent_id": first}
    v1.post(f"/api/conversations/{chat.pk}/messages", body)
    page = items(v1, chat, order="asc")
    assert [item["content"][0]["text"] for item in page["data"]] == ["one", "another"]
    v1.patch(f"/api/conversations/{chat.pk}", {"active_branch": 0})
    assert len(items(v1, chat)["data"]) == 9
    v1.patch(f"/api/conversations/{chat.pk}", {"active_branch": 1})
    for item in page["data"]:
        assert v1.get(f"{PATH}/{chat.pk}/items/{item['id']}").json() == item
    assert all_ids(v1, chat, order="desc", limit=1) == [item["id"] for item in page["data"]][::-1]


def test_pages_continue_while_a_neighbour_is_deleted(v1, alice, chat):
    page = items(v1, chat, order="asc", limit=1)
    second = items(v1, chat, order="asc", limit=2)["data"][1]
    message = second["id"].split("_")[1]
    delete_message(conversation_id=chat.pk, message_id=message, access=access_of(alice))
    following = items(v1, chat, order="asc", after=page["last_id"])["data"]
    assert following[0]["type"] == "function_call_output"


def test_an_item_is_found_by_the_id_that_it_was_sent_with(v1, alice):
    chat = make_conversation(alice)
    reasoning, called = EXAMPLES["reasoning"], EXAMPLES["function_call"]
    url = f"{PATH}/{chat.pk}/items"
    v1.post(url, {"items": [reasoning, called, EXAMPLES["easy message"]]})
    for item in (reasoning, called):
        assert v1.get(f"{url}/{item['id']}").json() == item
        page = items(v1, chat, order="asc", after=item["id"])
        assert page["data"][-1]["type"] == "message"
        assert v1.delete(f"{url}/{item['id']}").status_code == 200
        assert v1.get(f"{url}/{item['id']}").status_code == 404
    # Sent again, as a session does after it was rewound.
    again = v1.post(url, {"items": [reasoning]}).json()["data"]
    assert again == [reasoning]
    v1.post(url, {"items": [EXAMPLES["easy message"], reasoning]})
    newest = items(v1, chat, after=reasoning["id"], limit=1)["data"]
    assert newest[0]["type"] == "message"


def test_an_id_too_long_for_an_index_is_stored_and_names_nothing(v1, alice):
    given = "".join(map(chr, range(0x4E00, 0x4E00 + 9_000)))
    chat = make_conversation(alice)
    draft = MessageDraft(role="user", content="one", extra={"id": given})
    add_messages(conversation_id=chat.pk, messages=[draft])
    assert v1.get(f"{PATH}/{chat.pk}/items/{given}").status_code == 404
    assert len(items(v1, chat)["data"]) == 1


def test_conversations_are_listed_by_their_age(v1, alice):
    made = [make_conversation(alice, title=str(number)) for number in range(5)]
    make_conversation(make_trusted())
    names = [f"conv_{chat.pk.hex}" for chat in made]
    found, after = [], ""
    while True:
        query = {"limit": 2} | ({"after": after} if after else {})
        page = v1.get(PATH, query).json()
        found += [chat["id"] for chat in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert found == names[::-1]
    ascending = v1.get(PATH, {"order": "asc", "after": names[1]}).json()
    assert [chat["id"] for chat in ascending["data"]] == names[2:]
    assert (ascending["first_id"], ascending["last_id"]) == (names[2], names[4])
    assert ascending["data"][0]["title"] == "2"
    assert v1.get(PATH, {"after": "conv_" + "0" * 32}).status_code == 404


def test_an_empty_list_of_conversations(v1):
    page = v1.get(PATH).json()
    assert page == {
        "object": "list",
        "data": [],
        "first_id": "",
        "last_id": "",
        "has_more": False,
    }


def test_a_trusted_client_lists_the_conversations_of_a_user(backend, alice):
    chat = make_conversation(alice, metadata={"a": 1})
    for answer in (
        backend.get(PATH, {"user_id": "alice"}),
        backend.get(PATH, headers={"X-User-Id": "alice"}),
    ):
        (listed,) = answer.json()["data"]
        assert (listed["id"], listed["user_id"]) == (f"conv_{chat.pk.hex}", "alice")
        assert listed["metadata"] == {"a": 1}
    assert backend.get(PATH, {"user_id": "nobody"}).json()["data"] == []
    assert backend.get(PATH).json()["data"] == []
    assert client_for(alice).get(PATH, {"user_id": "backend"}).status_code == 404
