"""Who sees what: the owner, a stranger, staff, a trusted client, nobody at all."""

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from conversations.models import AccessRecord, ApiToken, Message
from conversations.services import find_or_create_user, get_chat_history
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_staff,
    make_token,
    make_user,
)

pytestmark = pytest.mark.django_db

LIST, ONE = "/api/conversations", "/api/conversations/{chat}"
MANY, MESSAGE = ONE + "/messages", ONE + "/messages/{message}"
SESSIONS, SESSION = "/api/chat-history/sessions", "/api/chat-history/sessions/{chat}"
V1, V1_ONE = "/v1/conversations", "/v1/conversations/{chat}"
ITEMS = V1_ONE + "/items"
COMPLETIONS, COMPLETION = "/v1/chat/completions", "/v1/chat/completions/{answer}"
BRANCHES, FORK = ONE + "/branches", ONE + "/fork"
FORKED = {"message_id": "{message}"}
OWNERS = "/api/users/{owner}/conversations"
SAY = {"role": "user", "content": "x"}
OWNER = {"user_id": "{owner}"}
# The owner is the user 3 of the application crm. What others call 3 is somebody else; staff call
# the owner by the whole username.
USERNAME = "crm\uff1a3"
KINDS = ("owner", "stranger", "crm", "other", "lister", "reader", "superuser")

