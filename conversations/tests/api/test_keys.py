"""Ids that clients give, or that follow from their keys: nobody takes or foresees another's, and
what was deleted stays deleted."""

import threading
import uuid
from functools import partial

import pytest
from django.db import connection, transaction

from conversations.models import Conversation, Message, derived_id, id_from_key
from conversations.services import (
    ServiceError,
    add_message,
    create_conversation,
    delete_conversation,
    delete_message,
)
from conversations.tests.factories import access_of, client_for, make_conversation, make_user

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"
KEY = {"headers": {"Idempotency-Key": "order-1"}}
SAY = {"role": "user", "content": "Hello"}


def test_an_id_that_follows_from_a_key_cannot_be_foreseen(api, alice, bob):
    """An id that anybody can derive would let bob make it first."""
    made = uuid.UUID(api.post(LIST, {}, **KEY).json()["id"])
    assert made == id_from_key(alice.pk, "order-1")
    assert made.version == 8
    assert made != derived_id(alice.pk, "order-1")
    for guess in (derived_id(scope, "order-2") for scope in (alice.pk, "alice")):
        assert client_for(bob).post(LIST, {"id": str(guess)}).status_code == 201
    assert api.post(LIST, {}, headers={"Idempotency-Key": "order-2"}).status_code == 201


def test_the_same_key_of_two_owners_is_two_conversations(api, bob):
    mine = api.post(LIST, {}, **KEY).json()["id"]
    assert client_for(bob).post(LIST, {}, **KEY).json()["id"] != mine
    assert api.post(LIST, {}, **KEY).json()["id"] == mine


def test_an_id_that_is_taken_says_the_same_whoever_has_it(api, alice, bob):
    theirs, mine = make_conversation(bob, title="Secret").pk, make_conversation(alice).pk
    gone = make_conversation(bob).pk
    assert client_for(bob).delete(f"{LIST}/{gone}").status_code == 200
    answers = [api.post(LIST, {"id": str(key), "title": "Other"}) for key in (theirs, mine, gone)]
    assert [answer.status_code for answer in answers] == [409] * 3
    errors = [answer.json()["errors"] for answer in answers]
    assert errors[0] == errors[1] == errors[2]
    assert "Secret" not in str(errors)


@pytest.mark.parametrize("identity", ["key", "id"])
def test_a_deleted_message_does_not_come_back_with_a_late_retry(api, alice, identity):
    chat = make_conversation(alice)
    url = f"{LIST}/{chat.pk}/messages"
    body = SAY if identity == "key" else SAY | {"id": str(uuid.uuid4())}
    options = KEY if identity == "key" else {}
    made = api.post(url, body, **options)
    assert made.status_code == 201
    assert api.post(url, body, **options).status_code == 200
    assert api.delete(f"{url}/{made.json()['id']}").status_code == 200
    late = api.post(url, body, **options)
    assert (late.status_code, late.json()["errors"][0]["code"]) == (409, "deleted")
    bulk = api.post(url, {"messages": [SAY, body]}, **options)
    assert bulk.status_code == 409
    assert not Message.objects.exists()
    chat.refresh_from_db()
    assert (chat.message_count, chat.last_sequence) == (0, 1)
    assert api.post(url, SAY).status_code == 201


@pytest.mark.parametrize("identity", ["key", "id"])
def test_a_deleted_conversation_does_not_come_back_with_a_late_retry(api, identity):
    body = {"title": "T"} if identity == "key" else {"title": "T", "id": str(uuid.uuid4())}
    options = KEY if identity == "key" else {}
    made = api.post(LIST, body, **options).json()
    assert api.delete(f"{LIST}/{made['id']}").status_code == 200
    late = api.post(LIST, body, **options)
    assert (late.status_code, late.json()["errors"][0]["code"]) == (409, "deleted")
    assert not Conversation.objects.exists()


def test_a_stranger_is_not_told_what_was_deleted(api, alice, bob):
    chat = make_conversation(alice)
    url, body = f"{LIST}/{chat.pk}/messages", SAY | {"id": str(uuid.uuid4())}
    api.post(url, body)
    api.delete(f"{url}/{body['id']}")
    assert client_for(bob).post(url, body).status_code == 404


def test_another_client_deletes_an_id_that_was_deleted_before(api, bob):
    """Two owners, one id, one after the other: both stay deleted."""
    body = {"id": str(uuid.uuid4())}
    api.post(LIST, body)
    api.delete(f"{LIST}/{body['id']}")
    assert client_for(bob).post(LIST, body).status_code == 409
    assert api.post(LIST, body).status_code == 409


def while_it_is_deleted(delete, retry):
    """The outcome of `retry`, which comes while the transaction that deletes is still open."""
    outcome = []

    def late():
        try:
            outcome.append(retry())
        except ServiceError as refusal:
            outcome.append(refusal.code)
        finally:
            connection.close()

    with transaction.atomic():
        delete()
        thread = threading.Thread(target=late)
        thread.start()
        thread.join(1)
        waited = thread.is_alive()
    thread.join()
    assert waited
    return outcome[0]


@pytest.mark.django_db(transaction=True)
def test_a_message_that_is_just_being_deleted_does_not_come_back_either():
    alice = make_user("alice")
    chat, id_ = make_conversation(alice), uuid.uuid4()
    say = partial(add_message, conversation_id=chat.pk, role="user", content="x", id=id_)
    say()
    delete = partial(
        delete_message, conversation_id=chat.pk, message_id=id_, access=access_of(alice)
    )
    assert while_it_is_deleted(delete, say) == "deleted"
    assert not Message.objects.exists()


@pytest.mark.one_node("an id that is taken is found to be so at once, without waiting")
@pytest.mark.django_db(transaction=True)
def test_a_conversation_that_is_just_being_deleted_does_not_come_back_either():
    alice = make_user("alice")
    create = partial(create_conversation, owner=alice, id=uuid.uuid4())
    chat, _ = create()
    delete = partial(delete_conversation, conversation_id=chat.pk, access=access_of(alice))
    assert while_it_is_deleted(delete, create) == "deleted"
    assert not Conversation.objects.exists()
