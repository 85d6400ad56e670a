"""What an ordinary user asks of the database names the owner in each statement."""

import re
from collections import Counter

import pytest
from django.db import connection

from conversations.db.owners import is_distributed
from conversations.models import Message
from conversations.selectors.completions import completion_row, completion_rows, rows_asked
from conversations.selectors.sent_items import conversations_of, message_of_sent_item
from conversations.selectors.token_holders import TOKEN
from conversations.services import MessageDraft, add_messages
from conversations.services.functions import FUNCTIONS
from conversations.services.recorded_turns import NamedChat
from conversations.services.turns import save_progress
from conversations.tests.factories import access_of, make_conversation
from conversations.tests.services.resent import UNNAMED, ask, begin, end

pytestmark = pytest.mark.django_db

TABLES = re.compile(
    r"conversations_(conversation|message|branch|conversationnote|review|tombstone|legalholdrecord|unstoredturn|conversationcount|f_\w+)\b"
)
# `user_id = 7`, of whichever alias. Of an INSERT the rows say it, an EXISTS in it by a join.
# A function of the database has the owner as its first argument.
NAMES_OWNER = re.compile(r"\"?user_id\"? = \(?\d|conversations_f_\w+\(\d")
# On one server: whether an id that a client gives was that of anybody's deleted conversation.
OF_ANY_OWNER = 'FROM "conversations_tombstone" WHERE ("conversations_tombstone"."conversation_id" ='
OF_MANY_OWNERS = re.compile(r"user_id\"? IN|GROUPING SETS| OR \S*user_id")


def requests(api, chat, message):
    """Each route that reads or writes a conversation, as a name and what is sent."""
    sessions, messages = "/api/chat-history/sessions", f"/api/conversations/{chat.pk}/messages"
    one = f"{messages}/{message}"
    body = {"role": "user", "content": "Hello"}
    yield "list", lambda: api.get("/api/conversations")
    yield "filtered list", lambda: api.get("/api/conversations?has_rating=true&archived=false")
    yield "get or create", lambda: api.post("/api/conversations")
    yield "create", lambda: api.post("/api/conversations", {"title": "x"}, format="json")
    yield (
        "create with messages",
        lambda: api.post(
            "/api/conversations", {"external_id": "x", "messages": [body]}, format="json"
        ),
    )
    yield (
        "create many",
        lambda: api.post(
            "/api/conversations/bulk",
            {"conversations": [{"messages": [body]}] * 2},
            format="json",
        ),
    )
    yield "find by external id", lambda: api.get("/api/conversations?external_id=x&tag=t")
    yield "detail", lambda: api.get(f"/api/conversations/{chat.pk}")
    yield "history", lambda: api.get(messages)
    yield "filtered history", lambda: api.get(f"{messages}?role=user&after_sequence=1")
    yield "append", lambda: api.post(messages, body, format="json")
    yield (
        "append again",
        lambda: api.post(messages, body, format="json", HTTP_IDEMPOTENCY_KEY="k"),
    )
    yield (
        "append again, the same",
        lambda: api.post(messages, body, format="json", HTTP_IDEMPOTENCY_KEY="k"),
    )
    yield "bulk", lambda: api.post(messages, {"messages": [body, body]}, format="json")
    yield "message", lambda: api.get(one)
    yield "rate", lambda: api.patch(one, {"rating": 1}, format="json")
    yield "search", lambda: api.get("/api/search?q=hello")
    yield "search for a phrase", lambda: api.get('/api/search?q="hello there" OR x')
    yield "all messages", lambda: api.get("/api/messages?tag=t&metadata[a]=1&role=user")
    yield "usage", lambda: api.get("/api/usage?group_by=day,user,model")
    yield "search by marks", lambda: api.get("/api/search?q=x&tag=t&metadata[a]=1&rating=1")
    yield "sessions", lambda: api.get(sessions)
    yield "session", lambda: api.get(f"{sessions}/{chat.pk}")
    opened = api.post(messages, {"role": "assistant", "status": "streaming"}, format="json").json()
    answer = f"{messages}/{opened['id']}"
    yield (
        "write an answer",
        lambda: api.patch(answer, {"append": {"content": "x"}, "offset": 0}, format="json"),
    )
    yield "write it again", lambda: api.patch(answer, {"content": "xy"}, format="json")
    yield "end it", lambda: api.patch(answer, {"status": "complete"}, format="json")
    yield (
        "archive",
        lambda: api.patch(f"/api/conversations/{chat.pk}", {"archived": True}, format="json"),
    )
    yield from requests_about_branches(api, f"/api/conversations/{chat.pk}", str(message))
    yield from requests_of_openai(api, f"/v1/conversations/{chat.pk}")
    yield "delete message", lambda: api.delete(one)
    yield "clear", lambda: api.delete(messages)
    yield (
        "open another",
        lambda: api.post(messages, {"role": "assistant", "status": "streaming"}, format="json"),
    )
    yield (
        "delete many",
        lambda: api.post(
            "/api/conversations/delete",
            {"ids": [api.post("/api/conversations").json()["id"]]},
            format="json",
        ),
    )
    yield "delete", lambda: api.delete(f"/api/conversations/{chat.pk}")


