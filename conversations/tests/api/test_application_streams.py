"""An application's answer across processes: written to one and watched on others, while the
writer, a reader and a server are lost."""

from datetime import timedelta

import pytest
from django.utils import timezone

from conversations.models import Message
from conversations.services import MessageDraft, append_drafts
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving
from conversations.tests.chat.streaming_writer import Reader, text_written, writing
from conversations.tests.factories import access_of, make_conversation, make_token, make_user

pytestmark = pytest.mark.django_db(transaction=True)

COUNT, SECONDS = 80, 0.05


@pytest.fixture
def alice(transactional_db):
    return make_user("alice")


@pytest.fixture
def token(alice):
    return make_token(alice)


@pytest.fixture
def answer(alice):
    """An answer that alice has opened, and its path."""
    chat = make_conversation(alice, messages=1)
    draft = MessageDraft(role="assistant", status="streaming")
    rows, _ = append_drafts(conversation_id=chat.pk, drafts=[draft], access=access_of(alice))
    message_id = rows[0]["id"]
    return message_id, f"/api/conversations/{chat.pk}/messages/{message_id}"


@pytest.fixture
def provider():
    with ScriptedProvider() as provider:
        yield provider


def stored(message_id):
    return Message.objects.get(id=message_id)


def length(message_id):
    return len(stored(message_id).content)


def test_nothing_is_lost_or_twice_when_writer_reader_and_server_are_lost(provider, token, answer):
    message_id, path = answer
    whole = text_written(COUNT)
    with serving(provider) as one, serving(provider) as other:
        urls = [one.url, other.url]
        readers = [
            Reader(token, message_id, urls),
            Reader(token, message_id, urls[::-1]),
            Reader(token, message_id, urls[::-1], leaves_after=3),
        ]
        with writing(token, path, urls, count=COUNT, seconds=SECONDS):
            wait_until(lambda: length(message_id) > len(whole) / 4)
        with writing(token, path, urls, count=COUNT, seconds=SECONDS) as writer:
            wait_until(lambda: length(message_id) > len(whole) / 2)
            one.kill()
            assert writer.wait(60) == 0
        for reader in readers:
            reader.join(60)
    message = stored(message_id)
    assert (message.content, message.status, message.runner) == (whole, "complete", None)
    for reader in readers:
        assert (reader.events[-1].name, reader.events[-1].data["response"]) == ("done", whole)
        assert reader.text == whole
        ids = [event.id for event in reader.events]
        assert len(set(ids)) == len(ids)
        assert [event.name for event in reader.events].count("start") == 1
    assert [reader.joined > 1 for reader in readers] == [True, False, True]


def test_the_answer_of_a_writer_that_does_not_come_back_is_interrupted(provider, token, answer):
    message_id, path = answer
    with serving(provider) as server:
        reader = Reader(token, message_id, [server.url])
        with writing(token, path, [server.url], count=COUNT, seconds=SECONDS):
            wait_until(lambda: length(message_id) > 50)
        # A request that was on its way when the writer was killed may still be answered.
        wait_until(lambda: length(message_id) == len(reader.text))
        # As if CHAT_TURN_STALE_SECONDS had gone by.
        old = timezone.now() - timedelta(seconds=31)
        Message.objects.filter(id=message_id).update(updated_at=old)
        reader.join(60)
    last = reader.events[-1]
    assert (last.name, last.data["status"]) == ("error", "interrupted")
    message = stored(message_id)
    assert (message.status, message.content) == ("interrupted", reader.text)
    assert text_written(COUNT).startswith(reader.text)
