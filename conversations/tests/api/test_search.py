import pytest
from django.db import connection

from conversations.models import AccessRecord
from conversations.selectors import search_sql as search
from conversations.services import (
    SCRIPT,
    add_message,
    delete_conversation,
    find_or_create_user,
    update_conversation,
)
from conversations.services.messages import get_chat_history
from conversations.tests.cluster import analyze, plan_lines_of
from conversations.tests.factories import client_for, make_conversation, make_user

pytestmark = pytest.mark.django_db
URL = "/api/search"


def say(chat, content, role="user"):
    return add_message(conversation_id=chat.pk, role=role, content=content)


@pytest.fixture
def chat(alice):
    chat = make_conversation(alice, title="Weekend")
    say(chat, "I was running to the café in Zürich.")
    say(chat, "北京大学是一所大学。我住在東京都。", role="assistant")
    say(chat, "한국어 문장을 검색합니다", role="assistant")
    say(chat, '[{"restaurant_name": "Sino", "street": "377 Santana Row"}]', role="tool")
    say(chat, "You are a terse assistant.", role="system")
    say(chat, "The cats and the dogs are playing.")
    return chat


def sequences(api, q, **params):
    answer = api.get(URL, {"q": q} | params)
    assert answer.status_code == 200, answer.content
    return [r["message"]["sequence"] if r["message"] else None for r in answer.json()["results"]]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("run", [1]),
        ("runs", [1]),
        ("café", [1]),
        ("CAFE", [1]),
        ("zurich", [1]),
        ("大学", [2]),
        ("京大", [2]),
        ("東京", [2]),
        ("住", [2]),
        ("上海", []),
        ("검색", [3]),
        ("sino", [4]),
        ('"santana row"', [4]),
        ('"row santana"', []),
        ("terse assistant", [5]),
        ("cat dog", [6]),
        ("cat -dog", []),
        ("cat -bird", [6]),
        ("cat OR sino", [4, 6]),
        ("the cat", [6]),
        ("weekend", [None]),
        ("nowhere", []),
        ("the", []),
        ("to be or not to be", []),
        ("'", []),
        ('"', []),
        ("OR", []),
        ("-", []),
        ("a:* & | ! <->", []),
        ("\\", []),
        ("%_", []),
    ],
)
def test_what_a_query_finds(api, chat, q, found):
    assert sorted(sequences(api, q), key=str) == sorted(found, key=str)


def test_a_result_names_message_and_conversation_and_shows_why(api, chat, alice):
    (result,) = api.get(URL, {"q": "sino"}).json()["results"]
    message = get_chat_history(conversation_id=chat.pk)[3]
    assert result["kind"] == "message"
    assert result["message"]["id"] == str(message.id)
    assert (result["message"]["role"], result["message"]["sequence"]) == ("tool", 4)
    assert result["conversation"] == {
        "id": str(chat.pk),
        "user_id": "alice",
        "title": "Weekend",
    }
    assert "<mark>Sino</mark>" in result["snippet"]


def test_a_snippet_is_safe_to_show(api, alice):
    say(make_conversation(alice, title="x"), '<script>alert("x")</script> needle & <b>bold</b>')
    (result,) = api.get(URL, {"q": "needle"}).json()["results"]
    assert result["snippet"] == (
        "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; <mark>needle</mark> &amp; "
        "&lt;b&gt;bold&lt;/b&gt;"
    )


def test_a_snippet_is_cut_around_the_match(api, alice):
    say(make_conversation(alice, title="x"), "before " * 200 + "needle " + "after " * 200)
    (result,) = api.get(URL, {"q": "needles"}).json()["results"]
    assert "<mark>needle</mark>" in result["snippet"]
    assert result["snippet"].startswith("…before")
    assert result["snippet"].endswith("after…")
    assert len(result["snippet"]) < 250


def test_better_matches_come_first(api, alice):
    chat = make_conversation(alice, title="x")
    say(chat, "bread, among many other things that were said that day")
    say(chat, "bread bread bread")
    assert sequences(api, "bread") == [2, 1]


def test_pages_join_without_a_gap_or_a_repeat(api, alice):
    chat = make_conversation(alice, title="x")
    for i in range(7):
        say(chat, f"apple {'pie ' * i}")
    url, seen = f"{URL}?q=apple&page_size=3", []
    while url:
        body = api.get(url).json()
        seen += [r["message"]["sequence"] for r in body["results"]]
        url = body["next"]
    assert sorted(seen) == list(range(1, 8))
    assert len(seen) == 7


