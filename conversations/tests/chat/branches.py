"""Conversations with branches, asked in by the chat API: what is stored, and what is shown."""

import pytest

from conversations.models import Conversation, Message
from conversations.selectors.branches import children_of, path_of, places_on
from conversations.tests.chat.scripted_behaviours import says

__all__ = ["key", "no_system_prompt", "talk"]


def refusal(answer):
    error = answer.body["errors"][0]
    return answer.status, error["attr"], error["code"]


def contents(conversation_id, number=None):
    """The texts along the path of a branch, by default the active one."""
    chat = Conversation.objects.get(pk=conversation_id)
    path = path_of(chat.user_id, chat.pk, chat.active_branch if number is None else number)
    messages = Message.objects.of(chat.user_id, chat.pk)
    sequences = [sequence for _, sequence in places_on(messages, path, limit=1_000)]
    rows = messages.filter(sequence__in=sequences).in_order()
    return [row.content for row in rows]


def following(message_id):
    """The texts of what follows a message, in order of arrival: siblings of each other."""
    message = Message.objects.get(id=message_id)
    return children(message.user_id, message.conversation_id, (message.branch, message.sequence))


def children(owner_id, conversation_id, place):
    ids = children_of(owner_id, conversation_id, [place])[place]
    return [Message.objects.get(id=id_).content for id_ in ids]


def shown(scripted):
    """What the model was shown the last time."""
    return [content for _, content in scripted.chats[-1].messages]


@pytest.fixture(autouse=True)
def no_system_prompt(settings):
    settings.CHAT_SYSTEM_PROMPT = ""


@pytest.fixture
def talk(chat, scripted):
    """Two questions with their answers: the bodies of both responses."""
    scripted.script(says("1a"), says("2a"))
    first = chat.ask("One?").body
    return first, chat.ask("Two?", conversation_id=first["conversation_id"]).body


@pytest.fixture
def key(talk):
    return talk[0]["conversation_id"]


def user_messages():
    return list(Message.objects.filter(role="user").order_by("sequence"))
