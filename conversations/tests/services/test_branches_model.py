"""Branches against a plain tree: every path, page, sibling list and count is equal."""

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
from conversations.models import Branch, Message
from conversations.selectors.branches import BEGINNING, children_of, path_of, places_on
from conversations.selectors.newest_branches import branches_by_activity, newest_through
from conversations.services import SCRIPT, append_drafts, clear_conversation, delete_message
from conversations.services.branches import activate_branch, delete_branch, fork_conversation
from conversations.services.errors import InvalidValue
from conversations.tests.factories import make_conversation, make_user

NUMBERS = count()


class Node:
    """A message of the plain tree; `line` is the chain of messages that one branch was given."""

    def __init__(self, id_, parent, line):
        self.id, self.parent, self.line, self.deleted = id_, parent, line, False

    def ancestors(self):
        node = self
        while node is not None:
            yield node
            node = node.parent


class Tree:
    """The rules of branches, said once more without sequences, segments or tables."""

    def __init__(self):
        self.nodes, self.lines, self.active = [], {0: []}, 0
        self.begun_at = {0: None}

    def path(self, number):
        line = self.lines[number]
        before = self.begun_at[number]
        nodes = [*reversed(list(before.ancestors())), *line] if before else list(line)
        return [node for node in nodes if not node.deleted]

    def add(self, id_, parent):
        number = self._number_for(parent)
        line = self.lines[number]
        before = line[-1] if line else self.begun_at[number]
        node = Node(id_, before, number)
        line.append(node)
        self.nodes.append(node)
        return number

    def _number_for(self, parent):
        if parent is None:
            return self.active
        if parent == "root":
            if not self.alive():
                return self.active
            return self._new(None)
        follows = [node for node in self.lines[parent.line] if not node.deleted]
        if follows and follows[-1] is parent:
            return parent.line
        return self._new(parent)

    def _new(self, parent):
        number = self.last_number = getattr(self, "last_number", 0) + 1
        self.lines[number], self.begun_at[number] = [], parent
        return number

    def delete_branch(self, number):
        """With those that forked from it; False where none would be left."""
        gone = {number}
        for each, node in sorted(self.begun_at.items()):
            if node is not None and self._holds(node, gone):
                gone.add(each)
        if len(gone) == len(self.lines):
            return False
        for each in gone:
            for node in self.lines.pop(each):
                node.deleted = True
            del self.begun_at[each]
        return True

    @staticmethod
    def _holds(node, gone):
        """Whether the newest message that is left, up to this one, is of these branches."""
        above = [each for each in node.ancestors() if not each.deleted]
        return bool(above) and above[0].line in gone

    def alive(self):
        return [node for node in self.nodes if not node.deleted]

    def children(self, node):
        """Those whose nearest message that is still there, towards the beginning, is this one."""
        return [each for each in self.alive() if self.parent(each) is node]

    @staticmethod
    def parent(node):
        above = (each for each in node.ancestors() if each is not node and not each.deleted)
        return next(above, None)


class BranchMachine(RuleBasedStateMachine):
    messages = Bundle("messages")

    def __init__(self):
        super().__init__()
        self.owner = make_user(f"owner{next(NUMBERS)}")
        self.chat = make_conversation(self.owner)
        self.tree = Tree()

    def _append(self, parents, activate):
        drafts = [MessageDraft(role="user", content="x") for _ in parents]
        rows, _ = append_drafts(
            conversation_id=self.chat.pk,
            drafts=drafts,
            parents=[getattr(parent, "id", parent) for parent in parents],
            activate=activate,
            access=SCRIPT,
        )
        before = self.tree.active
        for row, parent in zip(rows, parents, strict=True):
            self.tree.active = self.tree.add(row["id"], parent)
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

    @rule(number=st.integers(0, 8))
    def activate(self, number):
        if number in self.tree.lines and (number or len(self.tree.lines) > 1):
            activate_branch(conversation_id=self.chat.pk, number=number, access=SCRIPT)
            self.tree.active = number

    @rule(node=messages)
    def delete(self, node):
        if not node.deleted:
            delete_message(conversation_id=self.chat.pk, message_id=node.id, access=SCRIPT)
            node.deleted = True

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
        except InvalidValue:
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
        _, fork, _ = fork_conversation(
            conversation_id=self.chat.pk, message_id=node.id, access=SCRIPT
        )
        copied = [each for each in node.ancestors() if not each.deleted]
        assert (fork.message_count, fork.forked_from) == (len(copied), self.chat.pk)
        assert Message.objects.of(self.owner.pk, fork.pk).count() == len(copied)

    @invariant()
    def the_database_agrees(self):
        self.chat.refresh_from_db()
        assert self.chat.message_count == len(self.tree.alive())
        assert self.chat.active_branch == self.tree.active
        assert self.chat.branch_count == len(self.tree.lines)
        for number in self.tree.lines:
            self._check_path(number)

    @invariant()
    def the_newest_branch_through_each_message_is_known(self):
        branches = branches_by_activity(self.owner.pk, self.chat.pk)
        rows = Message.objects.of(self.owner.pk, self.chat.pk) if branches else ()
        places = {row.id: (row.branch, row.sequence) for row in rows}
        newest = newest_through(branches, places.values())
        paths = {branch.number: self.tree.path(branch.number) for branch in branches}
        for node in self.tree.alive() if branches else ():
            through = [each.number for each in branches if node in paths[each.number]]
            assert newest[places[node.id]] == through[0]

    def _check_path(self, number):
        wanted = [node.id for node in self.tree.path(number)]
        path = path_of(self.owner.pk, self.chat.pk, number)
        messages = Message.objects.of(self.owner.pk, self.chat.pk)
        places = places_on(messages, path, limit=1_000)
        ids = {row.sequence: row.id for row in messages}
        assert [ids[sequence] for _, sequence in places] == wanted
        assert self._paged(messages, path, 2, False) == places
        assert self._paged(messages, path, 3, True) == places[::-1]
        stored = Branch.objects.of(self.owner.pk, self.chat.pk).filter(number=number).first()
        assert stored is None or stored.length == len(wanted)
        self._check_siblings(number, places)

    def _paged(self, messages, path, size, descending):
        found, bounds = [], {}
        while page := places_on(messages, path, limit=size, descending=descending, **bounds):
            found += page
            last = page[-1][1]
            bounds = {"until": last - 1} if descending else {"after": last}
        return found

    def _check_siblings(self, number, places):
        nodes = [None, *self.tree.path(number)]
        found = children_of(self.owner.pk, self.chat.pk, [BEGINNING, *places])
        for node, place in zip(nodes, [BEGINNING, *places], strict=True):
            assert found.get(place, []) == [child.id for child in self.tree.children(node)]


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
