"""The data and the number of SQL queries of an export."""

import json

from conversations.models import Conversation, Message
from conversations.services import SCRIPT, export_conversations, review_message
from conversations.tests.factories import access_of, make_conversation


def review(conversation, message, staff):
    review_message(
        conversation_id=conversation.pk,
        message_id=message.id,
        score=1,
        labels=["kind"],
        access=access_of(staff, reader=True, writer=True),
    )


def exported():
    pieces = export_conversations(
        conversations=Conversation.objects.all(), file_format="json", access=SCRIPT
    )
    return [json.loads(line) for line in "".join(pieces).splitlines()]


def test_reviews_are_read_for_many_messages_at_once(alice, staff, statements):
    make_conversation(alice, 6)
    reviewed = make_conversation(alice, 6)
    for message in Message.objects.filter(conversation=reviewed):
        review(reviewed, message, staff)
    with statements() as seen:
        chats = exported()
    assert len([sql for sql in seen if "conversations_review" in sql]) == 2
    assert [len(message["reviews"]) for chat in chats for message in chat["messages"]] == (
        [0] * 6 + [1] * 6
    )
    assert chats[1]["messages"][0]["reviews"][0]["labels"] == ["kind"]
