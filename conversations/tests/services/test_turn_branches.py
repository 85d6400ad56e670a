"""How turns are stored on branches; without a model."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from conversations.models import Branch, Conversation, Message, Status
from conversations.models.turn import ToolCall, ToolResult
from conversations.selectors.turn_log import find_turn, question_of
from conversations.services import SCRIPT, InvalidValue, KeyReused, MessageDraft, append_drafts
from conversations.services.begin_turn import begin_again, begin_turn
from conversations.services.branch_placement import MAX_BRANCHES
from conversations.services.branches import activate_branch
from conversations.services.errors import NoQuestion
from conversations.services.turns import finish_turn, record_tool_result
from conversations.tests.api.test_owner_statements import NAMES_OWNER, TABLES
from conversations.tests.chat.turns import begin, call_tools, ended, next_step, question
from conversations.tests.factories import access_of, make_user

CALLS = [ToolCall("c0", "f", "{}")]


def answered(user, **changes):
    """A turn that has ended."""
    turn = begin(user, **changes)
    finish_turn(ended(turn, "complete", "stop", content="Hello"))
    return turn


def again(user, turn, **changes):
    """The arguments of `begin_again` for the answer of a turn."""
    given = {
        "owner": user,
        "provider": "p",
        "model": "m",
        "extra": {"request": {"regenerate": "1"}},
    }
    place = {"conversation_id": turn.conversation_id, "question_id": turn.user_message_id}
    return given | place | {"parent_id": turn.user_message_id} | changes


def test_an_answer_alone_is_stored_beside_the_earlier_one(alice):
    first = answered(alice)
    turn, created = begin_again(**again(alice, first))
    assert created
    assert (turn.user_message_id, turn.branch, turn.place) == (first.user_message_id, 1, (1, 3))
    stored = Message.objects.get(id=turn.id)
    assert (stored.status, stored.role, stored.content) == (Status.STREAMING, "assistant", "")
    assert stored.extra == turn.last.extra == {"request": {"regenerate": "1"}}
    found = find_turn(message_id=turn.id, access=access_of(alice))
    assert (found.place, found.user_message_id) == (turn.place, first.user_message_id)


def test_a_question_with_its_answer_follows_its_parent(alice):
    first = answered(alice)
    where = {"conversation_id": first.conversation_id}
    # The end of the branch is no fork.
    assert answered(alice, **where, parent=first.id).branch == 0
    edited = answered(alice, **where, parent=first.id)
    assert (edited.branch, edited.place) == (1, (1, 6))
    assert answered(alice, **where, parent="root").branch == 2
    assert Conversation.objects.get().active_branch == 2


def test_a_parent_that_is_not_there_is_named(alice):
    first, parent = answered(alice), uuid.uuid4()
    with pytest.raises(InvalidValue) as refused:
        begin(alice, conversation_id=first.conversation_id, parent=parent)
    assert (refused.value.field, refused.value.code) == ("parent_id", "not_found")
    with pytest.raises(NoQuestion):
        begin_again(**again(alice, first, parent_id=parent))
    assert Message.objects.count() == 2
    assert not Branch.objects.exists()


def test_too_many_branches_are_refused_by_the_name_of_the_field(alice):
    first = answered(alice)
    begun, _ = begin_again(**again(alice, first))
    finish_turn(ended(begun, "complete", content="x"))
    Conversation.objects.update(last_branch=MAX_BRANCHES)
    where = {"conversation_id": first.conversation_id}
    for field, begins in {
        "regenerate": lambda: begin_again(**again(alice, first)),
        "parent_id": lambda: begin(alice, **where, parent="root"),
    }.items():
        with pytest.raises(InvalidValue) as refused:
            begins()
        assert (refused.value.field, refused.value.code) == (field, "too_many_branches")


def test_steps_and_results_stay_on_the_branch_of_their_turn(alice):
    first = answered(alice)
    turn, _ = begin_again(**again(alice, first))
    activate_branch(conversation_id=turn.conversation_id, number=0, access=SCRIPT)
    call_tools(turn, CALLS)
    record_tool_result(turn=turn, result=ToolResult("c0", "f", "1"))
    append(turn, "Aside", branch=0)
    next_step(turn, "See:")
    append(turn, "Meanwhile", branch=1)
    finish_turn(ended(turn, "complete", "stop", content="One."))
    rows = Message.objects.order_by("sequence")
    assert [(row.branch, row.content) for row in rows] == [
        (0, "Hi"),
        (0, "Hello"),
        (1, "See:"),
        (1, "1"),
        (-1, "Aside"),
        (1, "One."),
        (1, "Meanwhile"),
    ]
    assert Conversation.objects.get().active_branch == 0
    assert [branch.length for branch in Branch.objects.order_by("number")] == [3, 5]
    for id_ in (turn.id, turn.last.message_id):
        found = find_turn(message_id=id_, access=access_of(alice))
        assert (found.id, found.user_message_id) == (turn.id, first.user_message_id)
        assert [len(step.results) for step in found.steps] == [1, 0]


def append(turn, text, **place):
    draft = MessageDraft(role="user", content=text)
    where = {"conversation_id": turn.conversation_id, "activate": False}
    append_drafts(**where, drafts=[draft], access=SCRIPT, **place)


def test_a_step_is_found_however_many_answers_of_other_branches_came_between(alice):
    first = answered(alice)
    turn, _ = begin_again(**again(alice, first))
    call_tools(turn, CALLS)
    drafts = [MessageDraft(role="assistant", content=str(at)) for at in range(50)]
    where = {"conversation_id": turn.conversation_id, "activate": False}
    append_drafts(**where, drafts=drafts, access=SCRIPT, branch=0)
    next_step(turn)
    found = find_turn(message_id=turn.last.message_id, access=access_of(alice))
    assert (found.id, len(found.steps)) == (turn.id, 2)


def test_writes_of_a_turn_on_a_single_line_cost_what_they_did(alice, statements):
    turn = begin(alice)
    call_tools(turn, CALLS)
    with statements() as seen:
        record_tool_result(turn=turn, result=ToolResult("c0", "f", "1"))
    # The message, the sign of life.
    assert len(seen) == 2
    with statements() as seen:
        next_step(turn)
    # The lock, the running step, its end, the next message.
    assert len(seen) == 4
    with statements() as seen:
        find_turn(message_id=turn.id, access=access_of(alice))
    # The message, the steps, the results, the question.
    assert len(seen) == 4


def test_the_statements_of_an_answer_that_is_given_again(alice, statements):
    first = answered(alice)
    counts = []
    for _ in range(3):
        with statements() as seen:
            turn, _ = begin_again(**again(alice, first))
        counts.append(len(seen))
        finish_turn(ended(turn, "complete", content="x"))
    # Is a turn abandoned; the conversation, whether one is running, the parent and what follows it;
    # its branch, once there is one; the length, in two counts; the new branch; the earlier one; the
    # counters; the message.
    assert counts == [10, 12, 12]
    answers = Message.objects.filter(role="assistant").order_by("sequence")
    counts = []
    for answer in (answers[0], answers[3]):
        with statements() as seen:
            assert question_of(answer)[0] == first.user_message_id
        counts.append(len(seen))
    # The message before; on a branch also the path, and its two kinds of segments.
    assert counts == [1, 4]


def test_every_statement_names_the_owner(alice, statements):
    first = answered(alice)
    turn, _ = begin_again(**again(alice, first))
    with statements() as seen:
        finish_turn(ended(turn, "complete", content="x"))
        second, _ = begin_again(**again(alice, turn, key="k"))
        begin_again(**again(alice, turn, key="k"))
        message = Message.objects.of(alice.pk, turn.conversation_id).get(id=second.id)
        assert question_of(message)[0] == first.user_message_id
        find_turn(message_id=turn.id, access=access_of(alice))
    asked = [sql for sql in seen if TABLES.search(sql) and not sql.startswith("INSERT")]
    assert asked
    assert [sql for sql in asked if not NAMES_OWNER.search(sql)] == []


@pytest.mark.django_db(transaction=True)
def test_of_equal_requests_at_the_same_moment_one_begins():
    alice = make_user("alice")
    first = answered(alice)
    barrier = threading.Barrier(8)

    def race(number):
        barrier.wait()
        try:
            return begin_again(**again(alice, first, key="k"))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(race, range(8)))
    assert sorted(created for _, created in begun) == [False] * 7 + [True]
    assert all(turn == begun[0][0] for turn, _ in begun)
    assert (Message.objects.count(), Branch.objects.count()) == (3, 2)


@pytest.mark.django_db(transaction=True)
def test_of_different_requests_under_a_key_at_the_same_moment_one_begins():
    alice = make_user("alice")
    first = answered(alice)
    barrier = threading.Barrier(6)

    def race(number):
        barrier.wait()
        extra = {"request": {"regenerate": str(number)}}
        try:
            return begin_again(**again(alice, first, key="k", extra=extra))[1]
        except KeyReused as refused:
            return refused.field
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(race, range(6)))
    assert sorted(found, key=str) == ["Idempotency-Key"] * 5 + [True]
    assert (Message.objects.count(), Branch.objects.count()) == (3, 2)


@pytest.mark.django_db(transaction=True)
def test_of_edits_at_the_same_moment_one_begins_and_keeps_its_place():
    alice = make_user("alice")
    first = answered(alice)
    barrier = threading.Barrier(6)

    def race(number):
        barrier.wait()
        place = {"conversation_id": first.conversation_id, "parent": ("root", first.id)[number % 2]}
        try:
            return begin_turn(**question(alice, **place, key="k", extra=place_as_extra(place)))[1]
        except KeyReused as refused:
            return refused.field
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(race, range(6)))
    assert found.count(True) == 1
    assert found.count(False) == 2
    assert found.count("Idempotency-Key") == 3
    assert Message.objects.count() == 4


def place_as_extra(place):
    return {"request": {"parent_id": str(place["parent"])}}
