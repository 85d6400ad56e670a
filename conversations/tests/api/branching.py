"""Conversations with branches, made over HTTP, and what is on each branch."""

import uuid

from conversations.models import Message
from conversations.selectors.branches import path_of, places_on

LIST = "/api/conversations"


def say(api, chat, content, **fields):
    """Append a message; the answer."""
    body = {"role": "user", "content": content} | fields
    return api.post(f"{LIST}/{chat}/messages", body)


def said(api, chat, content, **fields):
    """The id of a message that is appended now."""
    answer = say(api, chat, content, **fields)
    assert answer.status_code == 201, answer.content
    return answer.json()["id"]


def new_chat(api, **fields):
    return api.post(LIST, fields).json()["id"]


def on_branch(chat, number):
    """The contents of the messages on a branch, from the beginning to its end."""
    chat = uuid.UUID(str(chat))
    owner = Message.objects.filter(conversation_id=chat).values_list("user_id", flat=True)[0]
    messages = Message.objects.of(owner, chat)
    places = places_on(messages, path_of(owner, chat, number), limit=10_000)
    contents = dict(messages.values_list("sequence", "content"))
    return [contents[sequence] for _, sequence in places]


def listed(api, chat, face=LIST):
    answer = api.get(f"{face}/{chat}/branches")
    assert answer.status_code == 200, answer.content
    return answer.json()["branches"]


def forked_chat(api):
    """A question, two answers and an edited question: the chat, and the ids by content."""
    chat, ids = new_chat(api), {}
    ids["q"] = said(api, chat, "q")
    ids["a1"] = said(api, chat, "a1", role="assistant")
    ids["a2"] = said(api, chat, "a2", role="assistant", parent_id=ids["q"])
    ids["q2"] = said(api, chat, "q2", parent_id="root")
    return chat, ids
