"""For whom a trusted client acts: X-User-Id, and what it may not reach."""

import pytest
from django.contrib.auth.models import User

from conversations.models import AccessRecord, Conversation
from conversations.services import find_or_create_user
from conversations.tests.factories import (
    client_for,
    make_conversation,
    make_staff,
    make_superuser,
    make_user,
)

pytestmark = pytest.mark.django_db

PATH = "/v1/conversations"
MESSAGE = {"role": "user", "content": "Hello"}


@pytest.fixture
def crm():
    return client_for(make_user("crm"), trusted=True, namespace="crm")


def for_user(name):
    return {"headers": {"X-User-Id": name}}


def test_the_header_names_the_owner_who_is_created(crm):
    made = crm.post(PATH, {"items": [MESSAGE]}, **for_user("ann")).json()
    assert made["user_id"] == "ann"
    assert Conversation.objects.get().user == find_or_create_user("ann", namespace="crm")
    assert crm.get(f"{PATH}/{made['id']}", **for_user("ann")).json() == made
    assert crm.get(f"{PATH}/{made['id']}").json() == made


def test_a_number_is_the_name_of_its_digits(crm):
    assert crm.post(PATH, {}, **for_user("7")).json()["user_id"] == 7
    assert len(crm.get(PATH, {"user_id": "7"}).json()["data"]) == 1


def test_a_name_may_be_of_any_script(crm):
    name = "zoë"
    made = crm.post(PATH, {}, headers={"X-User-Id": name.encode().decode("latin-1")}).json()
    assert made["user_id"] == name


def test_a_bad_name_is_refused(crm):
    answer = crm.post(PATH, {}, **for_user("*"))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "X-User-Id"
    assert not Conversation.objects.exists()


def test_without_the_header_it_is_its_own_user(crm):
    assert crm.post(PATH, {}).json()["user_id"] == crm.get("/api/me").json()["user_id"]


def test_the_conversation_of_another_user_is_not_found(crm):
    """The id may have come from anywhere; the header from the session of the application."""
    chat = make_conversation(find_or_create_user("bob", namespace="crm"), messages=1)
    name = f"{PATH}/conv_{chat.pk.hex}"
    item = crm.get(f"{name}/items").json()["first_id"]
    for method, path, body in (
        ("get", name, None),
        ("post", name, {"metadata": {}}),
        ("get", f"{name}/items", None),
        ("post", f"{name}/items", {"items": [MESSAGE]}),
        ("get", f"{name}/items/{item}", None),
        ("delete", f"{name}/items/{item}", None),
        ("delete", name, None),
    ):
        for user in ("ann", "nobody"):
            answer = getattr(crm, method)(path, body, **for_user(user))
            assert answer.status_code == 404, (method, path)
            assert answer.json()["error"]["message"] == "No such conversation."
        assert getattr(crm, method)(path, body, **for_user("bob")).status_code == 200


def test_the_list_of_another_user_is_empty_where_the_header_names_one(crm):
    make_conversation(find_or_create_user("bob", namespace="crm"), messages=1)
    assert crm.get(PATH, {"user_id": "bob"}, **for_user("ann")).json()["data"] == []
    assert len(crm.get(PATH, {"user_id": "bob"}, **for_user("bob")).json()["data"]) == 1
    assert len(crm.get(PATH, {"user_id": "bob"}).json()["data"]) == 1


def test_users_of_other_applications_and_staff_are_out_of_reach(crm):
    boss = make_staff("boss")
    for owner in (boss, find_or_create_user("ann", namespace="erp"), make_user("ann")):
        name = f"{PATH}/{make_conversation(owner).pk}"
        assert crm.get(name).status_code == 404
        assert crm.get(name, **for_user("ann")).status_code == 404
    backend = client_for(make_user("backend"), trusted=True)
    refused = backend.post(PATH, {}, **for_user("boss"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


def test_other_tokens_cannot_name_anybody(alice, bob):
    chat = make_conversation(bob)
    client = client_for(alice)
    assert client.post(PATH, {}, **for_user("bob")).json()["user_id"] == "alice"
    assert client.get(PATH, **for_user("bob")).json()["data"][0]["user_id"] == "alice"
    assert client.get(f"{PATH}/{chat.pk}", **for_user("bob")).status_code == 404


def test_the_header_of_staff_is_ignored_and_what_they_read_is_recorded(alice):
    chat = make_conversation(alice, messages=1)
    root = client_for(make_superuser())
    assert root.post(PATH, {}, **for_user("alice")).json()["user_id"] == "root"
    assert not AccessRecord.objects.exists()
    reason = {"Access-Reason": "Ticket 7"}
    assert root.get(f"{PATH}/{chat.pk}/items", headers=reason).status_code == 200
    record = AccessRecord.objects.get()
    assert (record.action, record.conversation_id, record.reason) == ("read", chat.pk, "Ticket 7")


def test_staff_give_a_reason_where_the_settings_ask_for_one(alice, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    chat = make_conversation(alice, messages=1)
    root = client_for(make_superuser())
    answer = root.get(f"{PATH}/{chat.pk}")
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("reason_required", "Access-Reason")


def test_a_new_user_of_a_refused_request_is_not_kept(crm):
    bad = {"items": [MESSAGE | {"content": "\0"}]}
    assert crm.post(PATH, bad, **for_user("ann")).status_code == 400
    assert not User.objects.filter(username__endswith="ann").exists()
