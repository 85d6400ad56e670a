"""Which branch is the newest through a message, against the stored paths of all branches."""

import random

import pytest

from conversations.models import Branch, Message
from conversations.selectors.newest_branches import branches_by_activity, newest_through
from conversations.services import SCRIPT, delete_message
from conversations.services.branches import delete_branch
from conversations.services.errors import ServiceError
from conversations.tests.branched import append, regenerated
from conversations.tests.factories import make_conversation


@pytest.mark.parametrize("seed", range(6))
def test_the_newest_branch_through_each_message_has_it_on_its_path(alice, seed):
    chat, choice = make_conversation(alice, 2), random.Random(seed)
    for _ in range(30):
        ids = list(Message.objects.values_list("id", flat=True).order_by("sequence"))
        append(chat, "u", parent=choice.choice([None, "root", *ids[-3:], *ids]))
    for message_id in choice.sample(ids, 5):
        delete_message(conversation_id=chat.pk, message_id=message_id, access=SCRIPT)
    for number in choice.sample(range(1, 6), 2):
        try:
            delete_branch(conversation_id=chat.pk, number=number, access=SCRIPT)
        except ServiceError:
            continue  # it is gone with the one that it forked from
    branches = branches_by_activity(alice.pk, chat.pk)
    paths = {branch.number: branch.path for branch in Branch.objects.all()}
    places = list(Message.objects.values_list("branch", "sequence"))
    assert len(branches) > 2
    assert newest_through(branches, places) == {
        place: next(each.number for each in branches if paths[each.number].covers(*place))
        for place in places
    }


def test_branches_come_by_activity(alice, statements):
    chat = regenerated(alice)
    append(chat, "u", parent=Message.objects.get(sequence=5).id)
    with statements() as seen:
        branches = branches_by_activity(alice.pk, chat.pk)
    assert [branch.number for branch in branches] == [3, 7, 6, 5, 4, 2, 1, 0]
    assert len(seen) == 1
    assert "segments" not in seen[0]
