import re

import pytest
from django.contrib import admin
from django.test import Client

from conversations.models import AccessRecord, Conversation, Message
from conversations.tests.admin.conftest import (
    LIST,
    delete_url,
    grant,
    signed_in,
    text_of,
    transcript_url,
)
from conversations.tests.factories import make_conversation, make_user


@pytest.fixture
def conversation(alice):
    return make_conversation(alice, 2, title="Trains")


def pages(conversation):
    return [LIST, transcript_url(conversation)]


def test_anonymous_visitors_are_sent_to_the_login(conversation):
    for page in [*pages(conversation), delete_url(conversation)]:
        response = Client().get(page)
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_users_who_are_not_staff_are_sent_to_the_login(conversation, alice, trusted):
    grant(trusted, "view_conversation", "delete_conversation")
    for user in (alice, trusted):
        for page in pages(conversation):
            assert signed_in(user).get(page).status_code == 302


@pytest.mark.parametrize(
    "permissions",
    [[], ["view_user"], ["change_conversation", "add_conversation"], ["view_message"]],
)
def test_staff_without_the_right_to_view_are_refused(conversation, permissions):
    browser = signed_in(make_user("clerk", *permissions, is_staff=True))
    for page in pages(conversation):
        assert browser.get(page).status_code == 403
    assert AccessRecord.objects.count() == 0


def test_staff_with_only_the_right_to_view_cannot_delete(browser, conversation):
    assert browser.get(delete_url(conversation)).status_code == 403
    assert browser.post(delete_url(conversation), {"post": "yes"}).status_code == 403
    assert "Delete" not in text_of(browser.get(transcript_url(conversation)))
    chosen = {"action": "delete_selected", "_selected_action": conversation.pk, "post": "yes"}
    browser.post(LIST, chosen)
    assert Conversation.objects.count() == 1


def test_nobody_adds_or_changes_anything(root, conversation):
    """Not even a superuser, whatever is sent."""
    before = list(Conversation.objects.values()), list(Message.objects.values())
    change = {"title": "Forged", "content": "Forged", "messages-0-content": "Forged"}
    assert root.post(transcript_url(conversation), change).status_code == 405
    assert root.put(transcript_url(conversation), change).status_code == 405
    assert root.get(f"{LIST}add/").status_code == 403
    assert root.post(f"{LIST}add/", change).status_code == 403
    edited = {"form-TOTAL_FORMS": 1, "form-0-id": conversation.pk, "form-0-title": "Forged"}
    root.post(LIST, edited | {"_save": "Save"})
    assert before == (list(Conversation.objects.values()), list(Message.objects.values()))


def test_messages_have_no_admin_of_their_own(root):
    assert not admin.site.is_registered(Message)
    assert root.get("/admin/conversations/message/").status_code == 404


def test_no_form_of_the_page_holds_what_was_said(root, alice):
    """One may find, go to a message, and note something down beside it."""
    page = text_of(root.get(transcript_url(make_conversation(alice, 101))))
    page = page[page.index('class="transcript"') :]
    named = set(re.findall(r'<(?:input|textarea|button)[^>]* name="(\w+)"', page))
    acted = {"find", "at", "text", "do", "back", "format", "csrfmiddlewaretoken"}
    acted |= {"message", "sequence", "score", "labels", "comment"}
    assert named - {"s"} == acted  # the theme searches by the name of "s"
    assert page.count("<textarea") == 51, "a note, and a review of each of 50 answers"
