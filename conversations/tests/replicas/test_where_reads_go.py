"""Which requests read on a replica, and that none reads there what it must not."""

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, resolve

from conversations.api.views import ApiViewSet
from conversations.models import AccessRecord, Conversation, Message, Role
from conversations.services import (
    SCRIPT,
    MessageDraft,
    add_message,
    append_drafts,
    export_conversations,
    get_chat_history,
)
from conversations.tests.factories import client_for, make_staff, make_superuser, make_trusted
from conversations.tests.replicas.conftest import AFTER, ALIAS, BEFORE, change_on_primary

pytestmark = pytest.mark.django_db(transaction=True)
ONE = "/api/conversations/{chat}"
READ_THERE = [
    "/api/conversations",
    "/api/conversations?title=a",
    ONE,
    ONE + "/messages",
    ONE + "/messages?role=user",
    ONE + "/messages/{message}",
    "/api/users/alice/conversations",
    "/api/chat-history/sessions",
    "/api/chat-history/sessions/{chat}",
    "/api/chat-history/sessions/{chat}/messages",
    "/api/chat-history/sessions/{chat}/messages/{message}",
    "/api/chat/history/{chat}",
    "/api/search?q=replica",
    "/api/search?q=replica&conversation_id={chat}",
    "/api/messages",
    ONE + "/branches",
    "/api/chat-history/sessions/{chat}/branches",
    "/v1/conversations",
    "/v1/conversations/{chat}",
    "/v1/conversations/{chat}/items",
    "/v1/conversations/{chat}/items/{message}",
]
COMPLETIONS = "/v1/chat/completions"
FIGURES = "/api/usage"
PAGES = [
    "/admin/conversations/conversation/",
    "/admin/conversations/conversation/?q=replica",
    "/admin/conversations/conversation/?role=user",
    "/admin/conversations/conversation/{chat}/change/",
    "/admin/conversations/conversation/{chat}/change/?find=replica",
    "/admin/conversations/conversation/owner/alice/",
]


def place(path, chat):
    message = get_chat_history(conversation_id=chat.pk)[0].id
    return path.format(chat=chat.pk, message=message)


def warm(client, path):
    """The first request of a process knows no earlier position of the primary."""
    client.get(path)


def assert_read_there(standby, client, paths):
    for path in paths:
        warm(client, path)
    change_on_primary(standby)
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert BEFORE in answer.content.decode(), path
        assert AFTER not in answer.content.decode(), path


def test_reads_of_the_api_read_on_the_replica(replica, alice, chat):
    assert_read_there(replica, client_for(alice), [place(path, chat) for path in READ_THERE])


def test_stored_completions_are_read_there(replica, alice, chat):
    Message.objects.update(role=Role.ASSISTANT, provider="ollama", model="m")
    assert_read_there(replica, client_for(alice), [COMPLETIONS])


def test_pages_of_staff_read_on_the_replica(replica, chat):
    browser = Client()
    browser.force_login(make_superuser())
    assert_read_there(replica, browser, [place(path, chat) for path in PAGES])


def test_figures_are_counted_there(replica, alice, chat):
    client = client_for(alice)
    warm(client, FIGURES)
    replica.catch_up()
    replica.pause_replay()
    Message.objects.all().delete()
    assert client.get(FIGURES).json()["total"]["messages"] == 1


def test_every_action_that_may_read_there_is_tested_above():
    names = {"chat": "c", "message": "m"}
    tested = {
        _action(resolve(path.partition("?")[0].format(**names)).func)
        for path in [*READ_THERE, COMPLETIONS, FIGURES]
    }
    views = [view for view in _views(get_resolver()) if hasattr(view, "actions")]
    read = [view for view in views if issubclass(view.cls, ApiViewSet) and "get" in view.actions]
    assert tested == {
        _action(view) for view in read if view.actions["get"] in view.cls.read_on_replicas
    }


def _action(view):
    return view.cls.__name__, view.actions["get"]


def _views(resolver):
    for entry in resolver.url_patterns:
        if hasattr(entry, "url_patterns"):
            yield from _views(entry)
        else:
            yield entry.callback


