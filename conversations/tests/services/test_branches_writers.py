"""Several writers at once on the branches of one conversation: what is stored is the tree that the
acknowledged calls make, in the order in which they held the conversation's lock."""

import threading
import uuid
from functools import partial
from itertools import count, pairwise

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversations.formats import MessageDraft
from conversations.models import Conversation, Message
from conversations.services import (
    SCRIPT,
    Deleted,
    ServiceError,
    append_drafts,
    delete_message,
    update_conversation,
)
from conversations.services.branches import delete_branch, fork_conversation
from conversations.tests.factories import make_conversation, make_user
from conversations.tests.services.branch_tree import Tree, check

NUMBERS = count()
WRITERS = 4
PICKS = st.integers(0, 40)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(["end", "root"]), st.booleans()),
    st.tuples(st.just("answer"), PICKS, st.booleans()),
    st.tuples(st.just("regenerate"), PICKS, st.booleans()),
    st.tuples(st.just("tree"), PICKS, st.lists(st.integers(-1, 3), min_size=1, max_size=4)),
    st.tuples(st.just("show"), PICKS),
    st.tuples(st.just("show_through"), PICKS),
    st.tuples(st.just("delete"), PICKS),
    st.tuples(st.just("delete_branch"), st.integers(1, 12)),
    st.tuples(st.just("fork"), PICKS),
)


class Writers:
    """Threads with connections of their own; `log` has what was acknowledged, in order."""

    def __init__(self):
        self.owner = make_user(f"owner{next(NUMBERS)}")
        self.chat = make_conversation(self.owner)
        self.log, self.ids, self.failures = [], [], []
        self.place = {"conversation_id": self.chat.pk, "access": SCRIPT}

    def run(self, plans):
        gate = threading.Barrier(len(plans))
        threads = [
            threading.Thread(target=self._write, args=(gate, number, plan))
            for number, plan in enumerate(plans)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not self.failures

    def _write(self, gate, writer, plan):
        gate.wait()
        try:
            for place, (kind, *given) in enumerate(plan):
                try:
                    getattr(self, f"_{kind}")(f"{writer}.{place}", *given)
                except ServiceError:
                    continue  # a parent, a message or a branch is gone meanwhile
        except Exception as failure:
            self.failures.append(failure)
        finally:
            connection.close()

    def _acknowledged(self, kind, call, note=lambda result: None):
        """The lock that the call takes is held until the end: the log is in its order."""
        with transaction.atomic():
            result = call()
            self.log.append((kind, note(result)))
        return result

    def _picked(self, pick):
        return self.ids[pick % len(self.ids)] if self.ids else None

    def _add(self, name, parents, activate, ids=(None,)):
        drafts = [
            MessageDraft(role="user", content=f"{name}.{at}", id=id_) for at, id_ in enumerate(ids)
        ]
        key = name if ids == (None,) else None
        asked = {"drafts": drafts, "parents": parents, "key": key, **self.place}
        rows, _ = self._acknowledged(
            "append",
            partial(append_drafts, **asked, activate=activate),
            lambda result: (result[0], parents, activate),
        )
        self.ids += [row["id"] for row in rows]
        try:
            again, is_new = append_drafts(**asked)
        except Deleted:
            return
        assert not is_new
        assert [row["id"] for row in again] == [row["id"] for row in rows]

    def _append(self, name, where, activate):
        self._add(name, ["root" if where == "root" else None], activate)

    def _answer(self, name, pick, activate):
        self._add(name, [self._picked(pick)], activate)

    def _regenerate(self, name, pick, activate):
        """A sibling of an answer: after the message that it followed when it was stored."""
        chosen = self._picked(pick)
        for kind, noted in list(self.log):
            if kind == "append" and noted[0][0]["id"] == chosen:
                self._add(name, noted[1][:1], activate)

    def _tree(self, name, pick, follows):
        ids = tuple(uuid.uuid4() for _ in range(len(follows) + 1))
        inner = [None if at < 0 else ids[min(at, place)] for place, at in enumerate(follows)]
        self._add(name, [self._picked(pick), *inner], True, ids)

    def _update(self, **changes):
        updated = self._acknowledged(
            "show",
            partial(update_conversation, changes=changes, **self.place),
            lambda conversation: conversation.active_branch,
        )
        assert "active_message_id" in changes or updated.active_branch == changes["active_branch"]

    def _show(self, name, number):
        self._update(active_branch=number % 12)

    def _show_through(self, name, pick):
        if chosen := self._picked(pick):
            self._update(active_message_id=chosen)

    def _delete(self, name, pick):
        if chosen := self._picked(pick):
            self._acknowledged(
                "delete",
                partial(delete_message, message_id=chosen, **self.place),
                lambda _: chosen,
            )

    def _delete_branch(self, name, number):
        def active(_):
            return number, Conversation.objects.get(pk=self.chat.pk).active_branch

        call = partial(delete_branch, number=number, **self.place)
        self._acknowledged("delete_branch", call, active)

    def _fork(self, name, pick):
        if not (chosen := self._picked(pick)):
            return

        def copied(result):
            fork, _ = result
            rows = Message.objects.of(self.owner.pk, fork.pk).in_order()
            return chosen, list(rows.values_list("content", flat=True))

        call = partial(fork_conversation, message_id=chosen, **self.place)
        self._acknowledged("fork", call, copied)


def replayed(log):
    """The tree that the acknowledged calls make one after the other."""
    tree, said = Tree(), {}
    for kind, noted in log:
        if kind == "append":
            rows, parents, activate = noted
            before = tree.active
            for row, parent in zip(rows, parents, strict=True):
                said[row["id"]] = row["content"]
                tree.active = tree.add(row["id"], tree.node(parent))
            tree.active = tree.active if activate else before
        elif kind == "show":
            tree.active = noted
            assert noted in tree.lines
        elif kind == "delete":
            tree.node(noted).deleted = True
        elif kind == "delete_branch":
            number, tree.active = noted
            assert tree.delete_branch(number)
            assert tree.active in tree.lines
        else:
            message, contents = noted
            path = [node for node in tree.node(message).ancestors() if not node.deleted]
            assert contents == [said[node.id] for node in reversed(path)]
    return tree


@pytest.mark.django_db(transaction=True)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans=st.lists(st.lists(STEPS, min_size=6, max_size=9), min_size=WRITERS, max_size=WRITERS))
def test_several_writers_make_the_tree_of_what_was_acknowledged(plans):
    writers = Writers()
    writers.run(plans)
    rows = [row for kind, noted in writers.log if kind == "append" for row in noted[0]]
    sequences = [row["sequence"] for row in rows]
    assert all(before + 1 == after for before, after in pairwise(sequences))
    check(writers.chat, replayed(writers.log))
