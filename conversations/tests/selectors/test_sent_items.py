"""Items are found by the ids that they were sent with, by an index of those alone."""

import pytest

from conversations.selectors.sent_items import message_of_sent_item
from conversations.services import MessageDraft, add_messages
from conversations.tests.cluster import analyze
from conversations.tests.factories import make_conversation
from conversations.tests.selectors.test_page_plans import counted

pytestmark = pytest.mark.django_db


def thought(id_):
    return MessageDraft(role="assistant", parts=[{"type": "reasoning", "id": id_, "summary": []}])


def test_the_newest_message_with_an_id_is_found_in_its_conversation(alice):
    chat, other = make_conversation(alice), make_conversation(alice)
    called = MessageDraft(role="assistant", content="x", extra={"id": "fc_1"})
    add_messages(conversation_id=other.pk, messages=[thought("rs_2")])
    stored = add_messages(
        conversation_id=chat.pk, messages=[thought("rs_1"), called, thought("rs_1")]
    )
    place = (alice.pk, chat.pk)
    assert message_of_sent_item(*place, "rs_1") == stored[2].id
    assert message_of_sent_item(*place, "fc_1") == stored[1].id
    for name in ("rs_2", "", "rs_"):
        assert message_of_sent_item(*place, name) is None
    assert message_of_sent_item(alice.pk + 1, chat.pk, "rs_1") is None


@pytest.mark.one_node("counts of tables are those of the coordinator")
def test_no_other_message_is_read(alice):
    chat = make_conversation(alice, messages=2_000)
    add_messages(conversation_id=chat.pk, messages=[thought(f"rs_{n}") for n in range(500)])
    analyze("conversations_message")
    for id_, most in (("rs_7", 1), ("rs_x", 0)):
        scans, rows = counted(lambda id_=id_: message_of_sent_item(alice.pk, chat.pk, id_))
        assert scans == 0
        assert rows <= most
