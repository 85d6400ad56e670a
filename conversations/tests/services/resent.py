"""Clients of a chat API that send the whole history with each request, and what is stored of it."""

from conversations.formats.sent_messages import sent_messages
from conversations.models import Branch, Conversation, Message
from conversations.selectors.branches import path_of, places_on
from conversations.services.recorded_turns import NamedChat, begin_recorded_turn
from conversations.services.turns import finish_turn
from conversations.tests.chat.turns import ended

CHAT = NamedChat(name="chat")
UNNAMED = NamedChat()


def user(content, **more):
    return {"role": "user", "content": content} | more


def assistant(content, **more):
    return {"role": "assistant", "content": content} | more


def system(content):
    return {"role": "system", "content": content}


def call(id_, arguments="{}"):
    function = {"name": "look_up", "arguments": arguments}
    return {"id": id_, "type": "function", "function": function}


def result(id_, content):
    return {"role": "tool", "tool_call_id": id_, "content": content}


def request(owner, history, **changes):
    """The arguments of `begin_recorded_turn`."""
    given = {"owner": owner, "chat": CHAT, "drafts": sent_messages(history)}
    return given | {"provider": "p", "model": "m"} | changes


def begin(owner, history, **changes):
    return begin_recorded_turn(**request(owner, history, **changes))[0]


def end(turn, content="", status="complete"):
    finish_turn(ended(turn, status, "stop" if status == "complete" else None, content=content))


def ask(owner, history, answer, status="complete", **changes):
    """The turn of a request that was answered so."""
    turn = begin(owner, history, **changes)
    end(turn, answer, status)
    return turn


def stored(owner):
    """The role and the content of all messages of the owner, by sequence."""
    # The owner of both: on a cluster the two tables are then read on one node.
    rows = Message.objects.filter(user=owner, conversation__user=owner)
    rows = rows.order_by("conversation__created_at", "sequence")
    return list(rows.values_list("role", "content"))


def contents(owner):
    return [content for _, content in stored(owner)]


def paths(chat):
    """The contents of each branch of a conversation, in the order of the branches."""
    place = (chat.user_id, chat.pk)
    numbers = Branch.objects.of(*place).order_by("number").values_list("number", flat=True)
    messages = Message.objects.of(*place)
    said = dict(messages.values_list("sequence", "content"))
    found = []
    for number in numbers or [0]:
        places = places_on(messages, path_of(*place, number), limit=10_000)
        found.append([said[sequence] for _, sequence in places])
    return found


def shown(owner):
    """The contents of the active branch of the owner's only conversation."""
    chat = Conversation.objects.get(user=owner)
    place = (chat.user_id, chat.pk)
    messages = Message.objects.of(*place)
    said = dict(messages.values_list("sequence", "content"))
    path = path_of(*place, chat.active_branch)
    return [said[sequence] for _, sequence in places_on(messages, path, limit=10_000)]
