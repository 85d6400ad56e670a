"""Place and release a legal hold, and the operations allowed during one."""

import threading
from dataclasses import replace

import pytest
from django.db import IntegrityError, connection, transaction

from conversations.models import (
    AccessRecord,
    Conversation,
    ConversationNote,
    Message,
    Review,
)
from conversations.models.turn import ToolCall, ToolResult
from conversations.services import (
    SCRIPT,
    MessageDraft,
    OnLegalHold,
    ReasonRequired,
    add_message,
    add_messages,
    add_note,
    delete_conversation,
    delete_message,
    erase_user,
    review_message,
    set_legal_hold,
    update_conversation,
    update_message,
    withdraw_review,
)
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.audit import SCRIPT_NAME
from conversations.services.turns import (
    finish_turn,
    record_opening,
    record_tool_result,
    request_stop,
    save_progress,
)
from conversations.tests.chat.turns import begin, call_tools, ended, next_step, with_text
from conversations.tests.factories import access_of, make_conversation, make_user

FOR_CASE = replace(SCRIPT, reason="Case 12/2026")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
def reviewer(staff):
    """A superuser's access context with a reason."""
    return replace(access_of(staff, reader=True, writer=True), reason="Case 12/2026")


@pytest.fixture
def chat(alice):
    return make_conversation(alice, 2, title="Trains")


def hold(chat, on_hold=True, access=FOR_CASE):
    return set_legal_hold(conversation_id=chat.pk, on_hold=on_hold, access=access)


def write_each(chat, access):
    """Call every service that changes or deletes data; the error of each (or None) by name."""
    message = Message.objects.filter(conversation_id=chat.pk).order_by("sequence").first()
    where = {"conversation_id": chat.pk, "access": access}
    of_message = where | {"message_id": message.id}
    for name, write in {
        "rename": lambda: update_conversation(**where, changes={"title": "Planes"}),
        "no change": lambda: update_conversation(**where, changes={}),
        "rate": lambda: update_message(**of_message, changes={"rating": 1}),
        "delete a message": lambda: delete_message(**of_message),
        "review": lambda: review_message(**of_message, score=1),
        "withdraw": lambda: withdraw_review(**of_message),
        "erase": lambda: erase_user(user_id=chat.user_id, access=access),
        "delete": lambda: delete_conversation(**where),
    }.items():
        try:
            with transaction.atomic():
                write()
                transaction.set_rollback(True)
        except OnLegalHold as refusal:
            yield name, refusal
        else:
            yield name, None


def test_every_service_that_changes_what_is_there_refuses(chat, reviewer):
    hold(chat)
    assert [name for name, refusal in write_each(chat, reviewer) if refusal is None] == []


def test_after_the_release_everything_may_change(chat, reviewer):
    hold(chat)
    hold(chat, on_hold=False)
    assert [name for name, refusal in write_each(chat, reviewer) if refusal is not None] == []


def test_staff_and_scripts_are_told_of_the_hold_and_owners_are_not(chat, alice, staff, reviewer):
    own = make_conversation(staff, 1)
    trusted = access_of(make_user("backend"), trusted=True)
    told = [(chat, reviewer), (chat, SCRIPT)]
    untold = [(chat, access_of(alice)), (chat, trusted), (own, reviewer)]
    for held in (chat, own):
        hold(held)
    for asked, code in [(told, "legal_hold"), (untold, "not_changeable")]:
        for conversation, access in asked:
            with pytest.raises(OnLegalHold) as refused:
                delete_conversation(conversation_id=conversation.pk, access=access)
            assert refused.value.code == code
            assert ("hold" in refused.value.detail) is (code == "legal_hold")


def test_placing_and_releasing_a_hold_requires_a_reason(chat, staff):
    unreasoned = [
        SCRIPT,
        replace(SCRIPT, reason="  "),
        access_of(staff, reader=True, writer=True),
    ]
    for on_hold in (True, False):
        for access in unreasoned:
            with pytest.raises(ReasonRequired):
                hold(chat, on_hold, access)
        hold(chat, on_hold)
    assert AccessRecord.objects.count() == 2


def test_who_placed_and_released_it_is_on_record_once_each(chat, staff, reviewer):
    assert hold(chat, access=reviewer)
    assert not hold(chat, access=reviewer)
    assert not hold(chat)
    assert hold(chat, on_hold=False)
    assert not hold(chat, on_hold=False)
    records = AccessRecord.objects.order_by("created_at")
    assert [
        (record.action, record.staff_name, record.reason, record.detail) for record in records
    ] == [
        ("hold", staff.username, "Case 12/2026", {"on_hold": True}),
        ("hold", SCRIPT_NAME, "Case 12/2026", {"on_hold": False}),
    ]
    assert {record.conversation_id for record in records} == {chat.pk}


def test_placing_and_releasing_keep_the_order_of_the_list(chat):
    stored = Conversation.objects.filter(pk=chat.pk).values()
    before = stored.get()
    hold(chat)
    assert stored.get() == before | {"legal_hold": True}
    hold(chat, on_hold=False)
    assert stored.get() == before