# (method, path, body), and for each of KINDS the status; with `!` staff leave a record.
OPEN = (200, 200, 200, 200, 200, 200, 200)
TABLE: list[tuple] = [
    ("get", LIST, None, OPEN),
    ("get", LIST + "?user_id={owner}", None, (200, 404, 200, 200, 404, "200!", "200!")),
    ("get", LIST + "?user_id=*", None, (403, 403, 200, 200, 403, "200!", "200!")),
    ("post", LIST, {}, (201, 201, 201, 201, 201, 201, 201)),
    ("post", LIST, OWNER, (201, 404, 201, 201, 404, 404, "201!")),
    ("post", LIST + "/bulk", {"conversations": [OWNER]}, (201, 404, 201, 201, 404, 404, "201!")),
    ("post", LIST + "/delete", {"ids": ["{chat}"]}, (200, 200, 200, 200, 200, 200, "200!")),
    ("post", LIST + "?user_id={owner}", None, (200, 404, 200, 201, 404, 404, "200!")),
    ("get", OWNERS, None, (200, 404, 200, 200, 404, "200!", "200!")),
    ("get", ONE, None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("patch", ONE, {"title": "T"}, (200, 404, 200, 404, 404, 403, "200!")),
    ("patch", ONE, {}, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", MANY, None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("post", MANY, SAY, (201, 404, 201, 404, 404, 403, "201!")),
    ("post", MANY, {"messages": [SAY]}, (201, 404, 201, 404, 404, 403, "201!")),
    ("get", MESSAGE, None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("patch", MESSAGE, {"rating": 1}, (200, 404, 200, 404, 404, 403, "200!")),
    ("patch", MESSAGE, {}, (200, 404, 200, 404, 404, 403, "200!")),
    # Of a message that has ended, for those who may change it.
    ("patch", MESSAGE, {"append": {}}, (409, 404, 409, 404, 404, 403, "409!")),
    ("delete", MESSAGE, None, (200, 404, 200, 404, 404, 403, "200!")),
    ("delete", MANY, None, (200, 404, 200, 404, 404, 403, "200!")),
    ("post", MANY, SAY | {"parent_id": "root"}, (201, 404, 201, 404, 404, 403, "201!")),
    ("get", BRANCHES, None, (200, 404, 200, 404, 404, "200!", "200!")),
    # For those who may change it: it is the only one.
    ("delete", BRANCHES + "/0", None, (409, 404, 409, 404, 404, 403, "409!")),
    ("post", FORK, FORKED, (201, 404, 201, 404, 404, 403, "201!")),
    ("patch", ONE, {"active_branch": 0}, (200, 404, 200, 404, 404, 403, "200!")),
    # Of staff those who have the right to export: see EXPORTERS.
    ("get", ONE + "/export", None, (200, 404, 200, 404, 404, 403, "200!")),
    ("delete", ONE, None, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", SESSIONS, None, OPEN),
    ("get", SESSIONS + "?user_id={owner}", None, (200, 404, 200, 200, 404, "200!", "200!")),
    ("post", SESSIONS, OWNER, (201, 404, 201, 201, 404, 404, "201!")),
    ("get", SESSION, None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("patch", SESSION, {"title": "T"}, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", SESSION + "/messages", None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("post", SESSION + "/messages", SAY, (201, 404, 201, 404, 404, 403, "201!")),
    ("get", SESSION + "/messages/{message}", None, (200, 404, 200, 404, 404, "200!", "200!")),
    (
        "patch",
        SESSION + "/messages/{message}",
        {"rating": 1},
        (200, 404, 200, 404, 404, 403, "200!"),
    ),
    ("delete", SESSION + "/messages/{message}", None, (200, 404, 200, 404, 404, 403, "200!")),
    ("delete", SESSION + "/messages", None, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", SESSION + "/export", None, (200, 404, 200, 404, 404, 403, "200!")),
    ("delete", SESSION, None, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", SESSION + "/branches", None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("delete", SESSION + "/branches/0", None, (409, 404, 409, 404, 404, 403, "409!")),
    ("post", SESSION + "/fork", FORKED, (201, 404, 201, 404, 404, 403, "201!")),
    ("get", "/api/chat/history/{chat}", None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("get", "/api/chat/streams/{answer}", None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("post", "/api/chat/streams/{answer}/stop", None, (200, 404, 200, 404, 404, 403, "200!")),
    ("post", "/api/chat/tickets", {"message_id": "{answer}"}, (201,) * 7),
    ("get", "/api/search?q=secret", None, OPEN),
    (
        "get",
        "/api/search?q=secret&user_id={owner}",
        None,
        (200, 404, 200, 200, 404, "200!", "200!"),
    ),
    (
        "get",
        "/api/search?q=secret&conversation_id={chat}",
        None,
        (200, 404, 200, 404, 404, "200!", "200!"),
    ),
    ("get", "/api/search?q=secret&user_id=*", None, (403, 403, 200, 200, 403, "200!", "200!")),
    ("get", "/api/changes", None, (403, 403, 200, 200, 403, "200!", "200!")),
    ("get", "/api/changes?user_id={owner}", None, (403, 403, 200, 200, 403, "200!", "200!")),
    ("get", "/api/messages", None, OPEN),
    ("get", "/api/messages?user_id={owner}", None, (200, 404, 200, 200, 404, "200!", "200!")),
    ("get", "/api/messages?user_id=*", None, (403, 403, 200, 200, 403, "200!", "200!")),
    ("get", "/api/usage", None, OPEN),
    ("get", "/api/usage?user_id={owner}", None, (200, 404, 200, 200, 404, "200!", "200!")),
    ("get", "/api/usage?user_id=*", None, (403, 403, 200, 200, 403, "200!", "200!")),
    ("get", "/api/tokens", None, OPEN),
    ("post", "/api/tokens", {}, (201, 201, 201, 201, 201, 201, 201)),
    ("post", "/api/tokens", OWNER | {"expires_in": 600}, (403, 403, 201, 201, 403, 403, 403)),
    ("delete", "/api/tokens/0123456789abcde", None, (404, 404, 404, 404, 404, 404, 404)),
    ("get", "/api/me", None, OPEN),
    ("get", "/api/me/export", None, OPEN),
    ("get", V1, None, OPEN),
    ("get", V1 + "?user_id={owner}", None, (200, 404, 200, 200, 404, "200!", "200!")),
    ("post", V1, {}, OPEN),
    ("get", V1_ONE, None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("post", V1_ONE, {"metadata": {}}, (200, 404, 200, 404, 404, 403, "200!")),
    ("delete", V1_ONE, None, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", ITEMS, None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("post", ITEMS, {"items": [SAY]}, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", ITEMS + "/{message}", None, (200, 404, 200, 404, 404, "200!", "200!")),
    # Who may read and not change has found it.
    ("delete", ITEMS + "/{message}", None, (200, 404, 200, 404, 404, "403!", "200!")),
    ("get", COMPLETIONS, None, OPEN),
    ("get", COMPLETION, None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("get", COMPLETION + "/messages", None, (200, 404, 200, 404, 404, "200!", "200!")),
    ("post", COMPLETION, {"metadata": {"a": "b"}}, (200, 404, 200, 404, 404, 403, "200!")),
    ("delete", COMPLETION, None, (200, 404, 200, 404, 404, 403, "200!")),
    ("get", "/v1/models", None, OPEN),
]
EXPORTERS = ("compliance", "administrator")
TO_EVERYBODY = ["/api/schema", "/api/docs", "/healthz", "/readyz"]


@pytest.fixture
def owner(db):
    return find_or_create_user(3, namespace="crm")


@pytest.fixture
def chat(owner):
    made = make_conversation(owner, messages=2, title="Secret plans")
    # An answer that names its provider is a stored completion.
    Message.objects.filter(conversation=made, role="assistant").update(provider="ollama")
    return made


def in_group(name):
    user = make_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=name))
    return user


def broken_client(kind, owner):
    """Of the owner, with a token that does not work any more."""
    client = client_for(owner, namespace="crm")
    tokens = ApiToken.objects.filter(user=owner)
    if kind == "expired":
        tokens.update(expires_at=timezone.now())
    elif kind == "revoked":
        tokens.delete()
    else:
        User.objects.filter(pk=owner.pk).update(is_active=False)
    return client


CALLERS = {
    "owner": ("owner", lambda owner: client_for(owner, namespace="crm")),
    "stranger": ("stranger", lambda _: client_for(make_user("bob"))),
    "trusted client of crm": (
        "crm",
        lambda _: client_for(make_user("crm"), trusted=True, namespace="crm"),
    ),
    "trusted client of erp": (
        "other",
        lambda _: client_for(make_user("erp"), trusted=True, namespace="erp"),
    ),
    "trusted client": ("other", lambda _: client_for(make_user("backend"), trusted=True)),
    "list-only staff": (
        "lister",
        lambda _: client_for(make_user("lister", "view_conversation", is_staff=True)),
    ),
    "support": ("reader", lambda _: client_for(in_group("Support"))),
    "compliance": ("reader", lambda _: client_for(in_group("Compliance"))),
    "administrator": ("reader", lambda _: client_for(in_group("Administrators"))),
    "superuser": ("superuser", lambda _: client_for(User.objects.create_superuser("root"))),
    "anonymous": (None, lambda _: APIClient()),
    "expired token": (None, lambda owner: broken_client("expired", owner)),
    "revoked token": (None, lambda owner: broken_client("revoked", owner)),
    "deactivated user": (None, lambda owner: broken_client("deactivated", owner)),
}


def filled(value, **names):
    if isinstance(value, dict):
        return {key: filled(one, **names) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, **names) for one in value]
    return value.format(**names) if isinstance(value, str) else value


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route[0]} {route[1]} {route[2]}")
def test_every_route_answers_each_caller_as_the_design_says(owner, chat, route, who):
    """And leaves a record where staff act on what is somebody else's, and only there."""
    method, path, body, statuses = route
    kind, client_of = CALLERS[who]
    if path.endswith("{chat}/export") and who in EXPORTERS:
        kind = "superuser"
    expected = str(dict(zip(KINDS, statuses, strict=True)).get(kind, 401))
    question, answer = get_chat_history(conversation_id=chat.pk)
    names = {
        "chat": chat.pk,
        "message": question.id,
        "answer": answer.id,
        "owner": USERNAME if kind in ("reader", "superuser") else "3",
    }
    response = getattr(client_of(owner), method)(filled(path, **names), filled(body, **names))
    assert response.status_code == int(expected.strip("!")), response.getvalue()
    records = AccessRecord.objects.all()
    assert records.exists() == expected.endswith("!")
    for record in records:
        everybody = "user_id=*" in path or path == "/api/changes"
        assert record.owner_name == ("" if everybody else USERNAME)
        named_by_id = any(name in f"{path} {body}" for name in ("{chat}", "{answer}"))
        assert (record.conversation_id == chat.pk) == named_by_id
    if response.status_code in (401, 403, 404) or kind == "other":
        assert b"Secret" not in response.getvalue()
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", TO_EVERYBODY)
def test_what_is_open_to_everybody(db, path):
    assert APIClient().get(path).status_code == 200


def test_the_table_leaves_no_route_out():
    """Every method of every route stands in it."""

    def named(path):
        path = path.partition("?")[0].replace("/branches/0", "/branches/{branch}")
        for name, short in {
            "conversation_id": "chat",
            "session_id": "chat",
            "user": "owner",
            "item_id": "message",
            "completion_id": "answer",
        }.items():
            path = path.replace(f"{{{name}}}", f"{{{short}}}")
        streams = path.startswith("/api/chat/streams/")
        return path.replace("{message_id}", "{answer}" if streams else "{message}")

    tried = {(method, named(path)) for method, path, *_ in TABLE}
    tried |= {("get", path) for path in TO_EVERYBODY}
    tried |= {("delete", "/api/tokens/{token_id}")}
    # These run a model: test_chat_access.py has their callers.
    tried |= {("post", "/api/chat"), ("get", "/api/chat/ask-stream")}
    # In openai/, test_chat_completions.py, test_models.py and test_response_access.py.
    tried |= {("post", COMPLETIONS), ("get", "/v1/models/{model_id}"), ("post", "/v1/responses")}
    response = "/v1/responses/{response_id}"
    tried |= {("get", response), ("get", f"{response}/input_items"), ("delete", response)}
    tried |= {("post", f"{response}/cancel")}
    schema = SchemaGenerator().get_schema(request=None, public=True)
    described = {
        (method, named(path)) for path, methods in schema["paths"].items() for method in methods
    }
    assert described <= tried


@pytest.mark.parametrize("who", ["stranger", "trusted client", "trusted client of erp"])
def test_nothing_tells_what_is_not_yours_from_what_is_not_there(owner, chat, who, statements):
    client = CALLERS[who][1](owner)
    message = get_chat_history(conversation_id=chat.pk)[0].id
    missing = "00000000-0000-4000-8000-000000000000"
    for method, path, body in (
        ("get", "", None),
        ("patch", "", {"title": "x"}),
        ("delete", "", None),
        ("get", "/messages", None),
        ("post", "/messages", SAY),
        ("get", f"/messages/{message}", None),
        ("patch", f"/messages/{message}", {"rating": 1}),
        ("delete", f"/messages/{message}", None),
        ("get", "/branches", None),
        ("get", "/export", None),
        ("delete", "/branches/0", None),
        ("post", "/fork", {"message_id": str(message)}),
        ("post", "/messages", SAY | {"parent_id": str(message)}),
        ("patch", "", {"active_message_id": str(message)}),
    ):
        answers, counts = [], []
        for key in (chat.pk, missing):
            with statements() as seen:
                response = getattr(client, method)(f"{LIST}/{key}{path}", body)
            answers.append((response.status_code, response.json()["errors"]))
            counts.append(len(seen))
        assert answers[0] == answers[1]
        assert counts[0] == counts[1]


def test_two_applications_and_a_person_of_one_name_never_see_each_others_rows(db):
    person = make_user("3")
    clients = {
        "person": client_for(person),
        "crm": client_for(make_user("app"), trusted=True, namespace="crm"),
        "erp": client_for(make_user("app2"), trusted=True, namespace="erp"),
    }
    made = {}
    for name, client in clients.items():
        body = {"title": f"Chat of {name}"} | ({} if name == "person" else {"user_id": 3})
        made[name] = client.post(LIST, body).json()
        assert made[name]["user_id"] == 3
        said = {"role": "user", "content": f"the plans of {name}"}
        assert client.post(f"{LIST}/{made[name]['id']}/messages", said).status_code == 201
    for name, client in clients.items():
        for query in ("", "?user_id=3", "?user_id=*"):
            if name == "person" and query == "?user_id=*":
                continue
            listed = client.get(f"{LIST}{query}").json()["conversations"]
            own = [] if query == "" and name != "person" else [made[name]["id"]]
            assert [chat["id"] for chat in listed] == own
            if name != "person" or query != "?user_id=*":
                found = client.get(f"/api/search{query or '?'}&q=plans").json()["results"]
                assert {hit["conversation"]["id"] for hit in found} == set(own)
        for other in made.keys() - {name}:
            assert client.get(f"{LIST}/{made[other]['id']}").status_code == 404
            assert client.post(f"{LIST}/{made[other]['id']}/messages", SAY).status_code == 404


def test_a_trusted_client_of_no_namespace_sees_the_users_of_none(db):
    backend = client_for(make_user("backend"), trusted=True)
    person, boss = make_user("3"), make_staff("boss")
    mine = make_conversation(person)
    for hidden in (
        make_conversation(boss),
        make_conversation(find_or_create_user(3, namespace="crm")),
    ):
        assert backend.get(f"{LIST}/{hidden.pk}").status_code == 404
    assert [chat["id"] for chat in backend.get(f"{LIST}?user_id=*").json()["conversations"]] == [
        str(mine.pk)
    ]
    for method, path in (("get", f"{LIST}?user_id=boss"), ("post", f"{LIST}?user_id=boss")):
        refused = getattr(backend, method)(path)
        assert refused.status_code == 403
        assert "staff account" in refused.json()["errors"][0]["detail"]


def test_each_look_of_staff_leaves_a_record(alice, staff):
    chat = make_conversation(alice, messages=2)
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


def test_nobody_elses_look_leaves_a_record(alice, staff, trusted):
    chat = make_conversation(alice)
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
