"""Errors under /v1 have OpenAI's form, whoever answers: its SDK raises the exception for each."""

import json
from dataclasses import replace

import httpx
import pytest
from django.db import OperationalError
from rest_framework.test import APIClient

from conversations.api.openai import conversations as views
from conversations.server.refusals import Refusal, refuse
from conversations.services import MessageDraft, append_drafts, create_conversation
from conversations.services.legal_holds import set_legal_hold
from conversations.tests.api.openai.conftest import Sdk, library
from conversations.tests.factories import (
    access_of,
    client_for,
    make_conversation,
    make_superuser,
    make_token,
    make_user,
)

PATH = "/v1/conversations"
MISSING = "conv_" + "0" * 32
MESSAGE = {"role": "user", "content": "Hello"}


def refused(sdk, call, error):
    with pytest.raises(getattr(library(), error)) as raised:
        sdk(call)
    assert raised.value.request_id
    return raised.value


def test_each_refusal_is_its_exception(strict_sdk, server):
    chat = strict_sdk(lambda client: client.conversations.create()).id

    missing = refused(strict_sdk, lambda c: c.conversations.retrieve(MISSING), "NotFoundError")
    assert (missing.type, missing.code, missing.param) == ("invalid_request_error", None, None)
    for name in ("conv_123", "x", "%00", "conv_" + "g" * 32):
        refused(strict_sdk, lambda c, name=name: c.conversations.retrieve(name), "NotFoundError")
    refused(
        strict_sdk,
        lambda client: client.conversations.items.retrieve("msg_abc", conversation_id=chat),
        "NotFoundError",
    )

    unknown = refused(
        strict_sdk,
        lambda client: client.conversations.items.create(chat, items=[MESSAGE, {"type": "dream"}]),
        "BadRequestError",
    )
    assert (unknown.type, unknown.param) == ("invalid_request_error", "items[1].type")
    assert unknown.code == "invalid_value"
    assert "Not a type of item" in unknown.message

    nobody = Sdk(server.url, api_key="wrong")
    denied = refused(nobody, lambda client: client.conversations.create(), "AuthenticationError")
    assert denied.code == "invalid_api_key"


def test_a_conflict_is_not_repeated(strict_sdk, server):
    """The SDK would send it three times."""
    chat = strict_sdk(lambda client: client.conversations.create()).id
    key = {"extra_headers": {"Idempotency-Key": "k"}}
    patient = Sdk(server.url, api_key=make_token(make_user("carol")), max_retries=2)
    sent = []

    def counted(client):
        hooked = client.with_options(
            http_client=httpx.Client(event_hooks={"request": [sent.append]})
        )
        return hooked.conversations.create(metadata={"a": "2"}, **key)

    patient(lambda client: client.conversations.create(metadata={"a": "1"}, **key))
    error = refused(patient, counted, "ConflictError")
    assert (error.code, error.param) == ("key_reused", "Idempotency-Key")
    assert error.response.headers["x-should-retry"] == "false"
    assert len(sent) == 1
    assert chat


