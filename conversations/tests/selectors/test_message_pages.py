"""Pages of messages as the database writes them: order, parents and siblings against a plain tree,
and the same JSON as from Python's values."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from conversations.api.renderers import FastJSONRenderer
from conversations.formats import MessageDraft
from conversations.models import Message
from conversations.models.branch_path import LAST
from conversations.selectors.message_pages import (
    ALL_BRANCHES,
    SHOWN_COLUMNS,
    messages_with_ids,
    page_of_messages,
)
from conversations.services import SCRIPT, append_drafts
from conversations.tests.factories import make_conversation, make_user
from conversations.tests.services.test_branches_model import BranchMachine


class PageMachine(BranchMachine):
    """The same tree, read by pages."""

    @invariant()
    def pages_agree(self):
        for number in self.tree.lines:
            wanted = [self._told(node) for node in self.tree.path(number)]
            for size, descending in ((1_000, False), (1_000, True), (1, False), (2, True)):
                found = self._pages(number, size, descending)
                assert found == (wanted[::-1] if descending else wanted)
        everything = [self._told(node) for node in self.tree.alive()]
        assert self._pages(ALL_BRANCHES, 1_000, False) == everything
        assert self._pages(ALL_BRANCHES, 3, True) == everything[::-1]
        assert self._pages(None, 1_000, False) == self._pages(self.tree.active, 1_000, False)
        ids = [node.id for node in self.tree.alive()[::2]]
        for descending in (False, True):
            found = messages_with_ids(self.owner.pk, self.chat.pk, ids, descending=descending)
            step = -1 if descending else 1
            assert _told(found) == everything[::2][::step]

    def _told(self, node):
        """Id, branch, parent and siblings of a message, as the plain tree has them."""
        parent = self.tree.parent(node)
        siblings = [str(each.id) for each in self.tree.children(parent)]
        position = siblings.index(str(node.id)) + 1
        told = {"position": position, "count": len(siblings), "ids": siblings}
        return (
            str(node.id),
            node.line,
            parent and str(parent.id),
            told if len(siblings) > 1 else None,
        )

    def _pages(self, number, size, descending):
        found, above, below, more = [], 0, LAST, True
        while more:
            page, other = (
                page_of_messages(
                    self.owner.pk,
                    self.chat.pk,
                    branch=number,
                    above=above,
                    below=below,
                    descending=descending,
                    backward=backward,
                    limit=size,
                )
                for backward in (False, True)
            )
            assert messages_of(other) == messages_of(page)[::-1]
            found += _told(page)
            more = page is not None and page.more
            if more and descending:
                below = page.first
            elif more:
                above = page.last
        return found


def messages_of(page):
    return json.loads(b"[%b]" % page.json) if page else []


def _told(page):
    return [
        tuple(message[name] for name in ("id", "branch", "parent_id", "siblings"))
        for message in messages_of(page)
    ]


@pytest.mark.django_db
def test_pages_agree_with_a_plain_tree():
    run_state_machine_as_test(
        PageMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


DRAFTS = [
    MessageDraft(role="user", content='Quotes " \\ and \n\t\x01, é, 漢字, 😀, </script>'),
    MessageDraft(
        role="assistant",
        content="",
        parts=[{"type": "text", "text": "\u2028", "big": 1e22, "deep": {"a": [None, True, 1.5]}}],
        tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        metadata={"": "", "k": [1, 2.50, "x"]},
        extra={"n": -0.0},
        sources=[],
        prompt_tokens=0,
        latency_ms=5,
        cost=Decimal("0.000000002500"),
        created_at=datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC),
    ),
    MessageDraft(
        role="tool",
        tool_call_id="c",
        name="",
        rating=-1,
        rating_comment="so",
        cost=Decimal(100),
        created_at=datetime(1999, 12, 31, 12, 0, 0, 120, tzinfo=UTC),
    ),
    MessageDraft(role="assistant", status="failed", error="no", finish_reason="x", cost=Decimal(0)),
]


@pytest.mark.django_db
@pytest.mark.parametrize("forked", [False, True])
def test_the_json_is_that_of_the_values(forked):
    owner = make_user("alice")
    chat = make_conversation(owner)
    append_drafts(conversation_id=chat.pk, drafts=DRAFTS, access=SCRIPT, from_client=False)
    if forked:
        again = MessageDraft(role="user", content="again")
        append_drafts(conversation_id=chat.pk, drafts=[again], parents=["root"], access=SCRIPT)
    found = page_of_messages(
        owner.pk, chat.pk, branch=0, limit=10, name_of_conversation="session_id"
    )
    stored = Message.objects.of(owner.pk, chat.pk).filter(branch=0).in_order()
    assert (found.branch, found.first, found.last, found.more) == (0, 1, len(DRAFTS), False)
    before = None
    for shown, values in zip(messages_of(found), stored.values(*SHOWN_COLUMNS), strict=True):
        expected = dict(values)
        expected["session_id"] = expected.pop("conversation_id")
        expected |= {"branch": 0, "parent_id": before, "siblings": None}
        if before is None and forked:
            assert shown.pop("siblings")["count"] == 2
            del expected["siblings"]
        assert shown == json.loads(FastJSONRenderer().render(expected))
        before = values["id"]


@pytest.mark.django_db
def test_nothing_of_another_owner_or_another_branch(alice, bob):
    chat = make_conversation(alice, messages=2)
    ids = list(Message.objects.values_list("id", flat=True))
    assert page_of_messages(bob.pk, chat.pk, limit=5) is None
    assert page_of_messages(alice.pk, make_conversation(bob, messages=1).pk, limit=5) is None
    assert page_of_messages(alice.pk, chat.pk, branch=1, limit=5) is None
    assert page_of_messages(alice.pk, chat.pk, above=2, limit=5) is None
    assert messages_with_ids(bob.pk, chat.pk, ids) is None
    assert len(messages_of(messages_with_ids(alice.pk, chat.pk, ids))) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("forked", [False, True])
def test_a_page_is_one_statement(alice, statements, forked):
    chat = make_conversation(alice, messages=20)
    if forked:
        again = MessageDraft(role="user", content="again")
        append_drafts(conversation_id=chat.pk, drafts=[again], parents=["root"], access=SCRIPT)
    with statements() as seen:
        assert page_of_messages(alice.pk, chat.pk, branch=0, limit=50)
    assert len(seen) == 1
