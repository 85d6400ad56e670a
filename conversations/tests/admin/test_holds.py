"""Legal holds in the admin: confirmed, with a reason, and said who placed one, when and why."""

import pytest

from conversations.models import AccessRecord, Conversation, ConversationNote, Message, Review
from conversations.tests.admin.conftest import (
    LIST,
    delete_url,
    grant,
    signed_in,
    text_of,
    transcript_url,
)
from conversations.tests.factories import make_conversation

RIGHTS = ("hold_conversation", "archive_conversation", "delete_conversation", "rate_message")
NOTES = ("add_conversationnote", "view_conversationnote")


@pytest.fixture
def holder(staff):
    grant(staff, *RIGHTS, *NOTES)
    return signed_in(staff)


@pytest.fixture
def conversation(alice):
    return make_conversation(alice, 2, title="Trains")


def page_url(conversation, page):
    return f"{LIST}{conversation.pk}/{page}/"


def is_held(conversation):
    return Conversation.objects.get(pk=conversation.pk).legal_hold


@pytest.mark.parametrize(("page", "held"), [("hold", False), ("release", True)])
def test_a_page_says_what_it_means_and_asks_for_a_reason(holder, conversation, page, held):
    Conversation.objects.update(legal_hold=held)
    shown = text_of(holder.get(page_url(conversation, page)))
    assert "Trains" in shown
    meaning = "can be changed, deleted and erased" if held else "nobody can change or delete it"
    assert meaning in shown
    refused = text_of(holder.post(page_url(conversation, page), {"reason": "  "}))
    assert "A reason is required" in refused
    assert is_held(conversation) == held
    assert not AccessRecord.objects.exists()
    holder.post(page_url(conversation, page), {"reason": "Case 7"})
    assert is_held(conversation) != held
    record = AccessRecord.objects.get()
    assert (record.action, record.reason) == ("hold", "Case 7")
    assert record.detail == {"on_hold": not held}


def test_it_takes_the_right(browser, conversation):
    for page in ("hold", "release"):
        assert browser.get(page_url(conversation, page)).status_code == 403
        assert browser.post(page_url(conversation, page), {"reason": "x"}).status_code == 403
    assert "legal hold" not in text_of(browser.get(transcript_url(conversation)))


def test_a_hold_that_is_on_already_changes_nothing(holder, conversation):
    Conversation.objects.update(legal_hold=True)
    assert "Already on legal hold" in text_of(holder.get(page_url(conversation, "hold")))
    answered = holder.post(page_url(conversation, "hold"), {"reason": "x"}, follow=True)
    assert "0 conversations placed on legal hold. 1 was already on hold." in text_of(answered)


@pytest.mark.parametrize(("action", "held"), [("hold_selected", False), ("release_selected", True)])
def test_the_list_asks_before_it_places_or_releases(holder, alice, conversation, action, held):
    other = make_conversation(alice, title="Planes")
    on_hold = Conversation.objects.all() if held else Conversation.objects.filter(pk=other.pk)
    on_hold.update(legal_hold=True)
    chosen = {"action": action, "_selected_action": [str(conversation.pk), str(other.pk)]}
    page = text_of(holder.post(LIST, chosen))
    assert "Trains" in page
    assert is_held(conversation) == held
    unreasoned = text_of(holder.post(LIST, chosen | {"confirmed": "yes"}))
    assert 'name="reason"' in unreasoned
    assert is_held(conversation) == held
    done = holder.post(LIST, chosen | {"confirmed": "yes", "reason": "Case 7"}, follow=True)
    assert is_held(conversation) != held
    said = "1 conversation placed on legal hold. 1 was already on hold."
    if held:
        said = "2 conversations released from legal hold."
    assert said in text_of(done)
    assert set(AccessRecord.objects.values_list("reason", flat=True)) == {"Case 7"}


def test_the_transcript_says_who_placed_it_when_and_why(holder, conversation):
    for page, reason in (("hold", "Old case"), ("release", "Over"), ("hold", "<b>Case 7</b>")):
        holder.post(page_url(conversation, page), {"reason": reason})
    page = text_of(holder.get(transcript_url(conversation)))
    at = AccessRecord.objects.order_by("-created_at").exclude(action="read")[0].created_at
    assert "Placed by <bdi>support</bdi>" in page
    assert at.strftime("%Y-%m-%d %H:%M:%S UTC") in page
    assert "reason: <bdi>&lt;b&gt;Case 7&lt;/b&gt;</bdi>" in page
    assert "Old case" not in page


def test_a_hold_without_a_record_says_so(holder, conversation):
    Conversation.objects.update(legal_hold=True)
    page = text_of(holder.get(transcript_url(conversation)))
    assert "no entry for who placed it" in page


def test_what_a_hold_refuses_is_not_offered(holder, conversation):
    def offered():
        page = text_of(holder.get(transcript_url(conversation)))
        labels = [
            ">Archive<",
            "Delete\u2026",
            'value="review"',
            'value="note"',
            "Place legal hold",
            "Release legal hold",
        ]
        return [label in page for label in labels]

    assert offered() == [True, True, True, True, True, False]
    Conversation.objects.update(legal_hold=True)
    assert offered() == [False, False, False, True, False, True]


def test_refusals_are_said_on_the_page(holder, conversation):
    Conversation.objects.update(legal_hold=True)
    before = list(Conversation.objects.values()), list(Message.objects.values())
    answer = str(Message.objects.get(role="assistant").id)
    forms = [
        {"do": "archive"},
        {"do": "unarchive"},
        {"do": "review", "message": answer, "score": "1"},
        {"do": "withdraw", "message": answer},
    ]
    for form in forms:
        page = holder.post(page_url(conversation, "act"), form, follow=True)
        assert "This conversation is on legal hold" in text_of(page)
    chosen = {"action": "archive_selected", "_selected_action": str(conversation.pk)}
    page = text_of(holder.post(LIST, chosen, follow=True))
    assert "1 conversation on legal hold cannot be changed now." in page
    assert "On legal hold" in text_of(holder.post(delete_url(conversation), {"post": "yes"}))
    assert before == (list(Conversation.objects.values()), list(Message.objects.values()))
    assert not Review.objects.exists()
    acts = AccessRecord.objects.exclude(action="read")
    assert all(record.detail["refused"] == "legal_hold" for record in acts)
    holder.post(page_url(conversation, "act"), {"do": "note", "text": "Evidence goes on"})
    assert ConversationNote.objects.exists()
