"""A repeated request with its Idempotency-Key stores nothing twice."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conversations.models import Conversation, Message
from conversations.tests.api.openai.conftest import Sdk, library
from conversations.tests.api.openai.items import EXAMPLES
from conversations.tests.factories import make_conversation, make_token, make_user

PATH = "/v1/conversations"
KEY = {"Idempotency-Key": "a key"}
ITEMS = [EXAMPLES[name] for name in ("easy message", "reasoning", "function_call", "mcp_call")]


@pytest.mark.django_db
def test_a_repeated_addition_answers_what_is_stored(alice, v1):
    url = f"{PATH}/{make_conversation(alice).pk}/items"
    first = v1.post(url, {"items": ITEMS}, headers=KEY)
    again = v1.post(url, {"items": ITEMS}, headers=KEY)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert Message.objects.count() == len(ITEMS)
    other = v1.post(url, {"items": [*ITEMS[:3], ITEMS[0]]}, headers=KEY)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")
    assert other.headers["x-should-retry"] == "false"
    assert Message.objects.count() == len(ITEMS)


@pytest.mark.django_db
def test_what_was_deleted_is_not_added_again_by_a_late_retry(alice, v1):
    url = f"{PATH}/{make_conversation(alice).pk}/items"
    item = v1.post(url, {"items": ITEMS[:1]}, headers=KEY).json()["first_id"]
    v1.delete(f"{url}/{item}")
    late = v1.post(url, {"items": ITEMS[:1]}, headers=KEY)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "deleted")


@pytest.mark.django_db
def test_a_repeated_creation_is_one_conversation(v1):
    body = {"items": ITEMS, "metadata": {"a": "b"}}
    first, again = (v1.post(PATH, body, headers=KEY).json() for _ in range(2))
    assert first == again
    assert (Conversation.objects.count(), Message.objects.count()) == (1, len(ITEMS))
    other = body | {"items": ITEMS[1:]}
    assert v1.post(PATH, other, headers=KEY).status_code == 409
    assert (
        v1.post(PATH, {"metadata": {"a": "b"}}, headers={"Idempotency-Key": "é"}).status_code == 400
    )


def test_retries_of_the_sdk_double_nothing(server):
    """The answer of the first attempt is lost on its way."""
    sdk = Sdk(server.url, api_key=make_token(make_user("alice")), max_retries=2)
    attempts = []

    class Losing(httpx.HTTPTransport):
        def handle_request(self, request):
            response = super().handle_request(request)
            attempts.append(response.status_code)
            if len(attempts) % 2:
                response.read()
                raise httpx.ReadError("lost")
            return response

    def add(client):
        losing = client.with_options(http_client=httpx.Client(transport=Losing()))
        chat = losing.conversations.create(items=ITEMS, extra_headers=KEY).id
        losing.conversations.items.create(chat, items=ITEMS, extra_headers=KEY)
        return chat

    chat = sdk(add)
    assert attempts == [200] * 4
    assert Conversation.objects.count() == 1
    listed = sdk(lambda client: client.conversations.items.list(chat, limit=100))
    assert len(listed.data) == 2 * len(ITEMS)


def test_equal_requests_at_the_same_moment_store_it_once(server):
    sdk = Sdk(server.url, api_key=make_token(make_user("alice")))
    chat = sdk(lambda client: client.conversations.create()).id
    library()

    def add(_):
        return sdk(lambda c: c.conversations.items.create(chat, items=ITEMS, extra_headers=KEY))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(add, range(8)))
    assert len({answer.first_id for answer in answers}) == 1
    assert Message.objects.count() == len(ITEMS)


def test_two_writers_never_mix_their_items(server):
    sdk = Sdk(server.url, api_key=make_token(make_user("alice")))
    chat = sdk(lambda client: client.conversations.create()).id
    library()

    def add(name):
        items = [{"role": "user", "content": f"{name} {number}"} for number in range(20)]
        return sdk(lambda client: client.conversations.items.create(chat, items=items))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, "abcd"))
    listed = sdk(lambda client: client.conversations.items.list(chat, order="asc", limit=100))
    texts = [item.content[0].text for item in listed.data]
    groups = [texts[start : start + 20] for start in range(0, 80, 20)]
    assert sorted(group[0] for group in groups) == ["a 0", "b 0", "c 0", "d 0"]
    for group in groups:
        name = group[0][0]
        assert group == [f"{name} {number}" for number in range(20)]
