"""Answers whose process died: every reader is told `interrupted`, before and after the row is."""

import json
import threading
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from conversations.chat.runtime import reaper as reaping
from conversations.models import Conversation, Message
from conversations.models.interrupted import INTERRUPTED
from conversations.services import SCRIPT, export_conversations, get_chat_history
from conversations.services.turns import save_progress
from conversations.tests.admin.conftest import signed_in, transcript_url
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.turns import begin, with_text


def begun(user, text="so far"):
    turn = begin(user, runner="r")
    save_progress([with_text(turn, text)])
    return turn


def abandon(turn):
    old = timezone.now() - timedelta(seconds=31)
    Message.objects.filter(id=turn.id).update(updated_at=old)


@pytest.fixture
def turn(alice):
    return begun(alice)


@pytest.fixture
def abandoned(turn):
    abandon(turn)
    return turn


READS = {
    "conversation": lambda api, at: api.get(f"/api/conversations/{at}").json()["messages"][1],
    "messages": lambda api, at: api.get(f"/api/conversations/{at}/messages").json()["messages"][1],
    "message": lambda api, at: api.get(
        f"/api/conversations/{at}/messages/{Message.objects.get(role='assistant').id}"
    ).json(),
    "changed message": lambda api, at: api.patch(
        f"/api/conversations/{at}/messages/{Message.objects.get(role='assistant').id}", {}
    ).json(),
    "session": lambda api, at: api.get(f"/api/chat-history/sessions/{at}").json()["messages"][1],
    "messages of a session": lambda api, at: api.get(
        f"/api/chat-history/sessions/{at}/messages"
    ).json()["messages"][1],
    "history": lambda api, at: api.get(f"/api/chat/history/{at}").json()["messages"][1],
    "service": lambda api, at: vars(get_chat_history(conversation_id=at)[1]),
    "export": lambda api, at: json.loads("".join(exported("jsonl")))["messages"][1],
}


def exported(file_format):
    return export_conversations(
        conversations=Conversation.objects.all(), file_format=file_format, access=SCRIPT
    )


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_every_reader_is_told_that_it_was_interrupted(api, abandoned, read):
    said = read(api, abandoned.conversation_id)
    assert (said["status"], said["finish_reason"], said["error"], said["content"]) == (
        "interrupted",
        "interrupted",
        INTERRUPTED,
        "so far",
    )
    # A read writes nothing.
    assert Message.objects.get(id=abandoned.id).status == "streaming"


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_one_that_runs_is_told_to_run(api, turn, read):
    said = read(api, turn.conversation_id)
    assert (said["status"], said["finish_reason"], said["error"]) == ("streaming", None, None)


def test_the_list_is_filtered_by_what_it_tells(api, alice, abandoned):
    running = begun(alice)

    def found(turn, status):
        where = f"/api/conversations/{turn.conversation_id}/messages?{status}"
        return [one["id"] for one in api.get(where).json()["messages"]]

    for turn, status, other in [
        (abandoned, "status=interrupted", "status=streaming"),
        (running, "status=streaming", "status=interrupted"),
    ]:
        assert found(turn, status) == [str(turn.id)]
        assert found(turn, other) == []
        assert found(turn, f"{status}&{other}") == [str(turn.id)]
        assert found(turn, "status=failed") == []
        assert len(found(turn, f"status=complete&{status}")) == 2
        assert len(found(turn, "status=complete")) == 1


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_the_web_machine_decides_nothing(api, alice, monkeypatch, hours):
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(hours=hours))
    running, old = begin(alice), begun(alice)
    Message.objects.filter(id=old.id).update(updated_at=right() - timedelta(seconds=31))
    for turn, status in ((running, "streaming"), (old, "interrupted")):
        where = f"/api/conversations/{turn.conversation_id}/messages"
        (found,) = api.get(f"{where}?status={status}").json()["messages"]
        assert (found["id"], found["status"]) == (str(turn.id), status)
    assert reaping.reap() == 1
    assert Message.objects.get(id=old.id).status == "interrupted"


def test_a_page_with_a_running_answer_costs_no_statement_more(api, turn, statements):
    where = f"/api/conversations/{turn.conversation_id}/messages"
    counts = []
    for _ in range(2):
        with statements() as seen:
            api.get(where)
        counts.append(len(seen))
        Message.objects.filter(id=turn.id).update(status="stopped")
    assert counts[0] == counts[1]


def test_a_slow_reader_of_an_export_is_told_what_was_when_it_was_read(turn):
    pieces = exported("markdown")
    head, question = next(pieces), next(piece for piece in pieces if "Hi" in piece)
    abandon(turn)
    answer = "".join(pieces)
    assert "so far" not in head + question
    assert "*streaming*" in answer


def test_staff_see_and_filter_the_same(staff, alice, abandoned):
    running = begun(alice)
    browser = signed_in(staff)
    conversation = Conversation.objects.get(pk=abandoned.conversation_id)
    for query in ({}, {"message": str(abandoned.id)}):
        page = browser.get(transcript_url(conversation), query).content.decode()
        assert "Interrupted</span>" in page
        assert INTERRUPTED in page
        assert "Streaming</span>" not in page
    for status, (shown, hidden) in {
        "interrupted": (abandoned, running),
        "streaming": (running, abandoned),
    }.items():
        page = browser.get("/admin/conversations/conversation/", {"status": status})
        assert str(shown.conversation_id) in page.content.decode()
        assert str(hidden.conversation_id) not in page.content.decode()


def test_a_change_of_its_metadata_does_not_bring_it_back_to_life(api, abandoned):
    where = f"/api/conversations/{abandoned.conversation_id}/messages/{abandoned.id}"
    assert api.patch(where, {"metadata": {"a": 1}}, format="json").json()["status"] == "interrupted"
    said = api.get(where).json()
    assert (said["status"], said["metadata"]) == ("interrupted", {"a": 1})
    call_command("reap_interrupted", stdout=StringIO())
    assert Message.objects.get(id=abandoned.id).metadata == {"a": 1}
    assert Message.objects.get(id=abandoned.id).status == "interrupted"


def test_a_transcript_as_text_says_so(abandoned):
    assert f"*interrupted: {INTERRUPTED}*" in "".join(exported("markdown"))


def test_stopping_one_says_that_it_has_ended(api, abandoned):
    answer = api.post(f"/api/chat/streams/{abandoned.id}/stop")
    assert answer.json() == {"status": "interrupted", "message_id": str(abandoned.id)}


def test_the_command_ends_them_and_says_how_many(alice, abandoned):
    running = begun(alice)
    for said in ("Ended 1 interrupted answer.\n", "Ended 0 interrupted answers.\n"):
        out = StringIO()
        call_command("reap_interrupted", stdout=out)
        assert out.getvalue() == said
    assert Message.objects.get(id=abandoned.id).status == "interrupted"
    assert Message.objects.get(id=running.id).status == "streaming"


@pytest.mark.django_db(transaction=True)
def test_a_web_process_looks_for_them_again_and_again(alice, monkeypatch):
    looks = []

    def reap():
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("the database is away")
        return reaping.interrupt_all_abandoned(is_dead=lambda runner: False)

    monkeypatch.setattr(reaping, "reap", reap)
    stopped = reaping.start_reaping(0.05)
    try:
        for _ in range(2):
            turn = begun(alice)
            abandon(turn)
            wait_until(lambda turn=turn: Message.objects.get(id=turn.id).status == "interrupted")
    finally:
        stopped.set()
    count = len(looks)
    wait_until(lambda: not any(thread.name == "reaper" for thread in threading.enumerate()))
    assert len(looks) <= count + 1