def test_nobody_finds_other_peoples_messages(chat, bob):
    assert sequences(client_for(bob), "sino") == []
    for params in ({"user_id": "alice"}, {"conversation_id": str(chat.pk)}):
        answer = client_for(bob).get(URL, {"q": "sino"} | params)
        assert answer.status_code == 404
    assert client_for(bob).get(URL, {"q": "sino", "user_id": "*"}).status_code == 403


def test_a_trusted_client_searches_its_own_one_users_or_everybodys(chat, backend):
    assert sequences(backend, "sino") == []
    assert sequences(backend, "sino", user_id="alice") == [4]
    assert sequences(backend, "sino", user_id="*") == [4]
    assert sequences(backend, "sino", conversation_id=str(chat.pk)) == [4]
    assert sequences(backend, "sino", user_id="nobody") == []
    assert not AccessRecord.objects.exists()


def test_a_search_of_staff_leaves_a_record(chat, staff, alice):
    client = client_for(staff)
    assert sequences(client, "sino", user_id="alice") == [4]
    assert sequences(client, "sino", user_id="*") == [4]
    assert sequences(client, "sino") == []
    records = AccessRecord.objects.order_by("created_at")
    assert [(r.action, r.owner_name, r.detail) for r in records] == [
        ("search", "alice", {"query": "sino"}),
        ("search", "", {"query": "sino"}),
    ]


def test_results_can_be_narrowed(api, chat, alice):
    other = make_conversation(alice, title="Other")
    say(other, "Sino again")
    assert len(sequences(api, "sino")) == 2
    assert sequences(api, "sino", role="tool") == [4]
    assert sequences(api, "weekend", role="user") == []
    assert sequences(api, "sino", conversation_id=str(chat.pk)) == [4]
    assert sequences(api, "sino", created_after="2999-01-01") == []
    assert len(sequences(api, "sino", created_before="2999-01-01T00:00:00Z")) == 2


def test_search_follows_edits_and_deletes(api, alice):
    chat = make_conversation(alice, title="Oldname")
    update_conversation(conversation_id=chat.pk, changes={"title": "Newname"}, access=SCRIPT)
    assert (sequences(api, "oldname"), sequences(api, "newname")) == ([], [None])
    delete_conversation(conversation_id=chat.pk, access=SCRIPT)
    assert sequences(api, "newname") == []


def test_text_of_any_size_is_stored_and_found(api, alice):
    """A tsvector holds 1 MB; 300,000 different words are far more."""
    chat = make_conversation(alice, title="x")
    words = " ".join(f"w{i}x{i * 7}" for i in range(300_000))
    say(chat, words, role="assistant")
    say(chat, "y" * 3_000_000, role="assistant")
    assert sequences(api, "w5x35") == [1]


@pytest.mark.parametrize(
    ("params", "attr"),
    [
        ({}, "q"),
        ({"q": ""}, "q"),
        ({"q": "  "}, "q"),
        ({"q": "x" * 501}, "q"),
        ({"q": "a\x00"}, "q"),
        ({"q": "x", "role": "User"}, "role"),
        ({"q": "x", "created_after": "yesterday"}, "created_after"),
        ({"q": "x", "created_after": "2020-13-01"}, "created_after"),
        ({"q": "x", "conversation_id": "nope"}, "conversation_id"),
        ({"q": "x", "user": "alice"}, "user"),
        ({"q": "x", "cursor": "nope"}, "cursor"),
        ({"q": "x", "page_size": "0"}, "page_size"),
    ],
)
def test_a_bad_search_is_refused_by_name(api, params, attr):
    answer = api.get(URL, params)
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, attr)


def test_a_cursor_is_good_for_its_own_search_alone(api, alice):
    chat = make_conversation(alice, title="x")
    for _ in range(3):
        say(chat, "apple pie")
    cursor = api.get(f"{URL}?q=apple&page_size=1").json()["next"].partition("cursor=")[2]
    assert api.get(f"{URL}?q=apple&page_size=1&cursor={cursor}").status_code == 200
    assert api.get(f"{URL}?q=pie&page_size=1&cursor={cursor}").status_code == 400


