"""Who may ask, watch and stop: owner, stranger, staff, trusted client, anonymous, other sites."""

import threading
import uuid

import pytest
from django.contrib.auth.models import User
from django.test import Client

from conversations.models import AccessRecord, Conversation, Message
from conversations.selectors.turn_log import find_turn, read_turns
from conversations.services import add_message
from conversations.tests.chat.clients import Answer, ChatClient, text_of
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.factories import (
    access_of,
    make_conversation,
    make_staff,
    make_token,
    make_trusted,
    make_user,
)


def client_of(chat, user):
    return ChatClient(chat.url, make_token(user))


@pytest.fixture
def bob(chat):
    return client_of(chat, make_user("bob"))


@pytest.fixture
def support(chat):
    return client_of(chat, make_staff())


@pytest.fixture
def backend(chat):
    return client_of(chat, make_trusted())


@pytest.fixture
def mine(chat):
    return chat.ask().body


def test_a_stranger_finds_nothing(bob, mine):
    assert bob.ask(conversation_id=mine["conversation_id"]).status == 404
    assert bob.ask_stream(session_id=mine["conversation_id"]).status == 404
    assert bob.join(mine["message_id"]).status == 404
    assert bob.stop(mine["message_id"]).status == 404
    assert bob.ask_stream(last=f"{mine['stream_id']}:1.0.1").status == 404


def test_nobody_without_a_token(chat, mine):
    nobody = ChatClient(chat.url)
    for answer in (
        nobody.ask(),
        nobody.ask_stream(),
        nobody.join(mine["message_id"]),
        nobody.stop(mine["message_id"]),
    ):
        assert answer.status == 401


def test_staff_may_watch_and_leave_a_trace(support, mine):
    assert [event.name for event in support.join(mine["message_id"])][-1] == "done"
    record = AccessRecord.objects.get()
    assert (record.staff_name, str(record.conversation_id)) == ("support", mine["conversation_id"])
    assert support.stop(mine["message_id"]).status == 403
    assert support.ask(conversation_id=mine["conversation_id"]).status == 403


def test_a_superuser_who_asks_in_somebodys_chat_leaves_a_record(chat, mine):
    root = client_of(chat, User.objects.create_superuser("root"))
    assert root.ask(conversation_id=mine["conversation_id"]).status == 200
    assert list(root.ask_stream(session_id=mine["conversation_id"]))[-1].name == "done"
    assert root.stop(mine["message_id"]).status == 200
    assert root.ask(user_id="alice").status == 200
    records = list(AccessRecord.objects.order_by("created_at"))
    assert [(one.staff_name, one.action, one.owner_name) for one in records] == [
        ("root", "change", "alice")
    ] * 4
    named = [str(one.conversation_id) for one in records[:3]]
    assert named == [mine["conversation_id"]] * 3


