"""Who sees what: the owner, a stranger, staff, a trusted client, nobody at all."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from conversations.models import AccessRecord, ApiToken
from conversations.services import get_chat_history
from conversations.tests.factories import client_for, make_conversation, make_token

pytestmark = pytest.mark.django_db

LIST, ONE = "/api/conversations", "/api/conversations/{chat}"
MANY, MESSAGE = ONE + "/messages", ONE + "/messages/{message}"
SESSIONS, SESSION = "/api/chat-history/sessions", "/api/chat-history/sessions/{chat}"
OWNERS = "/api/users/{owner}/conversations"
SAY = {"role": "user", "content": "x"}

# (method, path, body): owner, stranger, staff, trusted client, anonymous
MATRIX = [
    ("get", LIST, None, 200, 200, 200, 200, 401),
    ("get", LIST + "?user_id={owner}", None, 200, 404, 200, 200, 401),
    ("post", LIST, {}, 201, 201, 201, 201, 401),
    ("post", LIST + "?user_id={owner}", None, 200, 404, 404, 200, 401),
    ("get", OWNERS, None, 200, 404, 200, 200, 401),
    ("get", ONE, None, 200, 404, 200, 200, 401),
    ("patch", ONE, {"title": "T"}, 200, 404, 403, 200, 401),
    ("get", MANY, None, 200, 404, 200, 200, 401),
    ("post", MANY, SAY, 201, 404, 403, 201, 401),
    ("post", MANY, {"messages": [SAY]}, 201, 404, 403, 201, 401),
    ("get", MESSAGE, None, 200, 404, 200, 200, 401),
    ("patch", MESSAGE, {"rating": 1}, 200, 404, 403, 200, 401),
    ("delete", MESSAGE, None, 200, 404, 403, 200, 401),
    ("delete", ONE, None, 200, 404, 403, 200, 401),
    ("get", SESSIONS, None, 200, 200, 200, 200, 401),
    ("get", SESSIONS + "?user_id={owner}", None, 200, 404, 200, 200, 401),
    ("post", SESSIONS, {"user_id": "alice"}, 201, 404, 404, 201, 401),
    ("get", SESSION, None, 200, 404, 200, 200, 401),
    ("patch", SESSION, {"title": "T"}, 200, 404, 403, 200, 401),
    ("get", SESSION + "/messages", None, 200, 404, 200, 200, 401),
    ("post", SESSION + "/messages", SAY, 201, 404, 403, 201, 401),
    ("get", SESSION + "/messages/{message}", None, 200, 404, 200, 200, 401),
    ("patch", SESSION + "/messages/{message}", {"rating": 1}, 200, 404, 403, 200, 401),
    ("delete", SESSION + "/messages/{message}", None, 200, 404, 403, 200, 401),
    ("delete", SESSION, None, 200, 404, 403, 200, 401),
    ("get", "/api/chat/history/{chat}", None, 200, 404, 200, 200, 401),
    ("get", "/api/search?q=secret", None, 200, 200, 200, 200, 401),
    ("get", "/api/search?q=secret&user_id={owner}", None, 200, 404, 200, 200, 401),
    ("get", "/api/search?q=secret&conversation_id={chat}", None, 200, 404, 200, 200, 401),
    ("get", "/api/search?q=secret&user_id=*", None, 403, 403, 200, 200, 401),
    ("get", LIST + "?user_id=*", None, 403, 403, 200, 200, 401),
    ("get", "/api/me", None, 200, 200, 200, 200, 401),
    ("get", "/api/tokens", None, 200, 200, 200, 200, 401),
    ("post", "/api/tokens", {}, 201, 201, 201, 201, 401),
    ("delete", "/api/tokens/0123456789abcde", None, 404, 404, 404, 404, 401),
    ("get", "/api/schema", None, 200, 200, 200, 200, 200),
    ("get", "/api/docs", None, 200, 200, 200, 200, 200),
    ("get", "/healthz", None, 200, 200, 200, 200, 200),
    ("get", "/readyz", None, 200, 200, 200, 200, 200),
]


@pytest.fixture
def chat(alice):
    return make_conversation(alice, messages=2, title="Secret plans")


@pytest.mark.parametrize(
    "who", range(5), ids=["owner", "stranger", "staff", "trusted", "anonymous"]
)
@pytest.mark.parametrize("route", MATRIX, ids=lambda route: f"{route[0]} {route[1]}")
def test_every_route_answers_each_caller_as_the_design_says(
    chat, alice, bob, staff, trusted, route, who
):
    method, path, body, *expected = route
    client = client_for([alice, bob, staff, trusted, None][who])
    message = get_chat_history(conversation_id=chat.pk)[0].id
    url = path.format(chat=chat.pk, message=message, owner="alice")
    answer = getattr(client, method)(url, body)
    assert answer.status_code == expected[who], answer.content
    if answer.status_code in (401, 403, 404):
        assert "Secret" not in answer.content.decode()
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_matrix_leaves_no_route_out():
    """Every method of every route under /api stands in the table."""

    def named(path):
        path = path.partition("?")[0]
        return path.replace("{conversation_id}", "{chat}").replace("{session_id}", "{chat}")

    tried = {(method, named(path)) for method, path, *_ in MATRIX}
    tried |= {("delete", "/api/tokens/{token_id}")}
    schema = SchemaGenerator().get_schema(request=None, public=True)
    described = {
        (method, named(path).replace("{message_id}", "{message}").replace("{user}", "{owner}"))
        for path, methods in schema["paths"].items()
        for method in methods
    }
    # Those run a model: test_chat_access.py has their callers.
    asked = {
        route for route in described if route[1].startswith("/api/chat/") or route[1] == "/api/chat"
    }
    assert described - asked <= tried


def test_a_stranger_gets_the_same_answer_for_what_exists_and_what_does_not(chat, bob):
    client = client_for(bob)
    missing = "00000000-0000-4000-8000-000000000000"
    for path in ("", "/messages"):
        real = client.get(f"{LIST}/{chat.pk}{path}").json()
        made_up = client.get(f"{LIST}/{missing}{path}").json()
        assert real["errors"] == made_up["errors"]


def test_each_look_of_staff_leaves_a_record(chat, alice, staff):
    client = client_for(staff)
    client.get(f"{LIST}/{chat.pk}")
    client.get(f"{LIST}/{chat.pk}/messages")
    client.get("/api/users/alice/conversations")
    records = AccessRecord.objects.order_by("created_at")
    assert [record.conversation_id for record in records] == [chat.pk, chat.pk, None]
    for record in records:
        assert (record.staff_name, record.owner_id, record.action) == ("support", alice.pk, "read")
        assert record.owner_name == "alice"
        assert record.address == "127.0.0.1"


def test_nobody_elses_look_leaves_a_record(chat, alice, staff, trusted):
    own = make_conversation(staff)
    for user, key in ((alice, chat.pk), (trusted, chat.pk), (staff, own.pk)):
        client_for(user).get(f"{LIST}/{key}")
    assert not AccessRecord.objects.exists()


def test_a_superusers_look_leaves_a_record_too(chat):
    root = User.objects.create_superuser("root")
    assert client_for(root).get(f"{LIST}/{chat.pk}").status_code == 200
    assert AccessRecord.objects.get().staff_name == "root"


def test_the_permission_to_view_is_for_staff_alone(chat, staff):
    User.objects.filter(pk=staff.pk).update(is_staff=False)
    assert client_for(staff).get(f"{LIST}/{chat.pk}").status_code == 404


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token"])
def test_a_token_is_accepted_under_both_names(alice, scheme):
    token = make_token(alice)
    client = APIClient(headers={"Authorization": f"{scheme} {token}"})
    assert client.get(LIST).status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "Bearer nope", "Basic eDp5", "Bearer é"]
)
def test_a_bad_token_is_401(alice, header):
    assert APIClient(headers={"Authorization": header}).get(LIST).status_code == 401


def test_expired_revoked_and_inactive_are_401(alice):
    client = client_for(alice)
    assert client.get(LIST).status_code == 200
    ApiToken.objects.update(expires_at=timezone.now())
    assert client.get(LIST).status_code == 401
    ApiToken.objects.update(expires_at=None)
    User.objects.update(is_active=False)
    assert client.get(LIST).status_code == 401
    User.objects.update(is_active=True)
    ApiToken.objects.all().delete()
    assert client.get(LIST).status_code == 401


def test_the_login_session_reads_and_writes_with_the_csrf_token(alice):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.get(LIST).status_code == 200
    refused = client.post(LIST, {})
    assert (refused.status_code, refused.json()["type"]) == (403, "client_error")
    client.cookies["csrftoken"] = "a" * 32
    assert client.post(LIST, {}, headers={"X-CSRFToken": "a" * 32}).status_code == 201
