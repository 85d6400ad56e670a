"""The branches of a conversation as a plain tree, and that the database agrees with it."""

from conversations.models import Branch, Conversation, Message
from conversations.selectors.branches import BEGINNING, children_of, path_of, places_on

PAGE_SIZES = (1, 2, 3, 7)


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
        self.nodes, self.lines, self.active, self.last_number = [], {0: []}, 0, 0
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

    def node(self, given):
        """The message with this id; anything else is returned as it is."""
        return next((node for node in self.nodes if node.id == given), given)

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
        number = self.last_number = self.last_number + 1
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

    def newest_through(self, node):
        """Of the branches that have this message, the one that was written to last."""
        through = [number for number in self.lines if node in self.path(number)]
        return max(through, key=lambda number: self.nodes.index(self.lines[number][-1]))

    def alive(self):
        return [node for node in self.nodes if not node.deleted]

    def children(self, node):
        """Those whose nearest message that is still there, towards the beginning, is this one."""
        return [each for each in self.alive() if self.parent(each) is node]

    @staticmethod
    def parent(node):
        above = (each for each in node.ancestors() if each is not node and not each.deleted)
        return next(above, None)


def check(chat, tree):
    """Every path, page in both directions, sibling list and count is that of the tree."""
    stored = Conversation.objects.get(pk=chat.pk)
    assert stored.message_count == len(tree.alive())
    assert stored.active_branch == tree.active
    assert stored.branch_count == len(tree.lines)
    messages = Message.objects.of(chat.user_id, chat.pk)
    assert messages.count() == len(tree.alive())
    for number in tree.lines:
        check_path(chat, messages, number, tree)


def check_path(chat, messages, number, tree):
    nodes = tree.path(number)
    wanted = [node.id for node in nodes]
    path = path_of(chat.user_id, chat.pk, number)
    places = places_on(messages, path, limit=1_000)
    ids = {row.sequence: row.id for row in messages}
    assert [ids[sequence] for _, sequence in places] == wanted
    for size in PAGE_SIZES:
        assert paged(messages, path, size, False) == places
        assert paged(messages, path, size, True) == places[::-1]
    stored = Branch.objects.of(chat.user_id, chat.pk).filter(number=number).first()
    assert stored is None or stored.length == len(wanted)
    found = children_of(chat.user_id, chat.pk, [BEGINNING, *places])
    for node, place in zip([None, *nodes], [BEGINNING, *places], strict=True):
        assert found.get(place, []) == [child.id for child in tree.children(node)]


def paged(messages, path, size, descending):
    found, bounds = [], {}
    while page := places_on(messages, path, limit=size, descending=descending, **bounds):
        found += page
        last = page[-1][1]
        bounds = {"until": last - 1} if descending else {"after": last}
    return found