def requests_about_branches(api, chat, message):
    body = {"role": "user", "content": "x"}
    yield "branches of a line", lambda: api.get(f"{chat}/branches")
    other = body | {"parent_id": message}
    key = {"Idempotency-Key": "b"}
    for name in ("open a branch", "open it again, the same"):
        yield name, lambda: api.post(f"{chat}/messages", other, headers=key)
    yield "append to a branch", lambda: api.post(f"{chat}/messages", body)
    yield "branches", lambda: api.get(f"{chat}/branches")
    yield "show a branch", lambda: api.patch(chat, {"active_branch": 0})
    yield "show one through a message", lambda: api.patch(chat, {"active_message_id": message})
    yield "list with branches", lambda: api.get("/api/conversations")
    yield "fork", lambda: api.post(f"{chat}/fork", {"message_id": message})
    yield "delete a branch", lambda: api.delete(f"{chat}/branches/1")


def requests_of_openai(api, chat):
    items = {"items": [{"role": "user", "content": "x"}, {"type": "compaction", **COMPACTED}]}
    yield "v1 list", lambda: api.get("/v1/conversations?limit=1")
    yield "v1 list after", lambda: api.get(f"/v1/conversations?after={chat.rpartition('/')[2]}")
    yield "v1 create", lambda: api.post("/v1/conversations", items)
    yield "v1 retrieve", lambda: api.get(chat)
    yield "v1 update", lambda: api.post(chat, {"metadata": {"a": "b"}})
    yield "v1 add items", lambda: api.post(f"{chat}/items", items)
    yield "v1 items", lambda: api.get(f"{chat}/items?limit=1")
    yield "v1 items after", lambda: api.get(f"{chat}/items?after={COMPACTED['id']}")
    yield "v1 item", lambda: api.get(f"{chat}/items/{COMPACTED['id']}")
    yield "v1 delete item", lambda: api.delete(f"{chat}/items/{COMPACTED['id']}")


COMPACTED = {"id": "cmp_1", "encrypted_content": "eHg="}


@pytest.fixture
def sent(api, alice, statements):
    """The statements on the tables of owners, by request."""
    chat = make_conversation(alice)
    drafts = [
        MessageDraft(role="user", content="hello there"),
        MessageDraft(role="user", content="x"),
    ]
    message = add_messages(conversation_id=chat.pk, messages=drafts, access=access_of(alice))[0]
    found = {}
    for name, send in requests(api, chat, message.id):
        with statements() as seen:
            assert send().status_code < 300, name
        found[name] = [sql for sql in seen if TABLES.search(sql) and TOKEN.name not in sql]
    return found


