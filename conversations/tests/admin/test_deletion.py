import pytest
from django.contrib.admin.models import LogEntry

from conversations.admin.conversation import deletion
from conversations.models import AccessRecord, Conversation, Message
from conversations.services import OnLegalHold
from conversations.tests.admin.conftest import LIST, delete_url, text_of
from conversations.tests.factories import make_conversation


@pytest.fixture
def conversation(alice):
    return make_conversation(alice, 3, title="<b>Trains</b>")


def hold(conversation):
    Conversation.objects.filter(pk=conversation.pk).update(legal_hold=True)


def choose(*conversations, **more):
    chosen = [conversation.pk for conversation in conversations]
    return {"action": "delete_selected", "_selected_action": chosen, **more}


def test_says_what_goes_before_anything_does(compliance, conversation):
    page = text_of(compliance.get(delete_url(conversation)))
    assert "&lt;b&gt;Trains&lt;/b&gt;" in page
    assert "3 messages" in page
    assert "alice" in page
    assert Conversation.objects.count() == 1


def test_loads_no_message_to_delete_them(compliance, alice, statements):
    conversation = make_conversation(alice, 2_000)
    with statements() as seen:
        compliance.get(delete_url(conversation))
        compliance.post(delete_url(conversation), {"post": "yes"})
    assert not [sql for sql in seen if "conversations_message" in sql]
    assert not Message.objects.exists()


def test_leaves_a_record_and_no_title(compliance, staff, alice, conversation):
    response = compliance.post(delete_url(conversation), {"post": "yes"})
    assert response.status_code == 302
    assert not Conversation.objects.exists()
    record = AccessRecord.objects.get()
    assert (record.action, record.staff_id, record.owner_id) == ("delete", staff.pk, alice.pk)
    assert record.conversation_id == conversation.pk
    assert record.detail == {"messages": 3}
    assert not LogEntry.objects.exists()


def test_a_selection_goes_with_one_record_each(compliance, alice):
    conversations = [make_conversation(alice, count) for count in (1, 2, 4)]
    page = text_of(compliance.post(LIST, choose(*conversations)))
    assert "3 conversations with 7 messages" in page
    assert Conversation.objects.count() == 3
    compliance.post(LIST, choose(*conversations[:2], post="yes"))
    assert list(Conversation.objects.all()) == conversations[2:]
    assert AccessRecord.objects.filter(action="delete").count() == 2


def test_legal_hold_is_respected(compliance, conversation):
    hold(conversation)
    assert "legal hold" in text_of(compliance.get(delete_url(conversation)))
    compliance.post(delete_url(conversation), {"post": "yes"})
    assert Conversation.objects.count() == 1
    assert AccessRecord.objects.count() == 0


def test_a_selection_with_one_on_hold_stays_whole(compliance, alice, conversation):
    hold(conversation)
    other = make_conversation(alice, 1)
    page = text_of(compliance.post(LIST, choose(conversation, other, post="yes")))
    assert "Cannot be deleted" in page
    assert Conversation.objects.count() == 2
    assert AccessRecord.objects.count() == 0


def test_a_hold_set_at_the_last_moment_is_respected(compliance, alice, conversation, monkeypatch):
    """The confirmation saw no hold; the service, under the row's lock, does."""

    def refuse(**_):
        raise OnLegalHold("The conversation is on legal hold.")

    monkeypatch.setattr(deletion, "delete_conversation", refuse)
    one = compliance.post(delete_url(conversation), {"post": "yes"}, follow=True)
    selection = compliance.post(LIST, choose(conversation, post="yes"), follow=True)
    for response in (one, selection):
        assert "The conversation is on legal hold." in text_of(response)
        assert "uccessfully" not in text_of(response)
    assert Conversation.objects.count() == 1
    assert AccessRecord.objects.count() == 0


def test_too_many_at_once_are_refused(compliance, alice, monkeypatch):
    monkeypatch.setattr(deletion, "AT_MOST", 1)
    conversations = [make_conversation(alice) for _ in range(2)]
    compliance.post(LIST, choose(*conversations, post="yes"))
    assert Conversation.objects.count() == 2
