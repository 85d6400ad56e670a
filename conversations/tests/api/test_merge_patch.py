"""PATCH as a JSON merge patch (RFC 7386): keys of metadata one by one."""

import json
from dataclasses import replace
from urllib.request import Request, urlopen

import pytest

from conversations.models import AccessRecord, Conversation, Message
from conversations.services import SCRIPT, get_chat_history, set_legal_hold
from conversations.services.merge_patch import merge
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_token,
    make_user,
)

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"
MERGE = "application/merge-patch+json"
# The examples of the RFC, appendix A.
EXAMPLES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.fixture(params=["conversation", "message", "session", "session message"])
def patched(request, alice):
    """(row, url) of what is patched, by both of its names."""
    chat = make_conversation(alice, 1)
    message = get_chat_history(conversation_id=chat.pk)[0]
    base = "/api/chat-history/sessions" if "session" in request.param else LIST
    if "message" in request.param:
        return message, f"{base}/{chat.pk}/messages/{message.id}"
    return chat, f"{base}/{chat.pk}"


def send(api, url, body, content_type=MERGE):
    return api.patch(url, json.dumps(body), content_type=content_type)


def metadata_of(row):
    return type(row).objects.get(pk=row.pk).metadata


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_the_examples_of_the_rfc(target, patch, result):
    assert merge(target, patch) == result


def test_keys_are_merged_and_null_removes_one(api, patched):
    row, url = patched
    send(api, url, {"metadata": {"a": 1, "b": {"c": 1, "d": 2}, "e": [1]}}, "application/json")
    answer = send(api, url, {"metadata": {"a": None, "b": {"c": None, "x": True}, "e": [2]}})
    assert answer.status_code == 200
    assert answer.json()["metadata"] == {"b": {"d": 2, "x": True}, "e": [2]} == metadata_of(row)


def test_the_replacing_form_is_kept(api, patched):
    row, url = patched
    for body in ({"a": 1}, {"b": None}):
        answer = send(api, url, {"metadata": body}, "application/json; charset=utf-8")
        assert answer.json()["metadata"] == body == metadata_of(row)


def test_null_empties_metadata_as_a_patch_alone(api, patched):
    row, url = patched
    send(api, url, {"metadata": {"a": 1}})
    assert send(api, url, {"metadata": None}, "application/json").status_code in (400, 422)
    assert metadata_of(row) == {"a": 1}
    assert send(api, url, {"metadata": None}).json()["metadata"] == {}


def test_other_fields_stay_or_change_as_ever(api, alice):
    chat = make_conversation(alice, title="T", metadata={"a": 1}, external_id="x", tags=["t"])
    url = f"{LIST}/{chat.pk}"
    changed = send(api, url, {"metadata": {"b": 2}, "external_id": None, "pinned": True}).json()
    assert changed["metadata"] == {"a": 1, "b": 2}
    assert (changed["title"], changed["external_id"], changed["tags"]) == ("T", None, ["t"])
    assert changed["pinned"]
    assert send(api, url, {}).json()["metadata"] == {"a": 1, "b": 2}
    for body, field in (({"title": None}, "title"), ({"metadata": []}, "metadata")):
        refused = send(api, url, body)
        assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (400, field)


def test_a_number_of_any_size_that_is_stored_outlives_a_patch(api, patched):
    _, url = patched
    numbers = {"big": 1e23, "exact": 2**63, "small": 1e-7, "point": 1.5}
    send(api, url, {"metadata": numbers}, "application/json")
    shown = send(api, url, {"metadata": {"a": 1}}).json()["metadata"]
    shown["big"] = float(shown["big"])  # JSONB has it as an integer, as it is
    assert shown == numbers | {"a": 1}


def test_the_result_may_not_be_too_large(api, patched, settings):
    row, url = patched
    settings.CHAT_MAX_METADATA_BYTES = 100
    assert send(api, url, {"metadata": {"a": "x" * 60}}).status_code == 200
    refused = send(api, url, {"metadata": {"b": "x" * 60}})
    assert refused.status_code in (400, 422)
    assert "Larger than 100 bytes" in refused.content.decode()
    assert metadata_of(row) == {"a": "x" * 60}
    assert send(api, url, {"metadata": {"a": None, "b": "x" * 60}}).status_code == 200


def test_the_result_may_not_nest_too_deep(api, alice, settings):
    settings.CHAT_MAX_JSON_DEPTH = 10
    url = f"{LIST}/{make_conversation(alice).pk}"
    patch = value = {}
    for _ in range(12):
        value["a"] = value = {}
    refused = send(api, url, {"metadata": patch})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "too_deep")


@pytest.mark.parametrize("value", [float("nan"), 2**70])
def test_what_cannot_be_stored_is_named(api, patched, value):
    row, url = patched
    refused = send(api, url, {"metadata": {"a": {"b": value}}})
    assert refused.status_code in (400, 422)
    assert "b" in refused.content.decode()
    assert metadata_of(row) == {}


@pytest.mark.parametrize("method", ["post", "put"])
def test_only_a_patch_is_a_merge_patch(api, method):
    answer = getattr(api, method)(LIST, "{}", content_type=MERGE)
    assert answer.status_code in (405, 415)
    assert not Conversation.objects.exists()


def test_a_hold_refuses_it_and_staff_leave_a_record(alice, patched):
    row, url = patched
    root = make_user("root", is_staff=True, is_superuser=True)
    assert send(client_for(root), url, {"metadata": {"a": 1}}).status_code == 200
    assert AccessRecord.objects.get().detail["fields"] == ["metadata"]
    chat = row.pk if isinstance(row, Conversation) else row.conversation_id
    set_legal_hold(conversation_id=chat, on_hold=True, access=replace(SCRIPT, reason="a case"))
    assert send(client_for(alice), url, {"metadata": {"b": 1}}).status_code == 409
    assert metadata_of(row) == {"a": 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["conversation", "message"])
def test_patches_of_different_keys_at_the_same_moment_all_survive(live_server, kind):
    alice = make_user("alice")
    token, chat = make_token(alice), make_conversation(alice, 1)
    url = f"{live_server.url}{LIST}/{chat.pk}"
    if kind == "message":
        url += f"/messages/{get_chat_history(conversation_id=chat.pk)[0].id}"

    def patch_ten(writer):
        for number in range(10):
            request = Request(
                url,
                data=json.dumps({"metadata": {f"{writer}.{number}": {"n": number}}}).encode(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": MERGE},
                method="PATCH",
            )
            urlopen(request).close()

    at_once(6, patch_ten)
    stored = (Message if kind == "message" else Conversation).objects.get().metadata
    assert stored == {f"{writer}.{n}": {"n": n} for writer in range(6) for n in range(10)}
