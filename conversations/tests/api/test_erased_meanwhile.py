"""Writes for a user who is erased at the same moment: refused by name, never a defect."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from conversations.formats import Chat, MessageDraft
from conversations.models import Conversation, Message
from conversations.services import SCRIPT, NotFound, erase_user
from conversations.services.conversations import get_or_create_latest
from conversations.services.database_errors import not_found_from
from conversations.services.imports import import_conversations
from conversations.services.users import NO_SUCH_USER
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.cluster import someone_waits_for_a_lock
from conversations.tests.factories import client_for, make_conversation, make_trusted, make_user

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/api/conversations"
ASK = {"message": "x", "provider": "scripted"}
WRITES = {
    "create": lambda api, chat: api.post(LIST, {}),
    "get or create": lambda api, chat: api.post(LIST),
    "rename": lambda api, chat: api.patch(f"{LIST}/{chat}", {"title": "Other"}),
    "delete": lambda api, chat: api.delete(f"{LIST}/{chat}"),
    "append": lambda api, chat: api.post(
        f"{LIST}/{chat}/messages", {"role": "user", "content": "x"}
    ),
    "token": lambda api, chat: api.post("/api/tokens", {}),
    "chat": lambda api, chat: api.post("/api/chat", ASK),
    "chat there": lambda api, chat: api.post("/api/chat", ASK | {"conversation_id": str(chat)}),
    "edit": lambda api, chat: api.post(
        "/api/chat", ASK | {"conversation_id": str(chat), "parent_id": "root"}
    ),
    "regenerate": lambda api, chat: api.post(
        "/api/chat", {"regenerate": getattr(Message.objects.last(), "id", None)}
    ),
}


def while_erasing(user, write):
    """What `write` gives when it waits for the end of the transaction that erases the user."""

    def run():
        try:
            return write()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            erase_user(user_id=user.pk, access=SCRIPT)
            result = pool.submit(run)
            wait_until(lambda: result.done() or someone_waits_for_a_lock(), 10)
            assert not result.done()
        return result.result()


@pytest.mark.parametrize("name", [name for name in WRITES if name != "get or create"])
def test_a_write_of_someone_who_is_erased_meanwhile_is_404(name, scripted):
    user = make_user("ann")
    chat, api = make_conversation(user, messages=2).pk, client_for(user)
    answer = while_erasing(user, lambda: WRITES[name](api, chat))
    assert answer.status_code == 404, answer.content
    assert answer.json()["errors"][0]["code"] == "not_found"
    assert not Conversation.objects.exists()
    assert not Message.objects.exists()
    assert WRITES[name](api, chat).status_code == 401


def test_get_or_create_for_someone_who_is_erased_meanwhile_is_404():
    user = make_user("ann")
    api = client_for(user)
    assert while_erasing(user, lambda: api.post(LIST)).status_code == 404


def test_a_trusted_client_that_writes_for_someone_erased_meanwhile_may_do_it_again():
    user, api = make_user("ann"), client_for(make_trusted())
    answer = while_erasing(user, lambda: api.post(LIST, {"user_id": "ann"}))
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["detail"] == NO_SUCH_USER
    assert api.post(LIST, {"user_id": "ann"}).status_code == 201


def test_a_user_who_is_made_and_erased_by_others_meanwhile_is_404(monkeypatch):
    def made_and_erased(user, **options):
        raise IntegrityError

    api = client_for(make_trusted())
    monkeypatch.setattr(User, "save", made_and_erased)
    answer = api.post(LIST, {"user_id": "ann"})
    assert answer.status_code == 404
    error = answer.json()["errors"][0]
    assert (error["detail"], error["attr"]) == (NO_SUCH_USER, "user_id")


def test_an_import_for_someone_who_is_erased_meanwhile_is_rejected_line_by_line():
    user = make_user("ann")
    message = MessageDraft(role="user", content="x")
    chats = [Chat(line=line, file_id=str(line), messages=(message,)) for line in (1, 2)]
    report = while_erasing(
        user, lambda: import_conversations(chats=chats, owner_id=user.pk, source="import:x")
    )
    assert [rejected.line for rejected in report.rejected] == [1, 2]
    assert NO_SUCH_USER in report.rejected[0].reason


def test_get_or_create_latest_for_nobody_says_so():
    with pytest.raises(NotFound):
        get_or_create_latest(owner=User(pk=0))


def test_other_errors_of_integrity_stay_defects():
    make_user("ann")
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        User.objects.create(username="ann")
    assert not_found_from(caught.value) is None
    assert not_found_from(ValueError()) is None
    assert not_found_from(IntegrityError()) is None
