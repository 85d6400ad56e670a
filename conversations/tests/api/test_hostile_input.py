"""The same hostile input on every route that takes any: 4xx by name, never 5xx, nothing stored."""

import uuid

import pytest

from conversations.models import ApiToken, Conversation, Message
from conversations.services.messages import get_chat_history
from conversations.tests.factories import client_for, make_conversation, make_trusted

pytestmark = pytest.mark.django_db

CONVERSATIONS, SESSIONS = "/api/conversations", "/api/chat-history/sessions"
BODIES = [
    ("post", CONVERSATIONS),
    ("patch", CONVERSATIONS + "/{chat}"),
    ("post", CONVERSATIONS + "/{chat}/messages"),
    ("patch", CONVERSATIONS + "/{chat}/messages/{message}"),
    ("post", SESSIONS),
    ("patch", SESSIONS + "/{chat}"),
    ("post", SESSIONS + "/{chat}/messages"),
    ("patch", SESSIONS + "/{chat}/messages/{message}"),
    ("post", "/api/tokens"),
    ("post", "/api/chat"),
]
LISTS = [
    CONVERSATIONS,
    SESSIONS,
    CONVERSATIONS + "/{chat}/messages",
    SESSIONS + "/{chat}/messages",
    "/api/users/{owner}/conversations",
    "/api/search?q=x",
]
DEEP = "[" * 100_000 + "]" * 100_000
DOCUMENTS = {
    "unknown field": ('{"nonsense": 1}', 400),
    "NUL in a value": ('{"nonsense": "\\u0000"}', 400),
    "NUL in a key": ('{"\\u0000": 1}', 400),
    "lone surrogate in a value": ('{"metadata": {"a": "\\ud800"}}', 400),
    "lone surrogate in a key": ('{"\\udfff": 1}', 400),
    "NaN": ('{"metadata": {"a": NaN}}', 400),
    "infinity": ('{"metadata": {"a": -Infinity}}', 400),
    "1e400": ('{"metadata": {"a": 1e400}}', 400),
    "beyond 64 bits": ('{"metadata": {"a": 99999999999999999999}}', 400),
    "beyond 4,300 digits": ('{"metadata": {"a": %s}}' % ("9" * 5_000), 400),
    "100,000 levels": (f'{{"metadata": {DEEP}}}', 400),
    "100,000 levels bare": (DEEP, 400),
    "10,000 keys": ("{{{}}}".format(",".join(f'"k{i}":{i}' for i in range(10_000))), 400),
    "20 MB": ('{"metadata": {"a": "%s"}}' % ("x" * 20_000_000), 413),
    "a key twice": ('{"title": "a", "title": "b"}', 400),
    "a key twice deep inside": ('{"metadata": {"a": [0, {"b": 1, "b": 1}]}}', 400),
    "a key twice, then 100,000 levels": ('{"metadata": [{"a": 1, "a": 1}, ' + DEEP + "]}", 400),
    "a key twice, then no JSON": ('{"metadata": {"a": 1, "a": 1}', 400),
    "a key twice, once escaped": ('{"metadata": {"a": 1, "\\u0061": 2}}', 400),
    "a long key 10,000 times": ("{" + ",".join([f'"{"k" * 80}":0'] * 10_000) + "}", 400),
    "an array": ("[1]", 400),
    "a string": ('"x"', 400),
    "null": ("null", 400),
    "not JSON": ("{", 400),
    "UTF-16": ('{"title": "x"}'.encode("utf-16"), 400),
    "broken UTF-8": (b'{"title": "\xff\xfe"}', 400),
    "a byte order mark": (b'\xef\xbb\xbf{"title": "x"}', 400),
}


@pytest.fixture
def target(alice):
    chat = make_conversation(alice, messages=1, title="Kept")
    message = get_chat_history(conversation_id=chat.pk)[0].id
    return lambda url: url.format(chat=chat.pk, message=message, owner="alice")


def stored():
    return Conversation.objects.count(), Message.objects.count(), ApiToken.objects.count()


def names_what_is_wrong(answer):
    body = answer.json()
    problems = body["detail"] if "detail" in body else body["errors"]
    return all(problem.get("msg") or problem.get("detail") for problem in problems)


@pytest.mark.parametrize("route", BODIES, ids=lambda route: " ".join(route))
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_hostile_body(api, target, route, document):
    text, status = DOCUMENTS[document]
    before = stored()
    answer = api.generic(route[0], target(route[1]), text, content_type="application/json")
    expected = 422 if status == 400 and route[1].startswith(SESSIONS) else status
    assert answer.status_code == expected, answer.content
    assert names_what_is_wrong(answer)
    assert len(answer.content) < 10_000
    assert stored() == before
    assert Conversation.objects.get().title == "Kept"


