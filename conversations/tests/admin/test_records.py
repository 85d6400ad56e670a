"""Every page and every act of the admin against somebody else's conversation leaves a record.

The pages are collected from the site itself: one that no table here knows fails the tests.
"""

import ast
import html
import re
import uuid
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import reverse

from conversations import admin as ours
from conversations.admin.conversation.detail_actions import ACTS
from conversations.models import AccessRecord, Conversation, ConversationNote, Message, Review
from conversations.services import SCRIPT, MessageDraft, append_drafts, review_message
from conversations.tests.admin.conftest import LIST, delete_url, signed_in, transcript_url
from conversations.tests.factories import access_of, make_conversation, make_user

# Pages that show or change nothing of a conversation beyond what the list shows of it: title,
# owner, counts, model, dates.
NOTHING_OF_A_CONVERSATION = {
    "index",
    "login",
    "logout",
    "password_change",
    "password_change_done",
    "jsi18n",
    "view_on_site",
    "app_list",
    "search",
    "conversations_conversation_add",
    "conversations_conversation_history",
    "conversations_conversation_reason",
    "accessrecord_export",
    "conversations_accessrecord_changelist",
    "conversations_accessrecord_add",
    "conversations_accessrecord_history",
    "conversations_accessrecord_delete",
    "conversations_accessrecord_change",
    "conversations_accessrecord_certificate",
    *(
        f"conversations_retentionrule_{page}"
        for page in ("changelist", "add", "history", "delete", "change")
    ),
    "conversations_apitoken_changelist",
    "conversations_apitoken_add",
    "conversations_apitoken_history",
    "conversations_apitoken_delete",
    "conversations_apitoken_change",
    "auth_user_password_change",
    *(
        f"conversations_importrun_{page}"
        for page in (*("changelist", "change", "delete", "history", "piece", "stop", "rejections"),)
    ),
    *(f"auth_user_{page}" for page in ("changelist", "add", "history", "delete", "change")),
    *(f"auth_group_{page}" for page in ("changelist", "add", "history", "delete", "change")),
    *(
        f"{model}_{page}"
        for model in (
            "auth_user",
            "auth_group",
            "conversations_accessrecord",
            "conversations_apitoken",
            "conversations_conversation",
            "conversations_importrun",
            "conversations_retentionrule",
        )
        for page in ("known_values", "save_view", "delete_view")
    ),
}
# Keeps a reason for the look that comes next.
NO_ACT = {"reason"}
# Leads to the page that exports.
LEADS_ON = {"export_selected"}


@pytest.fixture
def clerk(db):
    """A member of staff with every permission, and no superuser."""
    user = make_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    return user


@pytest.fixture
def chat(alice, clerk):
    chat = make_conversation(alice, title="Trains", metadata={"a": 1})
    drafts = [
        MessageDraft(role="user", content="A zeppelin?"),
        MessageDraft(role="assistant", content="No."),
    ]
    append_drafts(conversation_id=chat.pk, drafts=drafts, from_client=False, access=SCRIPT)
    review_message(
        conversation_id=chat.pk,
        message_id=Message.objects.get(role="assistant").id,
        score=1,
        access=access_of(clerk, reader=True, writer=True),
    )
    chat.refresh_from_db()
    return chat


def act_url(chat):
    return f"{LIST}{chat.pk}/act/"


def answer():
    return str(Message.objects.get(role="assistant").id)


def chosen(action, **more):
    return lambda chat: ("post", LIST, {"action": action, "_selected_action": str(chat.pk), **more})


def did(name, **form):
    return lambda chat: (
        "post",
        act_url(chat),
        {"do": name} | {key: value() if callable(value) else value for key, value in form.items()},
    )


def got(**query):
    return lambda chat: ("get", transcript_url(chat), query)


def found(chat):
    return "get", LIST, {"q": "zeppelin"}