@pytest.fixture
def sent_by_recorded_calls(alice, statements):
    """The statements of model calls that are recorded, and of their running answers."""
    other = [{"role": "user", "content": "Other?"}]
    first, name, conversation = [{"role": "user", "content": "One?"}], NamedChat(name="x"), {}
    second = [*first, {"role": "assistant", "content": "One."}, {"role": "user", "content": "Two?"}]

    def asked(history, **changes):
        conversation["turn"] = ask(alice, history, "One.", **changes)

    def look_up():
        turn = conversation["turn"]
        place = (turn.owner_id, turn.conversation_id)
        message_of_sent_item(*place, "msg_1")
        conversations_of(alice.pk, [turn.id])
        assert completion_row(*place, turn.id)
        row = Message.objects.of(*place).get(id=turn.id)
        limits = {"after": None, "descending": True, "limit": 5}
        assert rows_asked(*place, (row.branch, row.sequence), **limits)
        assert completion_rows(alice.pk, model="m", metadata={}, **limits | {"after": turn.id})

    def run():
        turn = begin(alice, other, chat=UNNAMED)
        assert save_progress([turn])[turn.id].is_written
        end(turn, "Yes.")

    calls = {
        "a new one": lambda: asked(first, chat=name),
        "a named one goes on": lambda: asked(second, chat=name),
        "another question": lambda: asked([*second[:2], *other], chat=name),
        "another answer": lambda: asked(second, chat=name),
        "another beginning": lambda: asked(other, chat=name),
        "along another branch": lambda: asked([*second[:2], *other, *second[1:]], chat=name),
        "without the beginning": lambda: asked(second[1:] + second[1:], chat=name),
        "a new one without a name": lambda: asked(first, chat=UNNAMED, key="k"),
        "one without a name goes on": lambda: asked(second, chat=UNNAMED),
        "a failed one": lambda: asked(other, chat=UNNAMED, status="failed"),
        "a failed one again": lambda: asked(other, chat=UNNAMED),
        "a running answer": run,
        "stored completions": look_up,
    }
    found = {}
    for call, make in calls.items():
        with statements() as seen:
            make()
        found[call] = [sql for sql in seen if TABLES.search(sql)]
    return found


SOURCES = ["sent", "sent_by_recorded_calls"]


@pytest.mark.parametrize("source", SOURCES)
def test_every_statement_names_the_owner(request, source):
    sent = request.getfixturevalue(source)
    assert all(sent.values())
    for name, statements in sent.items():
        for sql in statements:
            if not sql.startswith("INSERT"):
                asks_all = OF_ANY_OWNER in sql and not is_distributed()
                assert asks_all or NAMES_OWNER.search(sql), f"{name}: {sql}"
            assert not OF_MANY_OWNERS.search(sql), f"{name}: {sql}"


# Tokens are looked up before anybody is known.
OF_OWNERS = [function for function in FUNCTIONS if function is not TOKEN]


@pytest.mark.parametrize("function", OF_OWNERS, ids=lambda function: function.name)
def test_every_statement_within_a_function_names_the_owner(function):
    tables = re.findall(r"(?:FROM|JOIN|UPDATE) conversations_\w+ (\w+)", function.definition)
    owners = re.findall(r"(\w+)\.user_id = owner", function.definition)
    assert tables
    assert Counter(tables) == Counter(owners)


@pytest.mark.cluster
@pytest.mark.parametrize("source", SOURCES)
def test_every_statement_runs_on_one_node(request, source):
    sent = request.getfixturevalue(source)
    for name, statements in sent.items():
        for sql in statements:
            if "FROM conversations_f_" in sql:
                continue  # each of its own statements names the owner: see above
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}")
                plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Task Count: 1\n" in plan + "\n", f"{name}: {sql}\n{plan}"
