"""A conversation with branches, written as an application writes one: with the parent of each."""

from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.factories import make_conversation

ROLES = {"u": "user", "a": "assistant"}
# Sequences of the messages on the path of each branch of `regenerated`.
PATHS = {
    0: [1, 2],
    1: [1, 3],
    2: [1, 4],
    3: [1, 5],
    4: [1, 6],
    5: [1, 7, 8, 9],
    6: [1, 7, 10, 11],
    7: [1, 7, 12, 13],
}


def append(chat, role, text="x", parent=None, **fields):
    """The id of a new message that follows `parent`, or without one the active branch's end."""
    draft = MessageDraft(role=ROLES.get(role, role), content=text, **fields)
    rows, _ = append_drafts(
        conversation_id=chat.pk, drafts=[draft], parents=[parent], from_client=False, access=SCRIPT
    )
    return rows[0]["id"]


def regenerated(owner, **fields):
    """An answer that was regenerated five times and then a question that was edited twice: eight
    branches, of which the newest is the active one. PATHS says which messages each has."""
    chat = make_conversation(owner, **fields)
    question = append(chat, "u", "Which city has the best museums?")
    append(chat, "a", "Version 1: go to Milano.")
    for number, city in enumerate(("Torino", "Roma", "Firenze", "Napoli", "Bologna"), start=2):
        answer = append(chat, "a", f"Version {number}: go to {city}.", question)
    for number, how in enumerate(("by train", "by bus", "on foot"), start=1):
        append(chat, "u", f"Edit {number}: how do I get there {how}?", answer)
        append(chat, "a", f"You get there {how} in {number} hours.")
    chat.refresh_from_db()
    return chat
