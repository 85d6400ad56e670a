"""How turns are stored; without a model."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.chat.runtime import process_liveness as liveness
from conversations.formats.reasoning import reasoning_part
from conversations.models import Conversation, Message, Status
from conversations.models.interrupted import INTERRUPTED
from conversations.models.turn import ToolCall, ToolResult
from conversations.selectors.turn_log import find_turn
from conversations.services import (
    SCRIPT,
    Conflict,
    InvalidValue,
    NotFound,
    TurnRunning,
    delete_conversation,
    delete_message,
    export_conversations,
    update_message,
)
from conversations.services.abandoned_turns import interrupt_abandoned, interrupt_all_abandoned
from conversations.services.begin_turn import begin_turn
from conversations.services.errors import TurnEnded
from conversations.services.turns import (
    Saved,
    finish_turn,
    open_step,
    record_opening,
    record_tool_calls,
    record_tool_result,
    request_stop,
    save_progress,
)
from conversations.tests.chat.turns import (
    begin,
    call_tools,
    ended,
    next_step,
    question,
    with_text,
)
from conversations.tests.cluster import analyze, plan_lines_of
from conversations.tests.factories import access_of, make_conversation, make_user

SAVED = Saved(is_written=True, is_stopping=False)
STOPPING = Saved(is_written=True, is_stopping=True)
CALLS = [ToolCall(f"c{i}", "f", "{}") for i in range(2)]


def answer_of(turn):
    return Message.objects.get(id=turn.id)


def save(turn, content):
    return save_progress([with_text(turn, content)])


def test_the_question_and_an_empty_answer_are_stored_together(alice, statements):
    chat = make_conversation(alice)
    with statements() as seen:
        turn = begin(alice, conversation_id=chat.pk)
    # Is a turn running there, is it abandoned; the two messages.
    assert len(seen) == 2
    asked, answer = Message.objects.order_by("sequence")
    assert (asked.content, asked.id) == ("Hi", turn.user_message_id)
    assert (answer.id, answer.content, answer.status) == (turn.id, "", Status.STREAMING)


def test_what_is_no_question_leaves_nothing(alice, bob):
    for content in ("", "  ", "x" * 10_001, "\x00"):
        with pytest.raises(InvalidValue) as refused:
            begin(alice, content=content)
        assert refused.value.field == "message"
    with pytest.raises(NotFound):
        begin(alice, conversation_id=make_conversation(bob).pk)
    with pytest.raises(NotFound):
        begin(alice, conversation_id=uuid.uuid4())
    assert not Message.objects.exists()


def test_only_one_turn_at_a_time(alice):
    turn = begin(alice)
    with pytest.raises(TurnRunning):
        begin(alice, conversation_id=turn.conversation_id)
    finish_turn(ended(turn, "complete", content="Hello"))
    assert begin(alice, conversation_id=turn.conversation_id)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_the_same_moment_one_begins():
    alice = make_user("alice")
    chat, gate = make_conversation(alice), threading.Barrier(8)

    def race(number):
        gate.wait()
        try:
            return begin(alice, conversation_id=chat.pk).id
        except TurnRunning:
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert len([won for won in pool.map(race, range(8)) if won]) == 1
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("existing", [True, False])
def test_of_equal_requests_at_the_same_moment_one_begins(existing):
    alice = make_user("alice")
    chat = make_conversation(alice).pk if existing else None
    gate = threading.Barrier(8)

    def race(number):
        gate.wait()
        try:
            return begin_turn(**question(alice, conversation_id=chat, key="k"))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(race, range(8)))
    assert sorted(created for _, created in begun) == [False] * 7 + [True]
    first = begun[0][0]
    assert all(turn == first for turn, _ in begun)
    assert Message.objects.count() == 2


def test_a_key_stands_for_one_question(alice, bob):
    first = begin(alice, key="k")
    again = begin_turn(**question(alice, key="k", content="Hi"))
    assert again == (first, False)
    for other in ("Ho", " Hi "):
        with pytest.raises(Conflict):
            begin(alice, key="k", content=other)
    assert begin(bob, key="k").conversation_id != first.conversation_id
    assert Conversation.objects.count() == 2


def test_reasoning_only_grows_and_is_written_where_there_is_any(alice):
    plain, turn = begin(alice), begin(alice)
    for reasoning, kept in [("Hm", "Hm"), ("Hm, é", "Hm, é"), ("H", "Hm, é"), ("", "Hm, é")]:
        save_progress([with_text(plain, "a"), with_text(turn, "a", reasoning=reasoning)])
        assert answer_of(turn).parts == [reasoning_part(kept)]
    assert answer_of(plain).parts is None
    assert find_turn(message_id=turn.id, access=access_of(alice)).last.reasoning == "Hm, é"


def test_text_only_grows(alice):
    turn = begin(alice)
    assert save(turn, "abc") == {turn.id: SAVED}
    save(turn, "ab")
    assert answer_of(turn).content == "abc"
    request_stop(turn)
    assert save(turn, "abcd") == {turn.id: STOPPING}
    assert finish_turn(ended(turn, "stopped", "stopped", content="abcd"))
    assert save(turn, "abcde") == {}
    assert not request_stop(turn)
    assert not finish_turn(ended(turn, "complete", content="x"))
    assert (answer_of(turn).content, answer_of(turn).metadata) == ("abcd", {})


def test_steps_are_messages_in_order_and_found_by_any_of_them(alice):
    turn = begin(alice, runner="r")
    Message.objects.filter(id=turn.id).update(sources=[1], detected_mode="m")
    call_tools(turn, CALLS, "See:")
    for call in (1, 0):
        record_tool_result(turn=turn, result=ToolResult(f"c{call}", "f", str(call)))
    next_step(turn, "See:")
    assert Message.objects.filter(status=Status.STREAMING).count() == 1
    finish_turn(ended(turn, "complete", "stop", content="Two."))
    rows = list(Message.objects.order_by("sequence"))
    assert [row.role for row in rows] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
    assert [row.content for row in rows[1:]] == ["See:", "1", "0", "Two."]
    assert (rows[1].sources, rows[4].sources, rows[4].detected_mode) == (None, [1], "m")
    assert all(row.metadata == {} for row in rows)
    for row in (rows[1], rows[4]):
        found = find_turn(message_id=row.id, access=access_of(alice))
        assert found.id == turn.id
        assert [len(step.results) for step in found.steps] == [2, 0]
        assert found.user_message_id == rows[0].id
    assert find_turn(message_id=rows[2].id, access=access_of(alice)) is None


def test_an_answer_is_abandoned_by_age_or_death_and_keeps_its_text(alice):
    turn = begin(alice, runner="r")
    save(turn, "so far")
    where = {"owner_id": turn.owner_id, "conversation_id": turn.conversation_id}
    assert not interrupt_abandoned(**where, is_dead=lambda runner: False)
    assert interrupt_abandoned(**where, is_dead=lambda runner: runner == "r")
    stored = answer_of(turn)
    assert (stored.status, stored.content, stored.metadata) == ("interrupted", "so far", {})
    assert save(turn, "so far and on") == {}

    later = begin(alice, conversation_id=turn.conversation_id)
    old = timezone.now() - timedelta(seconds=31)
    Message.objects.filter(id=later.id).update(updated_at=old)
    assert begin(alice, conversation_id=turn.conversation_id)
    assert answer_of(later).status == "interrupted"


def test_metadata_that_a_client_changed_does_no_harm(alice):
    turn = begin(alice, runner="r")
    where = {"conversation_id": turn.conversation_id}
    assert (answer_of(turn).metadata, answer_of(turn).runner) == ({}, "r")
    theirs = {"runner": ["../x"]}
    update_message(**where, message_id=turn.id, changes={"metadata": theirs}, access=SCRIPT)
    assert not interrupt_abandoned(owner_id=turn.owner_id, **where, is_dead=liveness.is_dead)
    assert interrupt_abandoned(
        owner_id=turn.owner_id, **where, is_dead=lambda runner: runner == "r"
    )
    assert (answer_of(turn).metadata, answer_of(turn).runner) == (theirs, None)


def test_no_write_of_a_turn_touches_the_clients_metadata_and_ratings(alice):
    turn = begin(alice, runner="r")
    where = {"conversation_id": turn.conversation_id}
    theirs = {"metadata": {"seen": True}, "rating": 1, "rating_comment": "so far"}
    update_message(**where, message_id=turn.id, changes=theirs, access=SCRIPT)
    record_opening(turn=turn, mode="m", sources=[1])
    call_tools(turn, CALLS)
    next_step(turn)
    second = Message.objects.get(status=Status.STREAMING)
    assert (second.metadata, second.runner, second.rating) == ({}, "r", None)
    update_message(**where, message_id=second.id, changes=theirs, access=SCRIPT)
    assert finish_turn(ended(turn, "complete", content="Two."))
    for row in Message.objects.filter(role="assistant"):
        stored = {name: getattr(row, name) for name in theirs}
        assert (stored, row.runner, row.status) == (theirs, None, "complete")


@pytest.mark.one_node("the SQL of migration 0008, which a cluster has behind it")
def test_the_migration_moves_the_process_of_running_answers_both_ways(alice):
    migration = import_module("conversations.migrations.0008_turn_runner")
    running, complete, odd = (begin(alice, runner=name) for name in ("r", "", ""))
    finish_turn(ended(complete, "complete", content="x"))
    mine = {"a": 1, "runner": "mine"}
    Message.objects.filter(id=complete.id).update(metadata=mine)
    Message.objects.filter(id=odd.id).update(metadata={"runner": ["x"]})
    Message.objects.filter(id=running.id).update(metadata={"a": 1})
    for sql, stored in [
        (migration.TO_METADATA, {"a": 1, "runner": "r"}),
        (migration.TO_COLUMN, {"a": 1}),
    ]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
        assert answer_of(running).metadata == stored
    assert answer_of(running).runner == "r"
    assert (answer_of(complete).metadata, answer_of(complete).runner) == (mine, None)
    assert (answer_of(odd).metadata, answer_of(odd).runner) == ({"runner": ["x"]}, None)


def test_the_process_of_an_answer_is_told_to_nobody(alice, api):
    turn = begin(alice, runner="secret")
    where = f"/api/conversations/{turn.conversation_id}"
    shown = repr([api.get(path).json() for path in (where, f"{where}/messages")])
    exported = "".join(
        export_conversations(
            conversations=Conversation.objects.all(), file_format="jsonl", access=SCRIPT
        )
    )
    assert "secret" not in shown + exported
    assert "runner" not in shown + exported


WRITES = {
    "opening": lambda turn: record_opening(turn=turn, mode="m", sources=None),
    "calls": lambda turn: record_tool_calls(turn=with_text(turn, "x"), calls=CALLS),
    "result": lambda turn: record_tool_result(
        turn=with_text(turn, "", calls=CALLS), result=ToolResult("c0", "f", "1")
    ),
    "step": lambda turn: open_step(turn=turn),
}


def end_of(turn):
    finish_turn(ended(turn, "interrupted", content="so far"))


def delete_answer(turn):
    delete_message(conversation_id=turn.conversation_id, message_id=turn.id, access=SCRIPT)


def delete_all(turn):
    delete_conversation(conversation_id=turn.conversation_id, access=SCRIPT)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("gone", [end_of, delete_answer, delete_all])
def test_a_turn_that_somebody_else_ended_is_written_no_further(alice, write, gone):
    turn = begin(alice)
    gone(turn)
    before = list(Message.objects.values())
    with pytest.raises(TurnEnded):
        write(turn)
    assert not finish_turn(ended(turn, "complete", content="x"))
    assert list(Message.objects.values()) == before


def test_a_step_may_be_opened_again_when_its_answer_was_lost(alice):
    turn = begin(alice)
    for _ in range(2):
        open_step(turn=with_text(turn, "x"))
    assert Message.objects.filter(role="assistant").count() == 2


def test_a_wish_to_stop_goes_along_to_the_next_step(alice):
    turn = begin(alice)
    assert request_stop(turn)
    next_step(turn, "x")
    second = Message.objects.get(status=Status.STREAMING)
    saved = save(turn, "y")
    assert saved == {second.id: STOPPING}
    # Also one that comes from somebody who saw the first step running.
    finish_turn(ended(turn, "stopped", content="y"))
    assert not request_stop(turn)


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_is_locked_keeps_no_other_from_being_saved():
    alice = make_user("alice")
    locked, other = begin(alice), begin(alice)

    def save_both():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")
            return save_progress([with_text(turn, "abc") for turn in (locked, other)])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Message.objects.select_for_update().get(id=locked.id, user=alice)
        assert pool.submit(save_both).result() == {
            locked.id: Saved(is_written=False, is_stopping=False),
            other.id: SAVED,
        }
    assert [answer_of(turn).content for turn in (locked, other)] == ["", "abc"]
    save(locked, "abcd")
    assert answer_of(locked).content == "abcd"


def test_what_has_not_changed_is_only_looked_at(alice):
    silent, other, gone = begin(alice), begin(alice), begin(alice)
    save(silent, "abc")
    before = answer_of(silent).updated_at
    Message.objects.filter(id=gone.id).update(status="failed")
    turns = [with_text(turn, "abc") for turn in (silent, other, gone)]
    request_stop(silent)
    saved = save_progress(turns, unchanged={silent.id, gone.id})
    assert saved == {silent.id: Saved(is_written=False, is_stopping=True), other.id: SAVED}
    assert answer_of(silent).updated_at == before
    assert answer_of(silent).content == "abc"


def test_an_answer_that_somebody_changed_keeps_no_other_from_being_saved(alice):
    changed, other = begin(alice), begin(alice)
    save(changed, "abc")
    Conversation.objects.filter(pk=changed.conversation_id).update(legal_hold=True)
    Message.objects.filter(id=changed.id).update(content="abc, added")
    saved = save_progress([with_text(turn, "abc and so on, on") for turn in (changed, other)])
    assert saved == {changed.id: SAVED, other.id: SAVED}
    assert answer_of(changed).content == "abc, added"
    assert answer_of(other).content == "abc and so on, on"


@pytest.mark.django_db(transaction=True)
def test_a_wish_to_stop_is_seen_however_it_races_with_the_next_step():
    alice = make_user("alice")

    def wish(turn, gate):
        gate.wait()
        try:
            return request_stop(turn)
        finally:
            connection.close()

    for _ in range(20):
        turn, gate = begin(alice), threading.Barrier(2)
        with ThreadPoolExecutor(1) as pool:
            wished = pool.submit(wish, turn, gate)
            gate.wait()
            open_step(turn=with_text(turn, "x"))
            assert wished.result()
        running = Message.objects.get(conversation_id=turn.conversation_id, status=Status.STREAMING)
        assert running.finish_reason == "stopping"


def test_a_step_that_was_opened_unseen_is_ended_with_the_turn(alice):
    turn = begin(alice)
    open_step(turn=with_text(turn, "x"))
    assert finish_turn(ended(turn, "failed", "provider_timeout", "Late.", content="x"))
    first, second = Message.objects.filter(role="assistant").order_by("sequence")
    assert (first.status, first.content) == ("complete", "x")
    assert (second.status, second.content) == ("failed", "")


def age(*turns, seconds=31):
    old = timezone.now() - timedelta(seconds=seconds)
    Message.objects.filter(id__in=[turn.id for turn in turns]).update(updated_at=old)


def alive(runner):
    return False


def test_all_that_nobody_runs_is_ended_and_found_by_search(alice, api):
    old, dead, running, fresh = (begin(alice, runner=name) for name in ("a", "b", "c", ""))
    for turn in (old, dead, running):
        save(turn, "lighthouse")
    age(old)
    found = api.get("/api/search?q=lighthouse").json()
    assert found["results"] == []
    assert interrupt_all_abandoned(is_dead=lambda runner: runner == "b") == 2
    assert interrupt_all_abandoned(is_dead=lambda runner: runner == "b") == 0
    for turn in (old, dead):
        row = answer_of(turn)
        assert (row.status, row.finish_reason, row.error) == (
            "interrupted",
            "interrupted",
            INTERRUPTED,
        )
        assert (row.content, row.runner) == ("lighthouse", None)
        assert row.updated_at > timezone.now() - timedelta(seconds=5)
    assert [answer_of(turn).status for turn in (running, fresh)] == ["streaming"] * 2
    results = api.get("/api/search?q=lighthouse").json()["results"]
    assert {one["message"]["id"] for one in results} == {str(old.id), str(dead.id)}


def test_abandoned_answers_are_ended_in_batches(alice, monkeypatch, statements):
    monkeypatch.setattr("conversations.services.abandoned_turns.BATCH", 2)
    age(*(begin(alice) for _ in range(5)))
    with statements() as seen:
        assert interrupt_all_abandoned(is_dead=alive) == 5
    assert sum(sql.lstrip().startswith("WITH abandoned") for sql in seen) == 3
    assert not Message.objects.filter(status=Status.STREAMING).exists()


def test_looking_for_abandoned_answers_reads_none_that_are_complete(alice):
    make_conversation(alice, messages=3_000)
    age(begin(alice))
    analyze("conversations_message")
    with CaptureQueriesContext(connection) as captured:
        assert interrupt_all_abandoned(is_dead=alive) == 1
    for query in (one["sql"] for one in captured):
        plan = "\n".join(plan_lines_of(query))
        assert "Seq Scan" not in plan, plan


@pytest.mark.django_db(transaction=True)
def test_two_processes_end_each_answer_once():
    alice = make_user("alice")
    age(*(begin(alice) for _ in range(40)))
    gate = threading.Barrier(4)

    def race(_):
        gate.wait()
        try:
            return interrupt_all_abandoned(is_dead=alive)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(race, range(4))) == 40
    assert Message.objects.filter(status=Status.INTERRUPTED).count() == 40