@pytest.mark.django_db
def test_a_legal_hold_is_a_conflict(alice, v1):
    chat = make_conversation(alice, messages=1)
    officer = replace(access_of(make_superuser(), reader=True, writer=True), reason="Case 7")
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=officer)
    for method, path, body in (
        ("post", f"{PATH}/{chat.pk}", {"metadata": {}}),
        ("delete", f"{PATH}/{chat.pk}", None),
    ):
        answer = getattr(v1, method)(path, body)
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "not_changeable"
        assert answer.headers["x-should-retry"] == "false"
    item = v1.get(f"{PATH}/{chat.pk}/items").json()["first_id"]
    assert v1.delete(f"{PATH}/{chat.pk}/items/{item}").status_code == 409
    assert v1.post(f"{PATH}/{chat.pk}/items", {"items": [MESSAGE]}).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "items", "missing_required_parameter"),
        ({"items": []}, "items", "empty"),
        ({"items": [MESSAGE] * 21}, "items", "max_length"),
        ({"items": {}}, "items", "not_a_list"),
        ({"items": [7]}, "items[0]", "not_an_object"),
        ({"items": [MESSAGE, {"role": "user"}]}, "items[1].content", "missing_required_parameter"),
        ({"items": [MESSAGE | {"content": " "}]}, "items[0].content", "blank"),
        ({"items": [MESSAGE | {"content": "\0"}]}, "items[0].content", None),
        ({"items": [MESSAGE], "item": 1}, "item", "unknown_parameter"),
        (
            {"items": [MESSAGE | {"content": [{"type": "input_text", "text": "\0"}]}]},
            "items[0].content",
            None,
        ),
        (
            {"items": [{"type": "function_call_output", "call_id": "c", "output": "\0"}]},
            "items[0].output",
            None,
        ),
        (
            {"items": [{"type": "function_call", "call_id": "c", "name": "\0", "arguments": "{}"}]},
            "items[0].name",
            None,
        ),
        (
            {"items": [{"type": "compaction", "encrypted_content": "\0"}]},
            "items[0].encrypted_content",
            None,
        ),
        ({"items": [{"type": "item_reference"}]}, "items[0].id", "missing_required_parameter"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(alice, v1, body, param, code):
    chat = make_conversation(alice)
    error = v1.post(f"{PATH}/{chat.pk}/items", body).json()["error"]
    assert error["param"] == param, error
    assert error["type"] == "invalid_request_error"
    assert code is None or error["code"] == code
    assert v1.get(f"{PATH}/{chat.pk}/items").json()["data"] == []


@pytest.mark.django_db
def test_several_errors_are_all_in_the_message(v1):
    error = v1.post(PATH, {"a": 1, "b": 2}).json()["error"]
    assert error["param"] == "a"
    assert "a: " in error["message"]
    assert "b: " in error["message"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("include=dreams", "include"),
        ("include[]=dreams", "include"),
        ("afterr=1", "afterr"),
    ],
)
def test_what_is_wrong_with_a_query_is_named(alice, v1, query, param):
    answer = v1.get(f"{PATH}/{make_conversation(alice).pk}/items?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/v1", 404),
        ("get", "/v1/", 404),
        ("get", "/v1/dreams", 404),
        ("post", "/v1/conversations/x/y/z", 404),
        ("patch", PATH, 405),
        ("put", f"{PATH}/{MISSING}", 405),
        ("get", PATH, 401),
        ("get", f"{PATH}/{MISSING}", 401),
    ],
)
def test_anything_under_v1_answers_in_this_form(method, path, status):
    answer = getattr(APIClient(), method)(path)
    assert answer.status_code == status or (status == 405 and answer.status_code == 401)
    assert answer.headers["X-Request-ID"]
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (status == 401) == (error["code"] == "invalid_api_key") or status == 405


def test_paths_that_only_begin_like_it_are_pages(db):
    assert "html" in APIClient().get("/v10").headers["Content-Type"]


@pytest.mark.django_db
def test_a_method_that_is_not_there_is_405(v1):
    answer = v1.patch(PATH, {})
    assert answer.status_code == 405
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"items": [], "items": []}', "application/json", 400),
        (b"{}", "text/plain", 415),
    ],
)
def test_a_body_that_cannot_be_read(v1, content, kind, status):
    answer = v1.post(PATH, content, content_type=kind)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.django_db
def test_a_body_that_is_too_large(v1, settings):
    settings.CHAT_MAX_BODY_BYTES = 10
    answer = v1.post(PATH, {"metadata": {"a": "b" * 10}})
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.django_db
def test_too_many_requests(v1, settings):
    settings.THROTTLE_RATES = {"read": "1/min"}
    v1.get(PATH)
    answer = v1.get(PATH)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")


@pytest.mark.django_db
def test_a_failure_is_not_repeated_unless_it_has_a_key(v1, monkeypatch):
    """Nobody knows whether it has stored anything."""

    def fail(**_):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(views, "create_with_messages", fail)
    v1.raise_request_exception = False
    answer = v1.post(PATH, {})
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "server_error"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["x-should-retry"] == "false"
    keyed = v1.post(PATH, {}, headers={"Idempotency-Key": "k"})
    assert "x-should-retry" not in keyed.headers
    assert "x-should-retry" not in v1.get(PATH).headers


@pytest.mark.django_db
def test_a_defect_is_a_server_error(alice, monkeypatch):
    def fail(**_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(views, "create_with_messages", fail)
    client = client_for(alice)
    client.raise_request_exception = False
    answer = client.post(PATH, {})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert b"secret" not in answer.content


def test_what_the_event_loop_refuses(db):
    scope = {"path": PATH, "method": "GET", "headers": []}
    for refusal in (Refusal.busy(), Refusal.slow_body(), Refusal.failed()):
        response = refuse(scope, refusal, 0.0)
        assert response.status_code == refusal.status
        assert json.loads(response.content)["error"]["message"] == refusal.detail
        assert response.headers["X-Request-ID"]


@pytest.mark.django_db
def test_an_answer_that_runs_is_in_progress(alice, v1):
    chat, _ = create_conversation(owner=alice)
    append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role="assistant", status="streaming", content="")],
        access=access_of(alice),
    )
    (item,) = v1.get(f"{PATH}/{chat.pk}/items").json()["data"]
    assert (item["status"], item["content"]) == ("in_progress", [])
    assert v1.post(f"{PATH}/{chat.pk}/items", {"items": [MESSAGE]}).status_code == 200
