"""Each right by itself: to see that there is a chat, to read, export, hold and erase it."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal

from conversations import services
from conversations.admin.conversation import export
from conversations.models import AccessRecord, Conversation, ConversationNote, Message
from conversations.selectors import staff_search
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.services.groups import GROUPS, ensure_groups
from conversations.tests.admin.conftest import LIST, grant, signed_in, text_of, transcript_url
from conversations.tests.factories import client_for, make_conversation, make_user

EXPORT = f"{LIST}export/"


@pytest.fixture
def conversation(alice):
    conversation = make_conversation(alice, title="Trains")
    draft = MessageDraft(role="assistant", content="A zeppelin leaves at noon.", model="m")
    append_drafts(conversation_id=conversation.pk, drafts=[draft], from_client=False, access=SCRIPT)
    conversation.refresh_from_db()
    return conversation


@pytest.fixture
def lister(db):
    """May see the list, and nothing of what was said."""
    return signed_in(make_user("lister", "view_conversation", is_staff=True))


def act(browser, conversation, **form):
    return browser.post(f"{LIST}{conversation.pk}/act/", form)


def test_the_list_without_the_content_shows_no_word_of_it(lister, conversation):
    page = text_of(lister.get(LIST))
    assert "Trains" in page
    assert transcript_url(conversation) not in page
    assert lister.get(transcript_url(conversation)).status_code == 403
    assert "Trains" not in text_of(lister.get(LIST, {"q": "zeppelin"}))
    assert "<mark>" not in text_of(lister.get(LIST, {"q": "trains"}))
    assert not AccessRecord.objects.exists()


def test_the_api_asks_for_the_same_right(conversation):
    half = make_user("half", "view_conversation", is_staff=True)
    assert client_for(half).get(f"/api/conversations/{conversation.pk}").status_code == 404


def test_a_search_in_content_shows_a_snippet_and_leaves_a_record(browser, conversation):
    page = text_of(browser.get(LIST, {"q": "zeppelin"}))
    assert "A <mark>zeppelin</mark> leaves" in page
    assert (
        f"{transcript_url(conversation)}?_changelist_filters=q%3Dzeppelin&amp;find=zeppelin&amp;at=1"
        in page
    )
    record = AccessRecord.objects.get()
    assert (record.action, record.detail) == ("search", {"query": "zeppelin"})


@pytest.mark.parametrize(
    ("right", "form", "changed"),
    [
        ("archive_conversation", {"do": "archive"}, {"archived": True}),
    ],
)
def test_each_act_takes_its_right(staff, browser, conversation, right, form, changed):
    assert act(browser, conversation, **form).status_code == 403
    grant(staff, right)
    assert act(signed_in(staff), conversation, **form).status_code == 302
    conversation.refresh_from_db()
    assert {name: getattr(conversation, name) for name in changed} == changed


def test_a_hold_is_recorded_and_moves_nothing(staff, conversation):
    grant(staff, "hold_conversation")
    browser = signed_in(staff)
    for page in ("hold", "hold", "release"):
        browser.post(f"{LIST}{conversation.pk}/{page}/", {"reason": "Case 7"})
    details = AccessRecord.objects.filter(action="hold").order_by("created_at")
    assert [record.detail["on_hold"] for record in details] == [True, False]
    assert Conversation.objects.get().updated_at == conversation.updated_at


def test_archiving_says_what_was_done_in_any_list(staff, alice, conversation):
    make_conversation(alice, title="Planes")
    grant(staff, "archive_conversation")
    browser = signed_in(staff)
    chosen = {"action": "archive_selected"}
    chosen["_selected_action"] = [str(one.pk) for one in Conversation.objects.all()]
    page = text_of(browser.post(f"{LIST}?archived=no", chosen, follow=True))
    assert "2 conversations archived." in page
    assert all(one.archived for one in Conversation.objects.all())
    page = text_of(browser.post(LIST, chosen, follow=True))
    assert "0 conversations archived. 2 were already archived." in page
    assert AccessRecord.objects.filter(action="change").count() == 2


def test_notes_are_staffs_own(staff, browser, alice, conversation):
    assert act(browser, conversation, do="note", text="x").status_code == 403
    grant(staff, "add_conversationnote", "view_conversationnote")
    act(signed_in(staff), conversation, do="note", text="<b>Look</b> again")
    act(signed_in(staff), conversation, do="note", text="  ")
    note = ConversationNote.objects.get()
    assert (note.text, note.author_name) == ("<b>Look</b> again", "support")
    assert "&lt;b&gt;Look&lt;/b&gt; again" in text_of(
        signed_in(staff).get(transcript_url(conversation))
    )
    assert "Look" not in text_of(client_for(alice).get(f"/api/conversations/{conversation.pk}"))


def test_nothing_else_can_be_done_nor_led_to(browser, conversation):
    assert act(browser, conversation, do="delete").status_code == 404
    assert browser.get(f"{LIST}{conversation.pk}/act/").status_code == 405


def test_a_form_leads_back_to_this_site_alone(staff, conversation):
    grant(staff, "archive_conversation")
    response = act(signed_in(staff), conversation, do="archive", back="https://evil.example/")
    assert response["Location"] == transcript_url(conversation)


def exported(browser, **query):
    response = browser.post(EXPORT, {"format": "openai"}, query_params=query)
    return b"".join(response.streaming_content).decode()


def test_an_export_takes_its_right_and_leaves_a_record_each(staff, browser, alice, conversation):
    make_conversation(alice, 2, title="Planes")
    assert browser.get(EXPORT).status_code == 403
    assert browser.post(EXPORT, {"format": "json"}).status_code == 403
    grant(staff, "export_conversation")
    browser = signed_in(staff)
    assert "Export 1 conversation?" in text_of(browser.get(EXPORT, {"q": "zeppelin"}))
    text = exported(browser, q="zeppelin")
    assert "A zeppelin leaves at noon." in text
    assert "Planes" not in text
    record = AccessRecord.objects.filter(action="export").get()
    assert (record.owner_name, record.conversation_id) == ("alice", conversation.pk)
    assert exported(browser, ids=str(conversation.pk)) == text
    assert exported(browser).count("\n") == 2
    assert AccessRecord.objects.filter(action="export").count() == 4


def test_an_export_has_the_active_branch_or_all(staff, alice, conversation):
    append_drafts(
        conversation_id=conversation.pk,
        drafts=[MessageDraft(role="user", content="Another beginning")],
        parents=["root"],
        access=SCRIPT,
    )
    grant(staff, "export_conversation")
    browser = signed_in(staff)
    page = text_of(browser.get(EXPORT))
    assert 'name="branches" value="active" checked' in page
    assert 'name="branches" value="all"' in page
    assert exported(browser).count("\n") == 1
    both = browser.post(EXPORT, {"format": "openai", "branches": "all"})
    assert b"".join(both.streaming_content).count(b"\n") == 2
    details = [record.detail for record in AccessRecord.objects.filter(action="export")]
    assert [detail["branches"] for detail in details] == ["active", "all"]
    refused = browser.post(EXPORT, {"format": "openai", "branches": "none"})
    assert "Must be `active` or `all`." in text_of(refused)


def test_a_long_list_leaves_whole(staff, alice, monkeypatch):
    monkeypatch.setattr(export, "COUNTED", 3)
    monkeypatch.setattr(services.export_batches, "BATCH", 2)
    for _ in range(5):
        make_conversation(alice, 1)
    grant(staff, "export_conversation")
    browser = signed_in(staff)
    assert "Export more than 3 conversations?" in text_of(browser.get(EXPORT))
    assert exported(browser).count("\n") == 5
    assert AccessRecord.objects.filter(action="export").count() == 5


def test_an_export_of_a_bounded_search_says_so(staff, alice, conversation, monkeypatch):
    grant(staff, "export_conversation")
    browser = signed_in(staff)
    assert "matches were searched" not in text_of(browser.get(EXPORT, {"q": "zeppelin"}))
    monkeypatch.setattr(staff_search, "MAX_MATCHES", 1)
    assert "matches were searched" in text_of(browser.get(EXPORT, {"q": "zeppelin"}))


def test_an_export_in_an_unknown_format_is_refused(staff, conversation):
    grant(staff, "export_conversation")
    response = signed_in(staff).post(EXPORT, {"format": "docx"})
    assert "Unknown format" in text_of(response)
    assert not AccessRecord.objects.filter(action="export").exists()


def test_a_reason_is_asked_once_and_kept(browser, conversation, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    page = text_of(browser.get(transcript_url(conversation)))
    assert "Reason for access" in page
    assert "zeppelin" not in page
    assert not AccessRecord.objects.exists()
    act(browser, conversation, do="reason", reason="  ")
    assert "Reason for access" in text_of(browser.get(transcript_url(conversation)))
    act(browser, conversation, do="reason", reason=" Ticket\n4711 ")
    assert "zeppelin" in text_of(browser.get(transcript_url(conversation)))
    assert AccessRecord.objects.get().reason == "Ticket 4711"
    browser.get(transcript_url(conversation), {"find": "zeppelin"})
    assert AccessRecord.objects.get(action="search").reason == "Ticket 4711"


def test_a_search_in_what_was_said_asks_for_its_own_reason(browser, conversation, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    where = f"{LIST}?q=zeppelin"
    page = text_of(browser.get(where))
    assert "Only titles and owners were searched" in page
    assert "<mark>" not in page
    assert "Trains" not in page, "what was said decides nothing before"
    browser.post(f"{LIST}reason/", {"reason": " ", "back": where})
    assert "A reason is required" in text_of(browser.get(where))
    answer = browser.post(f"{LIST}reason/", {"reason": "Ticket 12", "back": where})
    assert answer.headers["Location"] == where
    page = text_of(browser.get(where))
    assert "<mark>zeppelin</mark>" in page
    assert "Only titles" not in page
    assert AccessRecord.objects.get().reason == "Ticket 12"
    assert "Reason for access" in text_of(browser.get(transcript_url(conversation)))
    assert browser.get(f"{LIST}reason/").status_code == 405


def test_an_export_asks_for_a_reason(staff, conversation, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    grant(staff, "export_conversation")
    browser = signed_in(staff)
    assert "A reason is required" in text_of(browser.post(EXPORT, {"format": "openai"}))
    assert not AccessRecord.objects.exists()
    sent = browser.post(EXPORT, {"format": "openai", "reason": "Ticket 3"})
    assert b"zeppelin" in b"".join(sent.streaming_content)
    assert AccessRecord.objects.get().reason == "Ticket 3"


def test_ones_own_chats_need_no_reason(browser, staff, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    own = make_conversation(staff, 1)
    assert "message 1" in text_of(browser.get(transcript_url(own)))


@pytest.fixture
def eraser(staff):
    grant(staff, "delete_conversation", "delete_user")
    return signed_in(staff)


def owner_url(user):
    return f"{LIST}owner/{user.username}/"


def test_the_owners_page_says_what_they_have(browser, alice, conversation):
    page = text_of(browser.get(owner_url(alice)))
    for shown in ("alice", "Trains", transcript_url(conversation)):
        assert shown in page
    assert "Erase" not in page
    assert browser.post(owner_url(alice), {"confirm": "alice"}).status_code == 403
    assert browser.get(f"{LIST}owner/nobody/").status_code == 404


def test_erasing_takes_all_and_leaves_a_record(eraser, alice, bob, conversation):
    make_conversation(bob, 1)
    assert "1 conversation, 1 message," in text_of(eraser.get(owner_url(alice)))
    eraser.post(owner_url(alice), {"confirm": "alic", "reason": "x"})
    eraser.post(owner_url(alice), {"confirm": "alice"})
    assert User.objects.filter(pk=alice.pk).exists()
    eraser.post(owner_url(alice), {"confirm": "alice", "reason": "Asked for it"})
    assert not User.objects.filter(pk=alice.pk).exists()
    assert Conversation.objects.get().user_id == bob.pk
    assert Message.objects.count() == 1
    record = AccessRecord.objects.get(detail__erased=True)
    assert (record.action, record.reason) == ("delete", "Asked for it")
    counts = {"conversations": 1, "messages": 1, "tokens": 0, "sessions": 0}
    assert record.detail == {"erased": True, **counts}
    certificate = AccessRecord.objects.get(
        owner_name=record.owner_name, detail__has_key="certificate"
    )
    assert certificate.detail["certificate"]["check"]["unexpected"] == []
    assert "alice" not in str(list(AccessRecord.objects.values()))


def test_a_hold_keeps_everything(eraser, alice, conversation):
    Conversation.objects.update(legal_hold=True)
    page = text_of(eraser.post(owner_url(alice), {"confirm": "alice", "reason": "x"}, follow=True))
    assert "on legal hold" in page
    assert User.objects.filter(pk=alice.pk).exists()


def test_no_staff_are_erased(eraser, staff):
    eraser.post(owner_url(staff), {"confirm": "support", "reason": "x"})
    other = make_user("boss", is_staff=True)
    eraser.post(owner_url(other), {"confirm": "boss", "reason": "x"})
    assert User.objects.filter(username__in=["support", "boss"]).count() == 2


NEW_RIGHTS = {"import_conversation", "view_retentionrule", "delete_retentionrule"}


def names_of(group):
    return set(group.permissions.values_list("codename", flat=True))


def upgrade():
    """What `migrate` does before and after the migrations, of which there are none."""
    emit_pre_migrate_signal(verbosity=0, interactive=False, db="default")
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")


def test_groups_of_an_earlier_release_get_the_rights_of_a_later_one(db):
    ensure_groups()
    groups = {name: Group.objects.get(name=name) for name in GROUPS}
    before = {name: names_of(group) for name, group in groups.items()}
    Permission.objects.filter(codename__in=NEW_RIGHTS).delete()
    groups["Administrators"].permissions.remove(Permission.objects.get(codename="delete_user"))
    groups["Support"].permissions.remove(Permission.objects.get(codename="rate_message"))
    upgrade()
    assert names_of(groups["Administrators"]) == before["Administrators"] - {"delete_user"}
    assert names_of(groups["Support"]) == before["Support"] - {"rate_message"}
    assert names_of(groups["Compliance"]) == before["Compliance"]


def test_a_right_that_was_taken_away_does_not_come_back(db):
    ensure_groups()
    group = Group.objects.get(name="Administrators")
    group.permissions.remove(*Permission.objects.filter(codename__in=NEW_RIGHTS))
    Group.objects.create(name="Mine")
    upgrade()
    upgrade()
    assert not names_of(group) & NEW_RIGHTS
    assert not names_of(Group.objects.get(name="Mine"))


def test_a_group_that_was_deleted_comes_back_with_all_of_its_rights(db):
    ensure_groups()
    Group.objects.filter(name="Support").delete()
    upgrade()
    assert names_of(Group.objects.get(name="Support")) >= {"view_conversation", "view_message"}


def test_the_ready_groups(db):
    ensure_groups()
    rights = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.filter(name__in=GROUPS)
    }
    assert rights["Support"] >= {"view_conversation", "view_message"}
    assert not rights["Support"] & {"export_conversation", "hold_conversation", "view_accessrecord"}
    assert rights["Compliance"] >= {"export_conversation", "hold_conversation", "view_accessrecord"}
    assert "delete_conversation" not in rights["Compliance"]
    assert rights["Administrators"] >= {"delete_conversation", "delete_user"}
    assert not any("act_for_any_user" in names for names in rights.values())
    Group.objects.get(name="Support").permissions.clear()
    assert ensure_groups() == []
    assert not Group.objects.get(name="Support").permissions.exists()
