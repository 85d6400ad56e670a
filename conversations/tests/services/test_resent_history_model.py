"""Histories that clients send again, against a plain tree of texts."""

from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from conversations.models import Branch, Conversation, Message
from conversations.selectors.branches import path_of, places_on
from conversations.services import SCRIPT
from conversations.services.branches import activate_branch
from conversations.services.recorded_turns import NamedChat
from conversations.tests.factories import make_user
from conversations.tests.services.resent import ask

NUMBERS = count()
# Few, so that messages are repeated at other places and as siblings of each other.
TEXTS = st.sampled_from(["a", "b", "c"])
OUTCOMES = st.sampled_from(["complete", "complete", "stopped", "failed"])


class Client(RuleBasedStateMachine):
    """A user interface: it has a tree of its own, shows one path of it, and sends that."""

    def __init__(self):
        super().__init__()
        self.owner = make_user(f"owner{next(NUMBERS)}")
        self.chat = NamedChat(name="chat")
        self.tree = {}  # the messages after a path: (role, text) -> such a tree
        self.path = []
        self.turns = self.edited_answers = 0

    def send(self, path, answer, outcome):
        self.add(path)
        history = [{"role": role, "content": text} for role, text in path]
        # A model that thinks, and a client that does not show it.
        said = f"<think>{self.turns}</think>\n{answer}" if answer == "c" else answer
        ask(self.owner, history, "" if outcome == "failed" else said, outcome, chat=self.chat)
        self.turns += 1
        if outcome == "failed":
            self.path = path
        else:
            self.path = [*path, ("assistant", answer)]
            self.add(self.path, by_model=True)

    def add(self, path, by_model=False):
        node = self.tree
        for role, text in path:
            if (role, text) not in node:
                node[role, text] = {}
                self.edited_answers += role == "assistant" and not by_model
            node = node[role, text]

    @rule(text=TEXTS, answer=TEXTS, outcome=OUTCOMES)
    def go_on(self, text, answer, outcome):
        self.send([*self.path, ("user", text)], answer, outcome)

    @rule(at=st.integers(0, 20), answer=TEXTS, outcome=OUTCOMES)
    def regenerate(self, at, answer, outcome):
        questions = [at for at, (role, _) in enumerate(self.path) if role == "user"]
        if questions:
            place = questions[at % len(questions)]
            self.send(self.path[: place + 1], answer, outcome)

    @rule(at=st.integers(0, 20), text=TEXTS, answer=TEXTS, outcome=OUTCOMES)
    def edit_question(self, at, text, answer, outcome):
        questions = [at for at, (role, _) in enumerate(self.path) if role == "user"]
        if questions:
            place = questions[at % len(questions)]
            self.send([*self.path[:place], ("user", text)], answer, outcome)

    @rule(at=st.integers(0, 20), question=TEXTS, answer=TEXTS)
    def edit_answer(self, at, question, answer):
        """To a text of its own: one that comes later would be taken for that, and what is between
        for left out."""
        answers = [at for at, (role, _) in enumerate(self.path) if role == "assistant"]
        if answers:
            place = answers[at % len(answers)]
            text = ("assistant", f"edited {self.turns}")
            edited = [*self.path[:place], text, *self.path[place + 1 :]]
            self.send([*edited, ("user", question)], answer, "complete")

    @rule(choices=st.lists(st.integers(0, 5), max_size=8))
    def switch(self, choices):
        """Show another path, without telling anybody."""
        node, self.path = self.tree, []
        for choice in choices:
            if not node:
                break
            step = sorted(node)[choice % len(node)]
            self.path.append(step)
            node = node[step]

    @rule(number=st.integers(0, 5))
    def activate(self, number):
        """Somebody shows another branch in another client."""
        chat = Conversation.objects.filter(user=self.owner).first()
        if chat and Branch.objects.of(self.owner.pk, chat.pk).filter(number=number).exists():
            activate_branch(conversation_id=chat.pk, number=number, access=SCRIPT)

    @invariant()
    def all_is_stored_once(self):
        rows = list(Message.objects.filter(user=self.owner))
        questions = sum(1 for path in paths_in(self.tree) if path[-1][0] == "user")
        assert sum(1 for row in rows if row.role == "user") == questions
        assert len(rows) == questions + self.turns + self.edited_answers
        assert stored_paths(self.owner) == set(map(tuple, paths_in(self.tree)))


def paths_in(tree):
    """To every message of the tree."""
    todo = [([], tree)]
    while todo:
        path, node = todo.pop()
        for step, following in node.items():
            yield [*path, step]
            todo.append(([*path, step], following))


def stored_paths(owner):
    """To every stored message, without answers that failed."""
    chat = Conversation.objects.filter(user=owner).first()
    if chat is None:
        return set()
    place = (owner.pk, chat.pk)
    messages = Message.objects.of(*place)
    rows = {row.sequence: row for row in messages}
    numbers = list(Branch.objects.of(*place).values_list("number", flat=True)) or [0]
    found = set()
    for number in numbers:
        path = []
        for _, sequence in places_on(messages, path_of(*place, number), limit=1_000):
            row = rows[sequence]
            if row.content:
                path.append((row.role, row.content.rpartition("\n")[2]))
                found.add(tuple(path))
    return found


@pytest.mark.django_db
def test_histories_are_stored_as_a_plain_tree_has_them():
    run_state_machine_as_test(
        Client,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