def test_no_superuser_asks_in_somebodys_chat_without_a_reason(chat, mine, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    root = client_of(chat, User.objects.create_superuser("root"))
    stored = Message.objects.count()
    refused = root.ask(conversation_id=mine["conversation_id"])
    assert (refused.status, refused.body["errors"][0]["code"]) == (403, "reason_required")
    assert Message.objects.count() == stored


def test_a_trusted_client_asks_for_its_users(backend, scripted):
    answer = backend.ask(user_id="carol")
    assert answer.status == 200
    assert Conversation.objects.get().user.username == "carol"
    again = backend.ask(conversation_id=answer.body["conversation_id"], user_id="carol")
    assert again.status == 200
    assert backend.ask(conversation_id=answer.body["conversation_id"], user_id="dave").status == 404
    assert backend.stop(answer.body["message_id"]).status == 200


def test_only_a_trusted_client_names_a_user(bob, chat):
    assert bob.ask(user_id="alice").status == 404
    assert not Message.objects.exists()


def test_streams_of_what_is_no_answer(chat, mine):
    asked = Message.objects.get(role="user")
    assert chat.join(asked.id).status == 404
    assert chat.join("0198c5a0-0000-7000-8000-000000000000").status == 404
    assert chat.join("x").status == 400
    assert chat.join(mine["message_id"], last="nonsense").status == 400
    assert chat.join(mine["message_id"], last=f"{mine['stream_id']}:1.0").status == 400


@pytest.fixture
def browser(chat):
    """Calls ask-stream as a logged-in browser does, with these headers."""
    session = Client()
    session.force_login(make_user("carl"))
    cookie = f"sessionid={session.cookies['sessionid'].value}"

    def get(**headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        found = ChatClient(chat.url, Cookie=cookie, **names).ask_stream()
        return found if isinstance(found.status, int) and found.status != 200 else list(found)

    return get


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_not_ask(browser, site):
    answer = browser(Sec_Fetch_Site=site, Origin="https://evil.example")
    assert answer.status == 403
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "{site}.evil.example"},
        {"Referer": "https://evil.example/x"},
        {"Referer": "{site}/chat"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "none", "Origin": "{site}"},
        {"Sec_Fetch_Site": "same-site", "Referer": "{site}/chat"},
        {"Sec_Fetch_Site": "nonsense"},
        {"Sec_Fetch_Site": ""},
        {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Dest": "document"},
        {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Dest": "image"},
    ],
)
def test_a_session_that_no_script_of_this_site_shows_is_refused(browser, chat, headers):
    sent = {name: value.replace("{site}", chat.url) for name, value in headers.items()}
    assert browser(**sent).status == 403
    assert not Message.objects.exists()


def test_the_sites_own_pages_may_ask(browser, chat, settings):
    assert browser(Sec_Fetch_Site="same-origin")[-1].name == "done"
    assert browser(Sec_Fetch_Site="same-origin", Sec_Fetch_Dest="empty")[-1].name == "done"
    assert browser(Origin=chat.url)[-1].name == "done"
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example.org"]
    trusted = {"Sec_Fetch_Site": "cross-site", "Origin": "https://chat.example.org"}
    assert browser(**trusted)[-1].name == "done"


@pytest.mark.parametrize("site", ["cross-site", "none", None])
def test_a_token_needs_no_site(chat, site):
    if site is not None:
        chat.headers["Sec-Fetch-Site"] = site
    assert list(chat.ask_stream())[-1].name == "done"


def test_a_login_that_posts_needs_the_csrf_token(chat):
    session = Client()
    session.force_login(make_user("carl"))
    cookie = f"sessionid={session.cookies['sessionid'].value}"
    assert ChatClient(chat.url, Cookie=cookie).ask().status == 403


def test_a_stream_that_waits_sends_comments(chat, scripted, monkeypatch):
    monkeypatch.setattr("conversations.api.sse.KEEP_ALIVE_SECONDS", 0.1)
    gate = threading.Event()
    scripted.script(says("a", 0.5, gate, "b"))
    threading.Timer(0.8, gate.set).start()
    stream = chat.stream()
    assert list(stream)[-1].name == "done"
    assert stream.comments >= 2


def test_a_message_under_the_id_of_anothers_answer_opens_and_stops_only_itself(chat, bob, scripted):
    gate = threading.Event()
    scripted.script(says("the secret", 0.1, gate, " plan"))
    stream = iter(chat.stream())
    answer = next(stream).data["message_id"]
    try:
        own = bob.call("POST", "/api/conversations", {})
        key = Answer(own).body["id"]
        said = {"id": answer, "role": "assistant", "content": "mine"}
        assert bob.call("POST", f"/api/conversations/{key}/messages", said).status == 201
        assert text_of(bob.join(answer)) == "mine"
        assert bob.stop(answer).body["status"] == "complete"
    finally:
        gate.set()
    events = list(stream)
    assert (events[-1].name, text_of(events)) == ("done", "the secret plan")


def test_turns_of_one_id_in_two_conversations_are_read_apart(db):
    shared = uuid.uuid4()
    first, low = make_user("alice"), uuid.UUID(int=1)
    chats = [make_conversation(first), make_conversation(make_user("bob"), id=low)]
    for chat in chats:
        add_message(
            conversation_id=chat.pk,
            role="assistant",
            content=f"of {chat.user.username}",
            id=shared,
        )
    names = [(chat.user_id, chat.pk, shared) for chat in chats]
    for asked in (names, names[::-1]):
        turns = read_turns(asked)
        assert [turns[name].last.content for name in names] == ["of alice", "of bob"]
    # Whoever may see both gets the one that was there before.
    for access in (access_of(make_staff(), reader=True), access_of(make_trusted(), trusted=True)):
        assert find_turn(message_id=shared, access=access).conversation_id == chats[0].pk
