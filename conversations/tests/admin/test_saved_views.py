"""Saved views, chips, known values and the size of a list."""

import pytest
from django.contrib.auth.models import User
from django.db import connection

from conversations.models import SavedView
from conversations.services import SCRIPT, InvalidValue, MessageDraft, append_drafts
from conversations.services.saved_views import MAX_VIEWS, save_view
from conversations.tests.admin.conftest import LIST, delete_url, grant, signed_in, text_of
from conversations.tests.admin.test_list import titles
from conversations.tests.factories import make_conversation, make_user

SAVE = f"{LIST}saved-views/"


def chips(browser, **query):
    return [chip[:2] for chip in browser.get(LIST, query).context["cl"].chips()]


def known(browser, name, begin="", path=LIST):
    return browser.get(f"{path}known-values/", {"filter": name, "q": begin}).json()["values"]


def test_active_filters_and_the_search_are_chips(browser, db):
    shown = chips(browser, q="trains", role="tool", model="m", o="1", pinned="", p="3", title="x")
    assert shown == [("search", "trains"), ("model", "m"), ("message role", "Tool")]


def test_a_chip_leads_to_the_list_without_it_alone(browser, db):
    query = {"q": "trains", "model": "a&b", "mode": "booking", "o": "-3", "p": "2"}
    changelist = browser.get(LIST, query).context["cl"]
    without = {label: url for label, _, url in changelist.chips()}
    assert without["mode"] == "?q=trains&model=a%26b&o=-3"
    assert without["search"] == "?model=a%26b&mode=booking&o=-3"
    assert changelist.without_filters() == "?o=-3"


def test_a_list_that_nothing_narrows_has_no_chips(browser, db):
    assert chips(browser, p="1") == []
    assert chips(browser, q=" ") == []


def test_a_view_is_saved_found_again_replaced_and_deleted(browser, staff):
    found = browser.post(SAVE, {"name": " Failed  today ", "query": "status=failed&o=-3&p=4"})
    assert found.url == f"{LIST}?status=failed&o=-3"
    view = SavedView.objects.get()
    assert (view.user, view.name) == (staff, "Failed today")
    page = text_of(browser.get(LIST, {"o": "-3", "status": "failed"}))
    assert 'aria-current="page">Failed today</a>' in page
    assert "Delete this view" in page

    browser.post(SAVE, {"name": "Failed today", "query": "status=failed"})
    assert SavedView.objects.get().query == "status=failed"
    browser.post(f"{SAVE}{view.pk}/delete/")
    assert not SavedView.objects.exists()


def test_everybody_sees_and_deletes_only_their_own_views(browser, staff, superuser):
    others = save_view(user=superuser, page="conversations.conversation", name="Mine", query="")
    assert "Mine" not in text_of(browser.get(LIST))
    browser.post(f"{SAVE}{others.pk}/delete/")
    assert SavedView.objects.get() == others


def test_views_of_one_list_are_not_offered_in_another(root, superuser):
    save_view(
        user=superuser, page="conversations.accessrecord", name="Exports", query="action=export"
    )
    assert "Exports" not in text_of(root.get(LIST))
    assert "Exports" in text_of(root.get("/admin/conversations/accessrecord/"))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"query": "x" * 4_001}, "query"),
    ],
)
def test_a_view_that_cannot_be_saved_names_the_field(staff, values, field):
    with pytest.raises(InvalidValue) as refused:
        save_view(**{"user": staff, "page": "p", "name": "n", "query": ""} | values)
    assert refused.value.field == field


def test_the_number_of_views_is_bounded(staff):
    for number in range(MAX_VIEWS):
        save_view(user=staff, page="p", name=str(number), query="")
    with pytest.raises(InvalidValue):
        save_view(user=staff, page="p", name="one more", query="")
    save_view(user=staff, page="p", name="1", query="q=x")


def test_views_go_with_the_account_in_the_database(staff):
    save_view(user=staff, page="p", name="n", query="")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_user_user_permissions WHERE user_id = %s", [staff.pk])
        cursor.execute("DELETE FROM auth_user WHERE id = %s", [staff.pk])
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("path", [SAVE, f"{SAVE}{'0' * 8}-0000-0000-0000-{'0' * 12}/delete/"])
def test_views_take_the_right_to_see_the_list_and_a_post(path, browser, db):
    outsider = signed_in(make_user("outsider", is_staff=True))
    assert outsider.post(path, {"name": "n", "query": ""}).status_code == 403
    assert browser.get(path).status_code == 405
    assert not SavedView.objects.exists()