@pytest.mark.parametrize("rows", [10, 1_000])
def test_a_search_takes_three_statements(alice, statements, rows):
    make_conversation(alice, messages=rows)
    for number in range(20):
        make_conversation(find_or_create_user(f"other-{number}"), messages=20)
    client = client_for(alice)
    with statements() as seen:
        assert client.get(URL, {"q": "message"}).status_code == 200
    assert len(seen) == 3, "\n".join(seen)


def test_a_streaming_answer_is_found_once_it_is_finished(api, alice):
    from conversations.models import Message

    chat = make_conversation(alice, title="x")
    message = Message.objects.create(
        user=alice,
        conversation=chat,
        sequence=1,
        role="assistant",
        content="partial",
        status="streaming",
    )
    assert sequences(api, "partial") == []
    Message.objects.filter(id=message.id).update(status="complete")
    assert sequences(api, "partial") == [1]


def test_other_users_words_do_not_leak_through_ranks(alice):
    mine = make_conversation(alice, title="x")
    say(mine, "zebra")
    before = client_for(alice).get(URL, {"q": "zebra"}).json()["results"][0]["rank"]
    say(make_conversation(make_user("mallory"), title="x"), "zebra zebra zebra")
    after = client_for(alice).get(URL, {"q": "zebra"}).json()["results"]
    assert [result["rank"] for result in after] == [before]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ('"blue whale"', [1, 3]),
        ('"blue whale" -"green whale"', [1]),
        ('"whale blue"', [2]),
        ('"panda again red"', []),
    ],
)
def test_a_phrase_is_its_words_in_their_order(api, alice, q, found):
    chat = make_conversation(alice, title="x")
    say(chat, "A blue whale.")
    say(chat, "A whale, blue.")
    say(chat, "A blue whale, and a green whale.")
    say(chat, "A red panda again.")
    assert sorted(sequences(api, q)) == found


def test_a_phrase_is_looked_for_in_the_newest_messages_with_its_words(api, alice, monkeypatch):
    monkeypatch.setattr(search, "MAX_PHRASE_RECHECKS", 2)
    chat = make_conversation(alice, title="x")
    for text in ("The first blue whale.", "A whale, blue.", "The last blue whale."):
        say(chat, text)
    assert sequences(api, '"blue whale"') == [3]
    assert sorted(sequences(api, "blue whale")) == [1, 2, 3]


def test_only_the_newest_titles_and_messages_are_ranked(alice, staff, monkeypatch):
    monkeypatch.setattr(search, "MAX_RANKED", 2)
    monkeypatch.setattr(search, "MAX_RANKED_OF_ALL", 3)
    chats = [make_conversation(alice, title=f"zeppelin {number}") for number in range(5)]
    for chat in chats:
        say(chat, "zeppelin")
    for client, user_id, ranked in ((client_for(alice), "alice", 2), (client_for(staff), "*", 3)):
        found = client.get(URL, {"q": "zeppelin", "user_id": user_id}).json()["results"]
        for kind in ("title", "message"):
            of_kind = {one["conversation"]["id"] for one in found if one["kind"] == kind}
            assert of_kind == {str(chat.pk) for chat in chats[-ranked:]}


@pytest.mark.one_node("the planner has no statistics of shards within a test's transaction")
@pytest.mark.parametrize("everybody", [False, True])
def test_matches_are_read_by_their_whole_keys(alice, staff, statements, everybody):
    """Not all conversations of an owner or all messages of a conversation for each match."""
    for name in range(20):
        for _ in range(10):
            make_conversation(alice if name == 7 else make_user(f"{name}-{_}"), messages=4)
    analyze("auth_user, conversations_conversation, conversations_message")
    client, scope = (client_for(staff), "&user_id=*") if everybody else (client_for(alice), "")
    with statements() as seen:
        assert client.get(f"/api/search?q=message{scope}").json()["results"]
    (sql,) = [sql for sql in seen if "MATERIALIZED" in sql]
    with connection.cursor() as cursor:
        for better_for_few_rows in ("hashjoin", "mergejoin", "bitmapscan"):
            cursor.execute(f"SET LOCAL enable_{better_for_few_rows} = off")
    plan = "\n".join(plan_lines_of(sql))
    assert "(sequence = " in plan, plan
    assert "Join Filter" not in plan, plan
