import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User

from conversations.admin.accounts import UserAdmin
from conversations.models import AccessRecord, ApiToken, Conversation
from conversations.services import SCRIPT, create_token
from conversations.tests.admin.conftest import grant, signed_in, text_of
from conversations.tests.factories import make_conversation

USERS = "/admin/auth/user/"
TOKENS = "/admin/conversations/apitoken/"


@pytest.fixture
def token(alice):
    return create_token(user=alice, access=SCRIPT)[0]


@pytest.mark.parametrize("path", [USERS, "/admin/auth/group/", TOKENS, "/admin/"])
def test_pages_open(root, token, path):
    assert root.get(path).status_code == 200


@pytest.mark.parametrize("path", [f"{USERS}add/", "/admin/auth/group/add/"])
def test_users_and_groups_are_added_as_in_django(root, path):
    assert root.get(path).status_code == 200


def test_a_user_can_be_added_and_changed(root):
    new = {"username": "carol", "password1": "longer-than-8", "password2": "longer-than-8"}
    root.post(f"{USERS}add/", new | {"usable_password": "true"})
    carol = User.objects.get(username="carol")
    assert carol.check_password("longer-than-8")
    assert root.get(f"{USERS}{carol.pk}/change/").status_code == 200
    assert root.get(f"{USERS}{carol.pk}/password/").status_code == 200


def test_deleting_a_user_says_what_goes_and_leaves_a_record(root, alice, token):
    make_conversation(alice, 3)
    page = text_of(root.get(f"{USERS}{alice.pk}/delete/"))
    assert "Conversations: 1" in page
    assert "Messages: 3" in page
    assert token.digest not in page
    root.post(f"{USERS}{alice.pk}/delete/", {"post": "yes"})
    assert not Conversation.objects.exists()
    record = AccessRecord.objects.get()
    assert (record.action, record.owner_name) == ("delete", "alice")
    assert record.detail == {"erased": True, "conversations": 1, "messages": 3}


@pytest.mark.parametrize("together", [False, True])
def test_a_user_with_a_conversation_on_hold_stays(root, alice, together):
    make_conversation(alice, 1, title="Evidence")
    Conversation.objects.update(legal_hold=True)
    if together:
        chosen = {"action": "delete_selected", "_selected_action": alice.pk, "post": "yes"}
        page = text_of(root.post(USERS, chosen))
    else:
        page = text_of(root.post(f"{USERS}{alice.pk}/delete/", {"post": "yes"}))
    assert "Evidence" in page
    assert User.objects.filter(pk=alice.pk).exists()
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize("together", [False, True])
def test_staff_are_not_deleted(root, staff, together):
    if together:
        chosen = {"action": "delete_selected", "_selected_action": staff.pk, "post": "yes"}
        page = text_of(root.post(USERS, chosen))
    else:
        page = text_of(root.post(f"{USERS}{staff.pk}/delete/", {"post": "yes"}))
    assert "This account is staff" in page
    assert User.objects.filter(pk=staff.pk).exists()


def test_a_hold_placed_after_the_confirmation_was_shown_is_said(root, alice, monkeypatch):
    make_conversation(alice, 1)
    Conversation.objects.update(legal_hold=True)
    nothing_kept = ([], {}, set(), [])
    monkeypatch.setattr(UserAdmin, "get_deleted_objects", lambda *_: nothing_kept)
    for url, form in [
        (f"{USERS}{alice.pk}/delete/", {"post": "yes"}),
        (USERS, {"action": "delete_selected", "_selected_action": alice.pk, "post": "yes"}),
    ]:
        page = text_of(root.post(url, form, follow=True))
        assert "on legal hold: nothing is erased" in page
    assert User.objects.filter(pk=alice.pk).exists()
    assert not AccessRecord.objects.exists()


def test_deleting_a_user_takes_the_right_to_delete_conversations(staff, alice):
    grant(staff, "delete_user", "view_user")
    make_conversation(alice, 1)
    browser = signed_in(staff)
    assert "conversation" in text_of(browser.get(f"{USERS}{alice.pk}/delete/"))
    browser.post(f"{USERS}{alice.pk}/delete/", {"post": "yes"})
    assert User.objects.filter(pk=alice.pk).exists()


def test_users_chosen_together_leave_a_record_each(root, alice, bob):
    chosen = {"action": "delete_selected", "_selected_action": [alice.pk, bob.pk], "post": "yes"}
    root.post(USERS, chosen)
    names = AccessRecord.objects.values_list("owner_name", flat=True)
    assert sorted(names) == ["alice", "bob"]


def test_tokens_are_listed_by_how_they_begin(root, token):
    page = text_of(root.get(TOKENS))
    assert token.token_key[:8] in page
    assert token.token_key not in page
    assert "alice" in page
    assert f'href="{TOKENS}{token.digest}' not in page


def test_a_token_has_no_page_and_is_not_made_or_changed_here(root, token):
    assert root.get(f"{TOKENS}add/").status_code == 403
    assert root.post(f"{TOKENS}add/", {"user": token.user_id}).status_code == 403
    for page in ("change", "delete", "history"):
        assert root.get(f"{TOKENS}{token.digest}/{page}/").status_code == 404
        assert root.post(f"{TOKENS}{token.digest}/{page}/", {"post": "yes"}).status_code == 404
    assert ApiToken.objects.exists()


def test_tokens_are_revoked(root, token):
    chosen = {"action": "delete_selected", "_selected_action": token.digest}
    page = text_of(root.post(TOKENS, chosen))
    assert f"{token.token_key[:8]}… of alice" in page
    root.post(TOKENS, chosen | {"post": "yes"})
    assert not ApiToken.objects.exists()
    assert LogEntry.objects.get().object_repr == f"{token.token_key[:8]}… of alice"
