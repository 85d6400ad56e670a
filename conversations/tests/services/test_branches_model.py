"""Branches against a plain tree: every path, page, sibling list and count is equal."""

import uuid
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from conversations.formats import MessageDraft
from conversations.models import Message
from conversations.services import (
    SCRIPT,
    Conflict,
    append_drafts,
    clear_conversation,
    delete_message,
    update_conversation,
)
from conversations.services.branches import delete_branch, fork_conversation
from conversations.services.deleting import delete_first_messages
from conversations.tests.factories import make_conversation, make_user
from conversations.tests.services.branch_tree import Tree, check

NUMBERS = count()


class BranchMachine(RuleBasedStateMachine):
    messages = Bundle("messages")

    def __init__(self):
        super().__init__()
        self.owner = make_user(f"owner{next(NUMBERS)}")
        self.chat = make_conversation(self.owner)
        self.tree = Tree()

    def _append(self, parents, activate, ids=None):
        ids = ids or [None] * len(parents)
        drafts = [MessageDraft(role="user", content="x", id=id_) for id_ in ids]
        rows, _ = append_drafts(
            conversation_id=self.chat.pk,
            drafts=drafts,
            parents=[getattr(parent, "id", parent) for parent in parents],
            activate=activate,
            access=SCRIPT,
        )
        before = self.tree.active
        for row, parent in zip(rows, parents, strict=True):
            self.tree.active = self.tree.add(row["id"], self.tree.node(parent))
        if not activate:
            self.tree.active = before
        return self.tree.nodes[-1]

    @rule(target=messages, activate=st.booleans())
    def append(self, activate):
        return self._append([None], activate)

    @rule(target=messages, activate=st.booleans())
    def begin_again(self, activate):
        return self._append(["root"], activate)

    @rule(target=messages, parent=messages, activate=st.booleans())
    def answer(self, parent, activate):
        if parent.deleted:
            parent = None
        return self._append([parent], activate)

    @rule(target=messages, parent=messages, count=st.integers(2, 4))
    def append_many(self, parent, count):
        return self._append([None if parent.deleted else parent, *[None] * (count - 1)], True)

    @rule(
        target=messages,
        parent=messages,
        follows=st.lists(st.integers(-2, 5), min_size=1, max_size=8),
        activate=st.booleans(),
    )
    def append_tree(self, parent, follows, activate):
        """In one request: -2 is a beginning, -1 the message before, others an earlier message."""
        ids = [uuid.uuid4() for _ in range(len(follows) + 1)]
        named = {-2: "root", -1: None} | dict(enumerate(ids))
        parents = [named[min(at, place)] for place, at in enumerate(follows)]
        self._append([None if parent.deleted else parent, *parents], activate, ids)
        return self.tree.nodes[-1]

    @rule(number=st.integers(0, 8))
    def activate(self, number):
        if number in self.tree.lines and (number or len(self.tree.lines) > 1):
            self._show(active_branch=number)
            self.tree.active = number

    @rule(node=messages)
    def activate_through(self, node):
        if node.deleted:
            return
        self._show(active_message_id=node.id)
        self.tree.active = self.tree.newest_through(node)

    def _show(self, **changes):
        update_conversation(conversation_id=self.chat.pk, changes=changes, access=SCRIPT)

    @rule(node=messages)
    def delete(self, node):
        if not node.deleted:
            delete_message(conversation_id=self.chat.pk, message_id=node.id, access=SCRIPT)
            node.deleted = True

    @rule(count=st.integers(1, 6))
    def shorten(self, count):
        """Without the oldest messages, as a removal in parts leaves it."""
        self.chat.refresh_from_db()
        if count >= self.chat.message_count:
            return
        sequences = dict(Message.objects.values_list("id", "sequence"))
        left = [node for node in self.tree.nodes if node.id in sequences]
        for node in sorted(left, key=lambda node: sequences[node.id])[:count]:
            node.deleted = True
        part = delete_first_messages(self.chat, count)
        assert (part.messages, part.is_last) == (count, False)

    @rule()
    def clear(self):
        clear_conversation(conversation_id=self.chat.pk, access=SCRIPT)
        for node in self.tree.nodes:
            node.deleted = True
        self.tree = Tree()

    @rule(number=st.integers(0, 4))
    def delete_branch(self, number):
        if number not in self.tree.lines:
            return
        try:
            delete_branch(conversation_id=self.chat.pk, number=number, access=SCRIPT)
        except Conflict:
            assert not self.tree.delete_branch(number)
            return
        assert self.tree.delete_branch(number)
        if self.tree.active not in self.tree.lines:
            self.chat.refresh_from_db()
            self.tree.active = self.chat.active_branch
            assert self.tree.active in self.tree.lines

    @rule(node=messages)
    def fork(self, node):
        if node.deleted:
            return
        fork, _ = fork_conversation(conversation_id=self.chat.pk, message_id=node.id, access=SCRIPT)
        copied = [each for each in node.ancestors() if not each.deleted]
        assert (fork.message_count, fork.forked_from) == (len(copied), self.chat.pk)
        assert Message.objects.of(self.owner.pk, fork.pk).count() == len(copied)

    @invariant()
    def the_database_agrees(self):
        check(self.chat, self.tree)


@pytest.mark.django_db
def test_branches_agree_with_a_plain_tree():
    run_state_machine_as_test(
        BranchMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
