"""Every type of item comes back key for key, in what the strict reader of OpenAI's SDK accepts."""

import pytest

from conversations.tests.api.openai.items import EXAMPLES, expected, read_strictly

pytestmark = pytest.mark.django_db

PATH = "/v1/conversations"
# What is added where a client may leave it out and a reader must find it.
REQUIRED = {
    "status", "annotations", "pending_safety_checks", "execution", "role", "id", "type"
}  # fmt: skip


@pytest.fixture
def chat(v1):
    return v1.post(PATH, {}).json()["id"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_item_comes_back_as_it_was_sent(v1, chat, name):
    sent = EXAMPLES[name]
    answer = v1.post(f"{PATH}/{chat}/items", {"items": [sent]})
    assert answer.status_code == 200, answer.content
    (added,) = answer.json()["data"]
    (listed,) = v1.get(f"{PATH}/{chat}/items").json()["data"]
    assert added == listed == v1.get(f"{PATH}/{chat}/items/{listed['id']}").json()
    wanted = expected(sent)
    assert {key: listed[key] for key in wanted if wanted[key] is not None} == {
        key: value for key, value in wanted.items() if value is not None
    }
    assert listed.keys() - wanted.keys() <= REQUIRED
    read_strictly(listed)


def test_all_types_in_one_request_keep_their_order(v1, chat):
    items = list(EXAMPLES.values())
    for start in range(0, len(items), 20):
        answer = v1.post(f"{PATH}/{chat}/items", {"items": items[start : start + 20]})
        assert answer.status_code == 200, answer.content
    listed = v1.get(f"{PATH}/{chat}/items?order=asc&limit=100").json()
    assert [item["type"] for item in listed["data"]] == [
        item.get("type", "message") for item in items
    ]
    assert listed["has_more"] is False
    assert len({item["id"] for item in listed["data"]}) == len(items)


def test_what_a_client_sends_again_is_what_it_was_sent(v1, chat):
    """As the Agents SDK does with the items of a session."""
    v1.post(f"{PATH}/{chat}/items", {"items": list(EXAMPLES.values())[:20]})
    first = v1.get(f"{PATH}/{chat}/items?order=asc").json()["data"]
    copy = v1.post(PATH, {"items": first}).json()["id"]
    again = v1.get(f"{PATH}/{copy}/items?order=asc").json()["data"]
    given = {item.get("id") for item in EXAMPLES.values()}
    for before, after in zip(first, again, strict=True):
        assert after == before | {"id": after["id"]}
        # An id that the server has made is that of the item that it was made for.
        assert (after["id"] == before["id"]) == (before["id"] in given)


def test_a_copy_within_its_conversation_is_an_item_of_its_own(v1, chat):
    url = f"{PATH}/{chat}/items"
    items = [EXAMPLES["reasoning"], EXAMPLES["apply_patch_call"], EXAMPLES["easy message"]]
    first = v1.post(url, {"items": items}).json()["data"]
    copies = v1.post(url, {"items": first}).json()["data"]
    for copy in reversed(copies):
        newest = v1.get(f"{url}?limit=1").json()["data"][0]
        assert newest == copy
        assert v1.delete(f"{url}/{newest['id']}").status_code == 200
    assert v1.get(f"{url}?order=asc").json()["data"] == first
