import pytest
from django.core.cache import cache

from conversations.tests.factories import make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()
    yield
    cache.clear()


def test_no_throttle_until_one_is_set(api):
    assert {api.get(LIST).status_code for _ in range(30)} == {200}


def test_kinds_of_routes_are_counted_apart(api, settings):
    settings.THROTTLE_RATES = {"read": "2/min", "write": "1/min"}
    assert [api.get(LIST).status_code for _ in range(3)] == [200, 200, 429]
    assert [api.post(LIST, {}).status_code for _ in range(2)] == [201, 429]
    assert api.get("/api/search?q=x").status_code == 200


def test_both_ways_to_ask_a_model_count_as_chat_and_nothing_else_does(api, alice, settings):
    settings.THROTTLE_RATES = {"chat": "2/min"}
    ask = "/api/chat/ask-stream?question=x&provider=none"
    assert [api.get(ask).status_code for _ in range(3)] == [400, 400, 429]
    assert api.post("/api/chat", {"message": "x"}).status_code == 429
    turn = f"/api/chat/streams/{make_conversation(alice).pk}"
    assert [api.get(turn).status_code, api.post(f"{turn}/stop").status_code] == [404, 404]


def test_joining_a_turn_is_a_read_and_stopping_one_a_write(api, alice, settings):
    turn = f"/api/chat/streams/{make_conversation(alice).pk}"
    settings.THROTTLE_RATES = {"read": "1/min", "write": "1/min"}
    assert [api.get(turn).status_code for _ in range(2)] == [404, 429]
    assert [api.post(f"{turn}/stop").status_code for _ in range(2)] == [404, 429]
    assert api.get("/api/chat/ask-stream?question=x&provider=none").status_code == 400


def test_a_refusal_says_when_to_come_back(api, settings):
    settings.THROTTLE_RATES = {"search": "1/min"}
    api.get("/api/search?q=x")
    answer = api.get("/api/search?q=x")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.json()["errors"][0]["code"] == "throttled"


def test_trusted_clients_are_never_throttled(backend, alice, settings):
    settings.THROTTLE_RATES = {"read": "1/min"}
    make_conversation(alice)
    assert {backend.get(LIST).status_code for _ in range(5)} == {200}


def test_users_are_counted_apart(api, bob, settings):
    from conversations.tests.factories import client_for

    settings.THROTTLE_RATES = {"read": "1/min"}
    assert api.get(LIST).status_code == 200
    assert client_for(bob).get(LIST).status_code == 200
    assert api.get(LIST).status_code == 429
