"""What staff think of a message stands beside what its owner thinks, and never replaces it."""

import pytest

from conversations.models import Message, Review
from conversations.services import SCRIPT, MessageDraft, append_drafts, review_message
from conversations.tests.admin.conftest import LIST, grant, signed_in, text_of, transcript_url
from conversations.tests.factories import access_of, make_conversation, make_user


@pytest.fixture
def conversation(alice):
    conversation = make_conversation(alice, title="Trains")
    draft = MessageDraft(role="assistant", content="At noon.", rating=1, rating_comment="Thanks")
    append_drafts(conversation_id=conversation.pk, drafts=[draft], from_client=False, access=SCRIPT)
    return conversation


@pytest.fixture
def reviewer(staff):
    grant(staff, "rate_message")
    return signed_in(staff)


def review(browser, conversation, **form):
    answer = Message.objects.filter(conversation=conversation).get()
    form = {"do": "review", "message": str(answer.id), "sequence": "1"} | form
    return browser.post(f"{LIST}{conversation.pk}/act/", form, follow=True)


def test_a_review_leaves_the_owners_rating_as_it_was(reviewer, conversation):
    answered = review(
        reviewer, conversation, score="-1", labels="tone, facts,,tone", comment="<b>Too</b> short"
    )
    assert answered.redirect_chain[0][0].endswith("#m-1")
    message, stored = Message.objects.get(), Review.objects.get()
    assert (message.rating, message.rating_comment) == (1, "Thanks")
    assert (stored.score, stored.labels, stored.comment, stored.reviewer_name) == (
        -1,
        ["tone", "facts"],
        "<b>Too</b> short",
        "support",
    )
    page = text_of(reviewer.get(transcript_url(conversation)))
    for shown in ("Owner rating: good", "Owner comment: <bdi>Thanks", "Review: bad", "tone"):
        assert shown in page
    assert "&lt;b&gt;Too&lt;/b&gt; short" in page


def test_ones_own_review_is_changed_and_withdrawn(reviewer, conversation):
    review(reviewer, conversation, score="-1", comment="Hm")
    page = text_of(reviewer.get(transcript_url(conversation)))
    assert "Edit your review" in page
    assert ">Hm</textarea>" in page
    review(reviewer, conversation, score="1")
    assert Review.objects.get().score == 1
    review(reviewer, conversation, do="withdraw")
    assert not Review.objects.exists()
    assert "Review this answer" in text_of(reviewer.get(transcript_url(conversation)))


def test_the_reviews_of_others_stay(reviewer, conversation):
    other = make_user("judge", is_staff=True)
    review_message(
        conversation_id=conversation.pk,
        message_id=Message.objects.get().id,
        score=-1,
        access=access_of(other, reader=True, writer=True),
    )
    review(reviewer, conversation, score="1")
    review(reviewer, conversation, do="withdraw")
    assert Review.objects.get().reviewer_name == "judge"
    page = text_of(reviewer.get(transcript_url(conversation)))
    assert "<bdi>judge</bdi>" in page
    assert "Withdraw your review" not in page


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"score": "0"},
        {"score": "2"},
        {"score": "x"},
        {"score": "1", "message": "x"},
        {"score": "1", "message": "00000000-0000-0000-0000-000000000000"},
        {"score": "1", "labels": "l" * 51},
        {"score": "1", "labels": ",".join(map(str, range(21)))},
        {"score": "1", "comment": "c" * 10_001},
        {"score": "1", "comment": "a\0b"},
    ],
)
def test_what_cannot_be_stored_is_said(reviewer, conversation, form):
    answered = review(reviewer, conversation, **form)
    assert answered.status_code == 200
    assert [message.level_tag for message in answered.context["messages"]] == ["error"]
    assert not Review.objects.exists()


def test_reviewing_takes_its_right(browser, conversation):
    assert review(browser, conversation, score="1").status_code == 403
    assert "Review this answer" not in text_of(browser.get(transcript_url(conversation)))


def test_lists_are_filtered_by_reviews_and_by_ratings_apart(reviewer, alice, conversation):
    make_conversation(alice, 2, title="Planes")
    review(reviewer, conversation, score="-1")

    def found(**query):
        return [row.title for row in reviewer.get(LIST, query).context["cl"].result_list]

    assert found(reviewed="-1") == found(rating="1") == ["Trains"]
    assert found(reviewed="1") == found(rating="-1") == []
    assert found(reviewed="x") == []
    assert found(reviewed="-1", rating="-1") == []


def test_a_page_reads_its_reviews_in_one_statement(reviewer, alice, staff, statements):
    conversation = make_conversation(alice, 40)
    for message in Message.objects.filter(role="assistant"):
        review_message(
            conversation_id=conversation.pk,
            message_id=message.id,
            score=1,
            access=access_of(staff, reader=True, writer=True),
        )
    with statements() as seen:
        reviewer.get(transcript_url(conversation))
    assert len([sql for sql in seen if "conversations_review" in sql]) == 1