def test_appends_go_on_and_leave_the_title_as_it_was(alice):
    chat = make_conversation(alice)
    hold(chat)
    asked = add_message(
        conversation_id=chat.pk, role="user", content="To Rome?", key="k", access=access_of(alice)
    )
    again = add_message(
        conversation_id=chat.pk, role="user", content="To Rome?", key="k", access=access_of(alice)
    )
    assert again.id == asked.id
    add_messages(
        conversation_id=chat.pk,
        messages=[MessageDraft(role="assistant", content=str(n)) for n in range(3)],
        access=access_of(alice),
    )
    chat.refresh_from_db()
    assert (chat.title, chat.message_count, chat.last_sequence) == ("New Chat", 4, 4)
    assert chat.updated_at > chat.created_at


def test_notes_are_added(chat, reviewer):
    hold(chat)
    add_note(conversation_id=chat.pk, text="Evidence", access=reviewer)
    assert ConversationNote.objects.get().text == "Evidence"


def test_a_whole_turn_runs_in_a_held_conversation(chat, alice):
    hold(chat)
    turn = begin(alice, conversation_id=chat.pk, runner="r")
    record_opening(turn=turn, mode="search", sources=[{"id": 1}])
    assert save_progress([with_text(turn, "Let me", first_token_ms=12)])[turn.id].is_written
    save_progress([with_text(turn, "Let me see")])
    call_tools(turn, [ToolCall.from_json(CALL)], "Let me see.")
    record_tool_result(turn=turn, result=ToolResult("c", "f", "noon"))
    turn.last.prompt_tokens = 3
    next_step(turn, "Let me see.")
    assert finish_turn(ended(turn, "complete", "stop", content="At noon.", latency_ms=5))
    step, result, answer = Message.objects.order_by("sequence")[3:]
    assert (step.content, step.status, step.tool_calls) == ("Let me see.", "complete", [CALL])
    assert (result.content, answer.content, answer.status) == ("noon", "At noon.", "complete")
    assert answer.sources == [{"id": 1}]
    for message in (step, result, answer):
        with pytest.raises(IntegrityError), transaction.atomic():
            Message.objects.filter(pk=message.pk).update(content=message.content + "!")


def test_a_turn_is_stopped_or_found_interrupted_in_a_held_conversation(chat, alice):
    hold(chat)
    turn = begin(alice, conversation_id=chat.pk, runner="r")
    assert request_stop(turn)
    assert save_progress([with_text(turn, "Let")])[turn.id].is_stopping
    assert finish_turn(ended(turn, "stopped", "stopped", content="Let"))
    begin(alice, conversation_id=chat.pk, runner="r")
    place = {"owner_id": chat.user_id, "conversation_id": chat.pk}
    assert interrupt_abandoned(**place, is_dead=lambda runner: runner == "r")
    assert list(Message.objects.order_by("sequence").values_list("status", flat=True)) == [
        "complete", "complete", "complete", "stopped", "complete", "interrupted",
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_what_is_deleted_while_a_hold_is_placed_goes_before_it_or_stays():
    """With raw SQL: the DELETE waits for the hold, or the hold for the DELETE."""
    chat = make_conversation(make_user("alice"), 2)
    deleted, placed = threading.Event(), threading.Event()

    def place():
        deleted.wait(10)
        try:
            hold(chat)
        finally:
            placed.set()
            connection.close()

    other = threading.Thread(target=place)
    other.start()
    with transaction.atomic():
        Message.objects.filter(conversation_id=chat.pk, sequence=1)._raw_delete("default")
        deleted.set()
        assert not placed.wait(0.5), "the hold waits for the end of the deletion"
    other.join()
    assert Conversation.objects.get().legal_hold
    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.filter(conversation_id=chat.pk)._raw_delete("default")
    assert Message.objects.count() == 1
    assert not Review.objects.exists()


def test_a_refused_act_of_staff_leaves_a_record_that_says_so(alice):
    chat = make_conversation(alice, messages=2)
    root = make_user("root", is_staff=True, is_superuser=True)
    message = Message.objects.filter(conversation=chat).first()
    access = access_of(root, reader=True, writer=True)
    set_legal_hold(conversation_id=chat.pk, on_hold=True, access=replace(access, reason="Case"))
    place = {"conversation_id": chat.pk, "access": access}
    for act in (
        lambda: update_conversation(**place, changes={"title": "x"}),
        lambda: delete_conversation(**place),
        lambda: update_message(**place, message_id=message.id, changes={"rating": 1}),
        lambda: delete_message(**place, message_id=message.id),
        lambda: review_message(**place, message_id=message.id, score=1),
    ):
        with pytest.raises(OnLegalHold):
            act()
    refused = AccessRecord.objects.exclude(action="hold").order_by("created_at")
    assert [record.action for record in refused] == [
        "change",
        "delete",
        "change",
        "delete",
        "change",
    ]
    assert {record.detail["refused"] for record in refused} == {"legal_hold"}