def test_filters_offer_known_values(browser, alice, bob):
    chat = make_conversation(alice, model_used="qwen2.5:7b", source="import", tags=["vip"])
    make_conversation(bob, model_used="llama3.2", tags=["vip", "billing"])
    make_conversation(bob, model_used="llama3.2")
    call = {"id": "c", "function": {"name": "book", "arguments": "{}"}}
    drafts = [
        MessageDraft(role="user", content="Book a train"),
        MessageDraft(role="assistant", tool_calls=[call], provider="openai", model="gpt"),
        MessageDraft(role="tool", tool_call_id="c", content="done"),
        MessageDraft(role="assistant", content="Yes", provider="ollama", detected_mode="booking"),
    ]
    append_drafts(conversation_id=chat.pk, drafts=drafts, from_client=False, access=SCRIPT)
    assert known(browser, "model") == ["llama3.2", "qwen2.5:7b"]
    assert known(browser, "model", "q") == ["qwen2.5:7b"]
    assert known(browser, "source") == ["api", "import"]
    assert known(browser, "tag") == ["billing", "vip"]
    assert known(browser, "tag", "b") == ["billing"]
    assert known(browser, "tool") == ["book"]
    assert known(browser, "provider") == ["ollama", "openai"]
    assert known(browser, "answer_model") == ["gpt"]
    assert known(browser, "mode") == ["booking"]
    assert known(browser, "owner", "al") == ["alice"]
    assert known(browser, "owner") == []


def test_known_values_take_the_right_to_see_the_list(browser, db):
    outsider = signed_in(make_user("outsider", is_staff=True))
    assert outsider.get(f"{LIST}known-values/?filter=model").status_code == 403
    assert browser.get(f"{LIST}known-values/?filter=title").status_code == 404
    assert browser.get(f"{LIST}known-values/?filter=owner&q=a%00b").status_code == 200


def test_known_values_of_the_other_lists(root, superuser, alice):
    assert known(root, "staff", path="/admin/conversations/accessrecord/") == ["root"]
    assert known(root, "namespace", path="/admin/conversations/apitoken/") == []
    assert "Support" in known(root, "group", path="/admin/auth/user/")


def test_known_values_of_a_large_column_are_bounded(browser, alice):
    for number in range(105):
        make_conversation(alice, model_used=f"model {number:03}")
    assert len(known(browser, "model")) == 100


def test_searching_the_name_of_an_owner_shows_that_owner_first(browser, alice):
    for _ in range(3):
        make_conversation(alice)
    make_conversation(make_user("alice.b"), title="alice in a title")
    found = browser.get(LIST, {"q": "alice"}).context["cl"].owners_found
    assert list(found) == [
        (f"{LIST}owner/alice/", "alice", "3 conversations"),
        (f"{LIST}owner/alice.b/", "alice.b", "1 conversation"),
    ]
    assert list(browser.get(LIST, {"q": "title"}).context["cl"].owners_found) == []
    assert text_of(browser.get(LIST, {"q": "alice"})).count("3 conversations") == 1


def test_long_names_are_said_whole_on_hover(browser, db):
    name = "an-owner-with-a-very-long-name-" * 4
    make_conversation(make_user(name), title="Trains")
    assert f'<bdi class="clipped" title="{name}">{name}</bdi>' in text_of(browser.get(LIST))


def test_deleting_leads_back_to_the_same_list(compliance, alice):
    grant(User.objects.get(username="support"), "delete_conversation")
    chats = [make_conversation(alice, title=f"number {number}") for number in range(3)]
    kept = "q=number&o=1&p=1"
    page = compliance.get(LIST, {"q": "number", "o": "1", "p": "1"})
    row = page.context["cl"].result_list[0]
    bar = text_of(compliance.get(row.url))
    link = f"{delete_url(row)}?_changelist_filters=q%3Dnumber%26o%3D1%26p%3D1"
    assert f'href="{link}"' in bar
    assert f'href="{LIST}?q=number&amp;o=1&amp;p=1">Cancel' in text_of(compliance.get(link))
    response = compliance.post(link, {"post": "yes"})
    assert response.url == f"{LIST}?{kept}"
    assert "Conversation deleted." in text_of(compliance.get(response.url))

    chosen = {"action": "delete_selected", "_selected_action": [chats[1].pk], "post": "yes"}
    assert compliance.post(f"{LIST}?{kept}", chosen).url == f"{LIST}?{kept}"
    assert titles(compliance, q="number") == ["number 2"]


def test_fifty_rows_are_sent_in_under_90_kilobytes(root, alice):
    text = "Where is the refund for my cancelled train?"
    for number in range(50):
        chat = make_conversation(alice, title=f"{text} {number}", model_used="llama3.2:3b-instruct")
        draft = MessageDraft(role="user", content=f"{text} {text}")
        append_drafts(conversation_id=chat.pk, drafts=[draft], access=SCRIPT)
    # With a snippet and a second link in each row, a little more.
    for query, bound in (({}, 90_000), ({"q": "refund"}, 110_000)):
        response = root.get(LIST, query)
        assert len(response.context["cl"].result_list) == 50
        assert len(response.content) < bound