def completed(chat):
    """The answer of a field that offers conversations by what was said in them."""
    query = {"app_label": "conversations", "model_name": "message", "field_name": "conversation"}
    return "get", reverse("admin:autocomplete"), query | {"term": "zeppelin"}


def sent_to_import(chat):
    """The file follows in pieces."""
    values = {"file_name": "chats.jsonl", "size": "10", "format": "openai", "owner": "alice"}
    return "post", "/admin/conversations/importrun/add/", values


# (name of the page, act or action) to the requests, and the action of the record of each.
CASES = {
    "conversations_conversation_change": [
        (got(), "read"),
        (got(after="1"), "read"),
        (got(branch="0", branches="1"), "read"),
        (got(on="2020-01-01"), "read"),
        (got(message=answer), "read"),
        (got(find="zeppelin"), "search"),
    ],
    "conversations_conversation_changelist": [(found, "search")],
    "autocomplete": [(completed, "search")],
    "conversations_conversation_delete": [
        (lambda chat: ("post", delete_url(chat), {"post": "yes"}), "delete")
    ],
    "conversations_conversation_export": [
        (lambda chat: ("post", f"{LIST}export/", {"format": "json"}), "export"),
        (lambda chat: ("get", f"{LIST}export/", {"q": "zeppelin"}), "search"),
    ],
    "conversations_conversation_owner": [
        (lambda chat: ("post", f"{LIST}owner/alice/", {"confirm": "alice"}), "delete")
    ],
    "conversations_conversation_hold": [
        (lambda chat: ("post", f"{LIST}{chat.pk}/hold/", {}), "hold")
    ],
    "conversations_conversation_release": [
        (lambda chat: ("post", f"{LIST}{chat.pk}/release/", {}), "hold")
    ],
    "conversations_importrun_add": [(sent_to_import, "change")],
    "act archive": [(did("archive"), "change")],
    "act unarchive": [(did("unarchive"), "change")],
    "act note": [(did("note", text="Look"), "change")],
    "act review": [(did("review", message=answer, score="-1"), "change")],
    "act withdraw": [(did("withdraw", message=answer), "change")],
    "action archive_selected": [(chosen("archive_selected"), "change")],
    "action hold_selected": [(chosen("hold_selected", confirmed="yes"), "hold")],
    "action release_selected": [(chosen("release_selected", confirmed="yes"), "hold")],
    "action delete_selected": [(chosen("delete_selected", post="yes"), "delete")],
}
REQUESTS = [(name, *case) for name, cases in CASES.items() for case in cases]
# Asked for in the list itself: without a reason, titles and owners alone are searched.
SEARCHES = {found, completed}
# Of no conversation that is there.
OF_AN_OWNER = {"conversations_conversation_owner", "conversations_importrun_add"}


def names_of(patterns):
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from names_of(pattern.url_patterns)
        elif pattern.name:
            yield pattern.name


def test_every_page_has_a_case():
    cases = {name for name in CASES if " " not in name} | {"conversations_conversation_act"}
    assert set(names_of(admin.site.get_urls())) == cases | NOTHING_OF_A_CONVERSATION


def test_every_act_and_every_action_of_the_list_has_a_case():
    assert set(ACTS) - NO_ACT == {name[4:] for name in CASES if name.startswith("act ")}
    actions = {getattr(it, "__name__", it) for it in ours.ConversationAdmin.actions} - LEADS_ON
    assert actions == {name[7:] for name in CASES if name.startswith("action ")}


def test_conversations_are_reached_in_two_modules_alone():
    """One opens them and leaves the record; the other gives what the list shows."""
    folder = Path(ours.__file__).parent
    naming = {
        path.name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "Conversation.objects"
    }
    assert naming == {"opened.py", "listed.py"}


def send(browser, chat, request, **more):
    method, url, values = request(chat)
    values = {name: value() if callable(value) else value for name, value in values.items()}
    response = getattr(browser, method)(url, values | more, follow=True)
    if response.streaming:
        b"".join(response.streaming_content)
    return response, values


