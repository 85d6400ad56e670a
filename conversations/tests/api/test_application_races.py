"""Writers of one answer at the same moment, and one whose answer is ended or deleted meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from conversations.models import Message
from conversations.services import (
    SCRIPT,
    delete_conversation,
    delete_message,
    erase_user,
    set_legal_hold,
)
from conversations.services.abandoned_turns import interrupt_all_abandoned
from conversations.tests.api.answers import Answer, code_of
from conversations.tests.api.test_concurrency import at_once
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.cluster import someone_waits_for_a_lock
from conversations.tests.factories import client_for, make_user
from conversations.tests.services.test_legal_hold import FOR_CASE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(transactional_db):
    return make_user("alice")


@pytest.fixture
def answer(alice):
    return Answer(client_for(alice), alice)


def piece(text, offset):
    return {"append": {"content": text}, "offset": offset}


def test_of_two_writers_at_one_offset_one_goes_on(answer):
    for round_ in range(20):
        offset = round_ * 4
        told = at_once(2, lambda n, at=offset: answer.patch(**piece(f"<{n}> ", at)))
        assert sorted(reply.status_code for reply in told) == [200, 409]
        assert {reply.json()["offset"] for reply in told} == {offset + 4}
        stored = answer.stored.content
        winner = next(n for n, reply in enumerate(told) if reply.status_code == 200)
        assert (len(stored), stored[offset:]) == (offset + 4, f"<{winner}> ")


def test_the_same_piece_at_the_same_moment_is_stored_once(answer):
    for round_ in range(20):
        told = at_once(3, lambda _, at=round_: answer.patch(**piece("x", at)))
        assert {(reply.status_code, reply.json()["offset"]) for reply in told} == {
            (200, round_ + 1)
        }
    assert answer.stored.content == "x" * 20


def test_writers_that_overlap_make_one_text(answer):
    whole = "".join(f"{i} " for i in range(300))

    def write(number):
        at = 0
        while at < len(whole):
            size = 3 + (at + number) % 7
            reply = answer.patch(**piece(whole[at : at + size], at))
            assert reply.status_code == 200, reply.json()
            at += size

    at_once(4, write)
    assert answer.stored.content == whole


def test_an_end_and_a_piece_agree_on_what_is_stored(alice):
    for _ in range(15):
        answer = Answer(client_for(alice), alice)
        answer.say("Hello", 0)
        bodies = [piece(" you", 5), {"status": "complete", "offset": 5}]
        added, ended = at_once(2, lambda n, one=answer, sent=bodies: one.patch(**sent[n]))
        stored = answer.stored
        if added.status_code == 200:
            # Then the end knew of less than was stored.
            assert code_of(ended)[:2] == (409, "offset_mismatch")
            assert (stored.content, stored.status) == ("Hello you", "streaming")
        else:
            assert code_of(added)[:2] == (409, "turn_ended")
            assert (stored.content, stored.status) == ("Hello", "complete")


def test_an_end_and_the_search_for_abandoned_answers_leave_one_end(answer, settings):
    answer.say("Hello", 0)
    settings.CHAT_TURN_STALE_SECONDS = 0
    seen = []

    def end(number):
        if number:
            interrupt_all_abandoned(is_dead=lambda runner: False)
        else:
            seen.append(answer.end())

    at_once(2, end)
    # Whoever found the row locked has left it alone; the next search ends it.
    interrupt_all_abandoned(is_dead=lambda runner: False)
    stored = answer.stored
    assert seen[0].status_code == 409
    assert stored.status == "interrupted"


MEANWHILE = {
    "delete the message": lambda answer: delete_message(
        conversation_id=answer.chat.pk, message_id=answer.id, access=SCRIPT
    ),
    "delete the conversation": lambda answer: delete_conversation(
        conversation_id=answer.chat.pk, access=SCRIPT
    ),
    "erase the owner": lambda answer: erase_user(user_id=answer.chat.user_id, access=SCRIPT),
}
WRITES = {"a piece": piece("!", 5), "an overlap": piece("o!", 4), "an end": {"status": "complete"}}


@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("remove", MEANWHILE.values(), ids=MEANWHILE)
def test_a_writer_whose_answer_is_deleted_meanwhile_is_told_so(answer, remove, body):
    answer.say("Hello", 0)
    reply = while_open(answer, lambda: remove(answer), body)
    assert code_of(reply)[:2] == (404, "not_found")
    assert not Message.objects.filter(id=answer.id).exists()


def while_open(answer, change, body):
    """What a writer is told that waits for the transaction of the change."""

    def write():
        try:
            return answer.patch(**body)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change()
            told = pool.submit(write)
            wait_until(lambda: told.done() or someone_waits_for_a_lock(), 10)
            assert not told.done()
        return told.result()


def test_a_hold_that_is_placed_meanwhile_lets_it_go_on(answer):
    answer.say("Hello", 0)
    stopped, refused = threading.Event(), []

    def hold():
        for on_hold in (True, False) * 10:
            set_legal_hold(conversation_id=answer.chat.pk, on_hold=on_hold, access=FOR_CASE)
        stopped.set()

    def write():
        at = 5
        while not stopped.is_set():
            reply = answer.patch(**piece("x", at))
            refused.extend([reply.json()] if reply.status_code != 200 else [])
            at += 1
        return at

    _, written = at_once(2, lambda n: write() if n else hold())
    assert refused == []
    assert answer.stored.content == "Hello" + "x" * (written - 5)


def test_of_two_that_open_an_answer_at_once_one_has_it(answer):
    answer.end(content="Done.")
    body = {"role": "assistant", "status": "streaming"}
    told = at_once(4, lambda _: answer.client.post(answer.messages, body))
    assert sorted(reply.status_code for reply in told) == [201, 409, 409, 409]
    # With one key it is one answer.
    Message.objects.filter(status="streaming").delete()
    told = at_once(
        4, lambda _: answer.client.post(answer.messages, body, headers={"Idempotency-Key": "k"})
    )
    assert sorted(reply.status_code for reply in told) == [200, 200, 200, 201]
    assert len({reply.json()["id"] for reply in told}) == 1