def test_a_trusted_client_and_staff_read_an_owner_there_and_all_owners_apart(replica, alice, chat):
    backend, support = make_trusted(), make_staff()
    clients = [client_for(backend), client_for(support)]
    everybody = "/api/conversations?user_id=*"
    for client in clients:
        warm(client, everybody)
    change_on_primary(replica)
    for client in clients:
        assert BEFORE in client.get(f"{ONE.format(chat=chat.pk)}/messages").content.decode()
        assert BEFORE in client.get("/api/conversations?user_id=alice").content.decode()
    # All that a trusted client wrote is told by no position: it reads of all on the primary.
    assert AFTER in clients[0].get(everybody).content.decode()
    assert BEFORE in clients[1].get(everybody).content.decode()
    # The records of staff are written on the primary, where nothing is paused.
    assert AccessRecord.objects.count() == 4


def test_rights_are_read_on_the_primary(replica, alice, chat):
    """A token that was revoked, an account that is not active, a right that was taken away."""
    client, support = client_for(alice), make_staff()
    browser = client_for(support)
    path = f"{ONE.format(chat=chat.pk)}/messages"
    warm(client, path)
    change_on_primary(replica)
    assert BEFORE in browser.get(path).content.decode()
    support.user_permissions.clear()
    assert browser.get(path).status_code == 404
    alice.is_active = False
    alice.save()
    assert client.get(path).status_code == 401


def test_a_conversation_of_somebody_else_is_not_found_there(replica, alice, bob, chat):
    client = client_for(bob)
    warm(client, "/api/conversations")
    change_on_primary(replica)
    for path in (ONE, ONE + "/messages", "/api/search?q=replica&conversation_id={chat}"):
        assert client.get(path.format(chat=chat.pk)).status_code == 404


COUNTS = [
    # path, statements on the primary: the owner's, a trusted client's
    ("/api/conversations", 1, 1),
    (ONE, 1, 3),
    (ONE + "/messages", 1, 3),
    ("/api/conversations?user_id=alice", 1, 3),
    ("/api/search?q=message", 1, 1),
]


@pytest.mark.parametrize(("path", "as_owner", "as_trusted"), COUNTS)
def test_statements_on_the_primary_are_pinned(replica, alice, chat, path, as_owner, as_trusted):
    """The token, and for who is not the owner whose it is, and how far it was written."""
    backend = make_trusted()
    for user, expected in ((alice, as_owner), (backend, as_trusted)):
        client = client_for(user)
        warm(client, place(path, chat))
        replica.catch_up()
        with (
            CaptureQueriesContext(connection) as primary,
            CaptureQueriesContext(connections[ALIAS]) as there,
        ):
            assert client.get(place_without_query(path, chat)).status_code == 200
        assert len(primary) == expected, [query["sql"] for query in primary]
        assert len(there) >= 1


def place_without_query(path, chat):
    return path.format(chat=chat.pk)


def test_a_write_costs_one_more_statement_on_the_primary(replica, alice, chat):
    client = client_for(alice)
    with (
        CaptureQueriesContext(connection) as primary,
        CaptureQueriesContext(connections[ALIAS]) as there,
    ):
        answer = client.post(
            f"{ONE.format(chat=chat.pk)}/messages", {"role": "user", "content": "x"}
        )
    assert answer.status_code == 201
    sent = [query["sql"] for query in primary if not query["sql"].startswith(("BEGIN", "COMMIT"))]
    assert len(sent) == 3, sent
    assert "conversations_writeposition" in sent[-1]
    assert not len(there)


def test_a_service_outside_of_a_request_reads_the_primary(replica, chat):
    change_on_primary(replica)
    assert get_chat_history(conversation_id=chat.pk)[0].content == AFTER
    assert add_message(conversation_id=chat.pk, role="user", content="x", access=SCRIPT)
    assert Conversation.objects.get().title == AFTER
    assert Message.objects.count() == 2


@pytest.mark.parametrize("file_format", ["jsonl", "openai"])
def test_an_export_reads_branches_there(replica, alice, chat, file_format):
    append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role="user", content="another beginning")],
        parents=["root"],
        access=SCRIPT,
    )
    given = {"file_format": file_format, "branches": "all", "access": SCRIPT}
    pieces = export_conversations(conversations=Conversation.objects.all(), **given)
    replica.catch_up()  # with all that was written by then
    with CaptureQueriesContext(connection) as primary:
        text = "".join(pieces)
    assert "another beginning" in text
    assert not [query for query in primary if "conversations_" in query["sql"]]
