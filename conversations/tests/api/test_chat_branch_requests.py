"""Edited questions and answers to give again: what is refused, repeated, and who may ask."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User

from conversations.models import AccessRecord, Branch, Conversation, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts, delete_message
from conversations.services.branches import delete_branch
from conversations.tests.chat.branches import (
    contents,
    key,
    no_system_prompt,
    refusal,
    shown,
    talk,
    user_messages,
)
from conversations.tests.chat.clients import ChatClient
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.factories import (
    make_conversation,
    make_staff,
    make_token,
    make_trusted,
    make_user,
)

__all__ = ["key", "no_system_prompt", "talk"]

UNKNOWN = "0198c5a0-0000-7000-8000-000000000000"


# What cannot be given again


@pytest.mark.parametrize(
    ("body", "attr", "code"),
    [
        ({"message": "Hi"}, "message", "not_with_regenerate"),
        ({"parts": []}, "parts", "not_with_regenerate"),
        ({"metadata": {}}, "metadata", "not_with_regenerate"),
        ({"parent_id": "root"}, "parent_id", "not_with_regenerate"),
        ({"store": False}, "regenerate", "not_stored"),
        ({"regenerate": "x"}, "regenerate", "invalid"),
        ({"regenerate": None}, "regenerate", "null"),
        ({"regenerate": 5}, "regenerate", "invalid"),
        ({"provider": "none"}, "provider", "unknown_provider"),
        ({"tools": ["none"]}, "tools.0", "unknown_tool"),
        ({"system": "a\x00"}, "system", "null_characters_not_allowed"),
        ({"temperature": 3}, "temperature", "max_value"),
    ],
)
def test_bad_requests_name_their_field(chat, scripted, talk, body, attr, code):
    before = list(Message.objects.values())
    assert refusal(chat.regenerate(talk[1]["message_id"], **body)) == (400, attr, code)
    assert list(Message.objects.values()) == before
    assert len(scripted.chats) == 2


@pytest.mark.parametrize(
    ("body", "attr", "code"),
    [
        ({"parent_id": "x"}, "parent_id", "invalid"),
        ({"parent_id": None}, "parent_id", "null"),
        ({"parent_id": "ROOT"}, "parent_id", "invalid"),
        ({"parent_id": UNKNOWN}, "parent_id", "not_found"),
        ({"parent_id": "root", "store": False}, "conversation_id", "not_stored"),
        ({"parent_id": UNKNOWN, "conversation_id": None}, "conversation_id", "required"),
    ],
)
def test_a_bad_parent_is_named(chat, scripted, key, body, attr, code):
    answer = chat.ask("Hi", **{"conversation_id": key} | body)
    assert refusal(answer) == (400, attr, code)
    assert (Message.objects.count(), Conversation.objects.count()) == (4, 1)
    assert not Branch.objects.exists()
    alone = chat.ask("Hi", store=False, parent_id="root")
    assert refusal(alone) == (400, "parent_id", "not_stored")


def test_exactly_one_of_both_is_asked(chat, talk):
    with chat.call("POST", "/api/chat", {}) as reply:
        assert reply.status == 400
    assert refusal(chat.ask_stream(None)) == (400, "question", "required")
    both = chat.ask_stream("Hi", regenerate=talk[1]["message_id"])
    assert refusal(both) == (400, "question", "not_with_regenerate")


def test_a_new_conversation_may_begin_at_the_root(chat, scripted):
    body = chat.ask("Hi", parent_id="root").body
    assert contents(body["conversation_id"]) == ["Hi", "Hello from the scripted provider."]
    assert not Branch.objects.exists()


def test_only_an_answer_is_given_again(chat, scripted, talk):
    question = user_messages()[1]
    assert refusal(chat.regenerate(question.id)) == (400, "regenerate", "not_an_answer")
    assert refusal(chat.regenerate(UNKNOWN)) == (404, "regenerate", "not_found")
    # Of a turn that is not stored nobody has an id.
    unstored = chat.ask("Hi", store=False).body
    assert (unstored["message_id"], unstored["stream_id"]) == (None, None)


def test_the_conversation_may_be_left_out_or_is_the_answers(chat, talk, key):
    other = chat.ask("Hi").body["conversation_id"]
    answer = talk[1]["message_id"]
    wrong = chat.regenerate(answer, conversation_id=other)
    assert refusal(wrong) == (400, "conversation_id", "mismatch")
    by_query = chat.ask_stream(None, regenerate=answer, session_id=other)
    assert refusal(by_query) == (400, "session_id", "mismatch")
    assert refusal(chat.regenerate(answer, conversation_id=UNKNOWN))[1:] == (
        "conversation_id",
        "mismatch",
    )
    assert chat.regenerate(answer, conversation_id=key).status == 200
    assert chat.regenerate(answer, conversation_id=None).status == 200


@pytest.mark.parametrize("turn", [0, 1])
def test_an_answer_whose_question_was_deleted_is_not_given_again(chat, talk, key, turn):
    question = user_messages()[turn]
    delete_message(conversation_id=key, message_id=question.id, access=SCRIPT)
    answer = chat.regenerate(talk[turn]["message_id"])
    assert refusal(answer) == (409, "regenerate", "no_question")
    assert Message.objects.count() == 3


def test_an_answer_whose_sibling_was_deleted_is_given_again(chat, scripted, talk, key):
    again = chat.regenerate(talk[1]["message_id"]).body
    delete_message(conversation_id=key, message_id=talk[1]["message_id"], access=SCRIPT)
    scripted.script(says("2c"))
    assert chat.regenerate(again["message_id"]).body["response"] == "2c"
    assert shown(scripted) == ["One?", "1a", "Two?"]
    delete_branch(conversation_id=key, number=1, access=SCRIPT)
    assert refusal(chat.regenerate(again["message_id"])) == (404, "regenerate", "not_found")


def test_a_conversation_on_legal_hold_gets_further_branches(chat, scripted, talk, key):
    Conversation.objects.update(legal_hold=True)
    assert chat.regenerate(talk[1]["message_id"]).status == 200
    edited = chat.ask("Deux?", conversation_id=key, parent_id=talk[0]["message_id"])
    assert edited.status == 200
    assert Conversation.objects.get().branch_count == 3


# Repeated requests


def test_an_equal_retry_watches_the_same_turn(chat, scripted, talk, key):
    gate = threading.Event()
    scripted.script(says("2", gate, "b"))
    answer = talk[1]["message_id"]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(chat.regenerate, answer, key="k") for _ in range(4)]
        scripted.wait_for(lambda: len(scripted.chats) == 3)
        gate.set()
        bodies = [answer.result().body for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["response"] == "2b"
    later = chat.regenerate(answer, key="k", conversation_id=key)
    assert (later.status, later.body) == (200, bodies[0])
    stream = chat._stream("GET", f"/api/chat/ask-stream?regenerate={answer}&key=k")
    first, *_, last = list(stream)
    assert first.data["user_message_id"] == str(user_messages()[1].id)
    assert last.data == bodies[0]
    assert (len(scripted.chats), Message.objects.count()) == (3, 5)


def test_another_request_under_the_key_is_refused(chat, scripted, talk, key):
    answer = talk[1]["message_id"]
    again = chat.regenerate(answer, key="k").body
    reused = (409, "Idempotency-Key", "key_reused")
    others = [
        chat.regenerate(talk[0]["message_id"], key="k"),
        chat.regenerate(again["message_id"], key="k"),  # its sibling
        chat.regenerate(answer, key="k", model="other"),
        chat.regenerate(answer, key="k", temperature=1),
        chat.ask("Two?", key="k", conversation_id=key),
    ]
    assert [refusal(other) for other in others] == [reused] * 5
    chat.ask("Three?", key="q", conversation_id=key)
    assert refusal(chat.regenerate(answer, key="q")) == reused
    assert len(scripted.chats) == 4


def test_a_question_is_repeated_with_its_parent(chat, scripted, talk, key):
    place = {"conversation_id": key, "parent_id": talk[0]["message_id"]}
    first = chat.ask("Deux?", key="k", **place)
    assert chat.ask("Deux?", key="k", **place).body == first.body
    for other in (talk[1]["message_id"], "root"):
        refused = chat.ask("Deux?", key="k", **place | {"parent_id": other})
        assert refusal(refused) == (409, "Idempotency-Key", "key_reused")
    without = chat.ask("Deux?", key="k", conversation_id=key)
    assert refusal(without) == (409, "Idempotency-Key", "key_reused")
    # Also when what it followed is gone.
    delete_message(conversation_id=key, message_id=place["parent_id"], access=SCRIPT)
    assert chat.ask("Deux?", key="k", **place).body == first.body
    assert len(scripted.chats) == 3


def test_a_keyed_answer_that_was_deleted_is_not_given_again(chat, talk, key):
    again = chat.regenerate(talk[1]["message_id"], key="k").body
    delete_message(conversation_id=key, message_id=again["message_id"], access=SCRIPT)
    assert refusal(chat.regenerate(talk[1]["message_id"], key="k"))[::2] == (409, "deleted")


# Access


def client_of(chat, user, **token):
    return ChatClient(chat.url, make_token(user, **token))


def test_only_who_may_write_there_asks_again(chat, scripted, talk, key):
    answer, place = talk[1]["message_id"], {"conversation_id": key, "parent_id": "root"}
    bob = client_of(chat, make_user("bob"))
    assert refusal(bob.regenerate(answer)) == (404, "regenerate", "not_found")
    assert refusal(bob.regenerate(answer, conversation_id=key)) == (404, "regenerate", "not_found")
    assert bob.ask("Hi", **place).status == 404
    assert ChatClient(chat.url).regenerate(answer).status == 401
    support = client_of(chat, make_staff())
    assert support.regenerate(answer).status == 403
    assert (Message.objects.count(), len(scripted.chats)) == (4, 2)
    root = client_of(chat, User.objects.create_superuser("root"))
    assert root.regenerate(answer).status == 200
    record = AccessRecord.objects.get()
    assert (record.staff_name, record.action, str(record.conversation_id)) == (
        "root",
        "change",
        key,
    )


def test_a_superuser_gives_a_reason_first(chat, settings, talk):
    settings.CHAT_REQUIRE_READ_REASON = True
    root = client_of(chat, User.objects.create_superuser("root"))
    assert refusal(root.regenerate(talk[1]["message_id"]))[::2] == (403, "reason_required")
    assert Message.objects.count() == 4


def test_a_trusted_client_asks_again_for_its_user(chat, talk):
    backend = client_of(chat, make_trusted())
    answer = talk[1]["message_id"]
    assert backend.regenerate(answer, user_id="alice").status == 200
    make_user("dave")
    assert backend.regenerate(answer, user_id="dave").status == 404


def test_a_message_under_the_id_of_anothers_answer_is_found_by_its_conversation(chat, talk):
    bob = make_user("bob")
    own = make_conversation(bob)
    said = [
        MessageDraft(role="user", content="Mine?"),
        MessageDraft(role="assistant", content="Yours.", id=talk[1]["message_id"]),
    ]
    append_drafts(conversation_id=own.pk, drafts=said, access=SCRIPT)
    assert client_of(chat, bob).regenerate(talk[1]["message_id"]).status == 200
    backend = client_of(chat, make_trusted())
    there = backend.regenerate(talk[1]["message_id"], conversation_id=str(own.pk))
    assert there.body["conversation_id"] == str(own.pk)
    assert Message.objects.filter(conversation_id=own.pk).count() == 4


def test_ordinary_users_edit_and_ask_again_whatever_options_are_kept(chat, settings, talk, key):
    settings.CHAT_PERSONAL_OPTIONS = []
    assert chat.regenerate(talk[1]["message_id"]).status == 200
    edited = chat.ask("Deux?", conversation_id=key, parent_id=talk[0]["message_id"])
    assert edited.status == 200
    assert chat.regenerate(talk[1]["message_id"], system="x").status == 403
