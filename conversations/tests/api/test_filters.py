import pytest

from conversations.models import Conversation
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    update_conversation,
    update_message,
)
from conversations.tests.factories import make_conversation

pytestmark = pytest.mark.django_db
LIST = "/api/conversations"


@pytest.fixture
def chats(alice):
    """Three conversations: a plain one, a pinned one, an archived and rated one."""
    plain = make_conversation(alice, title="Plain", model_used="llama3")
    pinned = make_conversation(alice, title="Pinned trip", metadata={"topic": "travel", "n": 5})
    rated = make_conversation(alice, title="Rated", metadata={"topic": "cars", "done": True})
    update_conversation(conversation_id=pinned.pk, changes={"pinned": True}, access=SCRIPT)
    update_conversation(conversation_id=rated.pk, changes={"archived": True}, access=SCRIPT)
    rows, _ = append_drafts(
        conversation_id=rated.pk, drafts=[MessageDraft(role="user", content="x")], access=SCRIPT
    )
    update_message(
        conversation_id=rated.pk, message_id=rows[0]["id"], changes={"rating": 1}, access=SCRIPT
    )
    Conversation.objects.filter(pk=plain.pk).update(created_at="2020-06-01T00:00:00Z")
    return {"plain": plain, "pinned": pinned, "rated": rated}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("title=trip", {"pinned"}),
        ("title=PLAIN", {"plain"}),
        ("title=%25", set()),
        ("model=llama3", {"plain"}),
        ("model=llama", set()),
        ("pinned=true", {"pinned"}),
        ("pinned=false", {"plain", "rated"}),
        ("archived=true", {"rated"}),
        ("archived=false", {"plain", "pinned"}),
        ("has_rating=true", {"rated"}),
        ("has_rating=false", {"plain", "pinned"}),
        ("created_before=2021-01-01", {"plain"}),
        ("created_after=2021-01-01T00:00:00Z", {"pinned", "rated"}),
        ("updated_before=2021-01-01", set()),
        ("updated_after=2021-01-01", {"plain", "pinned", "rated"}),
        ("metadata_key=topic", {"pinned", "rated"}),
        ("metadata_key=topic&metadata_value=travel", {"pinned"}),
        ("metadata_key=n&metadata_value=5", {"pinned"}),
        ("metadata_key=done&metadata_value=true", {"rated"}),
        ("metadata_key=done&metadata_value=false", set()),
        ("pinned=false&archived=false", {"plain"}),
    ],
)
def test_what_a_filter_leaves(api, chats, query, found):
    body = api.get(f"{LIST}?{query}").json()
    keys = {str(chat.pk): name for name, chat in chats.items()}
    assert {keys[item["id"]] for item in body["conversations"]} == found
    assert body["count"] == len(found)


@pytest.mark.parametrize("order", ["updated_at", "-updated_at", "created_at", "-created_at"])
def test_the_order_can_be_chosen_and_paged(api, chats, order):
    url, seen = f"{LIST}?order={order}&page_size=1", []
    while url:
        body = api.get(url).json()
        seen += [item[order.removeprefix("-")] for item in body["conversations"]]
        url = body["next"]
    assert len(seen) == 3
    assert seen == sorted(seen, reverse=order.startswith("-"))


def test_filtered_pages_join(api, alice):
    for number in range(7):
        chat = make_conversation(alice, title=f"{'even' if number % 2 == 0 else 'odd'} {number}")
    assert chat
    url, seen = f"{LIST}?title=even&page_size=2", []
    while url:
        body = api.get(url).json()
        assert body["count"] == 4
        seen += [item["title"] for item in body["conversations"]]
        url = body["next"]
    assert seen == ["even 6", "even 4", "even 2", "even 0"]


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("pinned=maybe", "pinned"),
        ("archived=1", "archived"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2020-02-30", "created_after"),
        ("created_after=99999-01-01", "created_after"),
        ("metadata_value=5", "metadata_value"),
        ("order=title", "order"),
        ("titel=x", "titel"),
        ("title=%00", "title"),
        ("metadata_key=%00", "metadata_key"),
    ],
)
def test_a_bad_filter_is_refused_by_name(api, chats, query, attr):
    answer = api.get(f"{LIST}?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, attr)


def test_a_cursor_does_not_fit_another_filter(api, alice):
    for _ in range(3):
        make_conversation(alice, title="same")
    cursor = api.get(f"{LIST}?title=same&page_size=1").json()["next"]
    assert api.get(cursor).status_code == 200
    assert api.get(cursor.replace("title=same", "title=sam")).status_code == 400


@pytest.fixture
def talk(alice):
    chat = make_conversation(alice)
    drafts = [
        MessageDraft(role="system", content="s"),
        MessageDraft(role="user", content="u"),
        MessageDraft(
            role="assistant", content="a", provider="openai", model="gpt", detected_mode="m"
        ),
        MessageDraft(role="assistant", content="b", status="failed"),
    ]
    append_drafts(conversation_id=chat.pk, drafts=drafts, access=SCRIPT)
    return f"{LIST}/{chat.pk}/messages"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("role=assistant", [3, 4]),
        ("role=user&role=system", [1, 2]),
        ("status=failed", [4]),
        ("provider=openai", [3]),
        ("model=gpt", [3]),
        ("mode=m", [3]),
        ("role=assistant&status=complete", [3]),
        ("after_sequence=2&role=assistant&order=desc", [4, 3]),
        ("created_after=2999-01-01", []),
        ("created_before=2999-01-01", [1, 2, 3, 4]),
    ],
)
def test_messages_can_be_filtered(api, talk, query, found):
    assert [m["sequence"] for m in api.get(f"{talk}?{query}").json()["messages"]] == found


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("role=User", "role"),
        ("status=done", "status"),
        ("after_sequence=-1", "after_sequence"),
        ("after_sequence=1.5", "after_sequence"),
        ("after_sequence=99999999999", "after_sequence"),
        ("before_sequence=x", "before_sequence"),
        ("order=up", "order"),
        ("roles=user", "roles"),
    ],
)
def test_a_bad_message_filter_is_refused_by_name(api, talk, query, attr):
    answer = api.get(f"{talk}?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, attr)


@pytest.mark.parametrize("rows", [10, 1_000])
def test_filters_take_no_more_statements(alice, api, statements, rows):
    chat = make_conversation(alice, messages=rows)
    for _ in range(rows // 10):
        make_conversation(alice)
    with statements() as seen:
        api.get(f"{LIST}?has_rating=false&title=new&order=created_at")
    assert len(seen) == 3
    with statements() as seen:
        api.get(f"{LIST}/{chat.pk}/messages?role=user&after_sequence=2")
    assert len(seen) == 4