@pytest.mark.parametrize("route", BODIES, ids=lambda route: " ".join(route))
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_a_wrong_content_type(api, target, route, kind):
    before = stored()
    answer = api.generic(route[0], target(route[1]), "title=x", content_type=kind)
    assert answer.status_code == 415
    assert stored() == before


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize(
    "query",
    [
        "page_size=0",
        "page_size=-1",
        "page_size=99999999999999999999",
        "page_size=1e3",
        "page_size=NaN",
        "cursor=",
        "cursor=%00",
        "cursor=WyJmIl0%3Ax",
        "cursor=" + "A" * 5_000,
        "created_after=0000-00-00",
        "created_after=10000-01-01",
        "created_after=2020-01-01T25:00:00",
        "created_after=%00",
        "nonsense=1",
        "%00=1",
        "%ED%A0%80=1",
    ],
)
def test_a_hostile_query(api, target, url, query):
    address = target(url) + ("&" if "?" in url else "?") + query
    answer = api.get(address)
    assert answer.status_code == (422 if url.startswith(SESSIONS) else 400), answer.content
    assert names_what_is_wrong(answer)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
@pytest.mark.parametrize("url", LISTS)
def test_times_at_the_edge_of_the_calendar(api, target, url, moment):
    for name in ("created_after", "created_before"):
        query = {"q": "x", name: moment} if "search" in url else {name: moment}
        assert api.get(target(url).partition("?")[0], query).status_code in (200, 400, 422)


@pytest.mark.parametrize("bad", ["nope", "%00", "0", "x" * 3_000, "..", "%2e%2e", "{}", "-1"])
def test_a_malformed_id_in_every_place(api, target, bad):
    for url in (
        f"{CONVERSATIONS}/{bad}",
        f"{CONVERSATIONS}/{bad}/messages",
        f"{CONVERSATIONS}/{uuid.uuid4()}/messages/{bad}",
        f"{SESSIONS}/{bad}",
        f"{SESSIONS}/{bad}/messages",
        f"/api/chat/history/{bad}",
    ):
        answer = api.get(url)
        assert answer.status_code in (400, 404, 422), (url, answer.content)


@pytest.mark.parametrize("user", ["%00", "-0", "9" * 50, "9" * 151, "x" * 151, "%ED%A0%80"])
def test_a_malformed_user_in_every_place(target, user):
    client = client_for(make_trusted())
    before = stored()
    for method, url in (
        ("get", f"/api/users/{user}/conversations"),
        ("get", f"{CONVERSATIONS}?user_id={user}"),
        ("post", f"{CONVERSATIONS}?user_id={user}"),
        ("get", f"/api/search?q=x&user_id={user}"),
    ):
        answer = getattr(client, method)(url)
        assert answer.status_code in (200, 201, 400), (url, answer.content)
        if user not in ("-0", "9" * 50, "%ED%A0%80"):  # these are names
            assert answer.status_code == 400, (url, answer.content)
    assert before[1:] == stored()[1:]


def test_a_cursor_of_another_user_and_a_tampered_one(target, alice, bob):
    for _ in range(2):
        make_conversation(bob, messages=1)
    client, theirs = client_for(alice), client_for(bob)
    for url in (CONVERSATIONS, SESSIONS):
        cursor = theirs.get(f"{url}?page_size=1").json()["next"].partition("cursor=")[2]
        for bad in (cursor, cursor[:-1], cursor[1:], cursor.swapcase()):
            answer = client.get(f"{url}?page_size=1&cursor={bad}")
            assert answer.status_code in (400, 422)


HEADERS = {
    "Last-Event-ID": [
        "-" * 36 + ":1.0.1",
        "{chat}:1",
        "x" * 5_000,
        "{chat}:9999999999.0.1",
        "\x00",
    ],
    "Idempotency-Key": ["", "x" * 256, "\x7f", "\xe9"],
    "Access-Reason": ["x" * 501, "\xff\xfe", "\x00"],
    "X-Request-ID": ["x" * 5_000, "\x00", "\xe9"],
    "Accept": ["\x00", "text/event-stream;q=nonsense", "x" * 5_000],
    "Authorization": ["Bearer", "Bearer \xff", "Bearer a b", "Bearer \x00", "Nonsense x"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in HEADERS.items() for value in values]
)
def test_a_hostile_header(api, target, name, value):
    api.raise_request_exception = False
    headers = {name: target(value)}
    for method, url, body in (
        ("get", CONVERSATIONS, None),
        ("post", CONVERSATIONS + "/{chat}/messages", {"role": "user", "content": "x"}),
        ("get", "/api/chat/streams/{message}", None),
        ("get", "/api/chat/ask-stream?question=x&provider=none", None),
        ("post", "/api/chat", {"message": "x", "provider": "none"}),
    ):
        answer = getattr(api, method)(target(url), body, headers=headers)
        assert answer.status_code < 500, (url, answer.content)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "question=",
        "question=%00",
        "question=x&session_id=nope",
        "question=x&session_id=%00",
        "question=x&provider=%00",
        "question=x&model=" + "x" * 300,
        "question=x&key=",
        "question=x&key=%00",
        "question=x&key=" + "k" * 300,
        "question=" + "x" * 20_000,
        "question=x&nonsense=1",
    ],
)
def test_a_hostile_question(api, target, query):
    api.raise_request_exception = False
    before = stored()
    answer = api.get(f"/api/chat/ask-stream?{query}")
    assert answer.status_code == 400, answer.content
    assert names_what_is_wrong(answer)
    assert stored() == before