def prepare(name, chat):
    """So that there is something to unarchive, or to release."""
    if "release" in name:
        Conversation.objects.filter(pk=chat.pk).update(legal_hold=True)
    if "unarchive" in name:
        Conversation.objects.filter(pk=chat.pk).update(archived_at=chat.created_at)


def records():
    return set(AccessRecord.objects.values_list("pk", flat=True))


def new_since(before):
    return list(AccessRecord.objects.exclude(pk__in=before))


@pytest.mark.parametrize(("name", "request_of", "action"), REQUESTS)
def test_it_leaves_a_record(clerk, chat, name, request_of, action):
    prepare(name, chat)
    before = records()
    response, _ = send(signed_in(clerk), chat, request_of, reason="Ticket 7")
    assert response.status_code == 200
    made = [record for record in new_since(before) if record.action == action]
    assert made, "no record"
    assert {record.staff_name for record in made} == {"clerk"}
    names = {record.owner_name for record in made}
    assert names <= {"alice", ""} or all(name.startswith("erased-") for name in names)
    if request_of not in SEARCHES and action != "search" and name not in OF_AN_OWNER:
        assert {record.conversation_id for record in made} == {chat.pk}


def everything():
    kinds = (Conversation, Message, ConversationNote, Review)
    return [list(kind.objects.order_by("pk").values()) for kind in kinds]


def form_with_reason(response):
    """The form that asks for a reason: where it is sent, and what it carries along."""
    page = response.content.decode()
    form = next(form for form in re.findall(r"<form.*?</form>", page, re.S) if '"reason"' in form)
    assert re.search(r'<input[^>]*name="reason"[^>]*required', form)
    action = re.search(r'<form[^>]*action="([^"]+)"', form)
    here = response.request["PATH_INFO"] + "?" + response.request["QUERY_STRING"]
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    carried = {name: html.unescape(value) for name, value in hidden}
    return html.unescape(action[1]) if action else here, carried


@pytest.mark.parametrize(("name", "request_of", "action"), REQUESTS)
def test_it_asks_for_the_reason_and_carries_on(clerk, chat, settings, name, request_of, action):
    settings.CHAT_REQUIRE_READ_REASON = True
    prepare(name, chat)
    browser = signed_in(clerk)
    before, stored = records(), everything()
    refused, values = send(browser, chat, request_of)
    assert refused.status_code == 200
    assert "zeppelin?" not in refused.content.decode()
    assert new_since(before) == []
    assert everything() == stored
    if request_of is completed or ("export" in name and action == "search"):
        assert b"Trains" not in refused.content, "what was said decides nothing before"
        return
    target, carried = form_with_reason(refused)
    answered = browser.post(target, values | carried | {"reason": "Ticket 7"}, follow=True)
    assert answered.status_code == 200
    if answered.streaming:
        b"".join(answered.streaming_content)
    made = [record for record in new_since(before) if record.action == action]
    assert made
    assert {record.reason for record in made} == {"Ticket 7"}


def test_a_conversation_that_is_not_there_leaves_none(clerk, db):
    browser, nowhere = signed_in(clerk), uuid.uuid4()
    for page in ("change", "delete", "act", "hold", "release"):
        method = browser.get if page == "change" else browser.post
        response = method(f"{LIST}{nowhere}/{page}/", {"do": "archive", "reason": "x"})
        assert response.status_code in (302, 404)
    assert not AccessRecord.objects.exists()


def test_ones_own_conversation_asks_for_nothing(clerk, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    mine = make_conversation(clerk, 2)
    browser = signed_in(clerk)
    assert b"message 1" in browser.get(transcript_url(mine)).content
    browser.post(act_url(mine), {"do": "archive"})
    assert Conversation.objects.get().archived
    assert not AccessRecord.objects.exists()
