from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection

from conversations.admin.change_list import BoundedPaginator
from conversations.models import Conversation
from conversations.services import SCRIPT, update_conversation
from conversations.tests.admin.conftest import LIST, text_of, transcript_url
from conversations.tests.factories import make_conversation, make_user


def titles(browser, **query):
    """The titles in the list, in its order."""
    found = browser.get(LIST, query).context["cl"].result_list
    return [conversation.title for conversation in found]


def set_columns(conversation, **columns):
    Conversation.objects.filter(pk=conversation.pk).update(**columns)


def test_shows_each_conversation_newest_activity_first(browser, alice):
    old = make_conversation(alice, messages=1_234, title="Trains", model_used="qwen2.5:7b")
    new = make_conversation(alice, title="Planes")
    set_columns(old, updated_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    page = text_of(browser.get(LIST))
    assert page.index("Planes") < page.index("Trains")
    for shown in ("alice", "1,234", "qwen2.5:7b", "2026-01-02 03:04 UTC"):
        assert shown in page
    assert transcript_url(old) in page
    assert transcript_url(new) in page


@pytest.mark.parametrize("term", ["train", "TRAINS to", "alic", "alice trains"])
def test_search_finds_titles_and_owners(browser, alice, bob, term):
    make_conversation(alice, title="Trains to Rome")
    make_conversation(bob, title="Weather")
    assert titles(browser, q=term) == ["Trains to Rome"]


def test_search_finds_an_exact_id(browser, alice):
    wanted = make_conversation(alice, title="Trains")
    make_conversation(alice, title=f"About {wanted.pk}")
    assert titles(browser, q=str(wanted.pk)) == ["Trains"]
    assert titles(browser, q=f" {wanted.pk.hex.upper()} ") == ["Trains"]


def test_search_does_not_tell_the_keys_of_accounts(browser, alice):
    User.objects.filter(pk=alice.pk).update(id=987654321)
    make_conversation(User.objects.get(username="alice"), title="Trains")
    assert titles(browser, q="alice") == ["Trains"]
    assert titles(browser, q="987654321") == []


def test_search_survives_a_nul(browser, alice):
    make_conversation(alice, title="Trains")
    assert browser.get(LIST, {"q": "a\0b"}).status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"owner": "alice"}, "special"),
        ({"owner": "alic"}, None),
        ({"model": "qwen2.5:7b"}, "special"),
        ({"model": "QWEN"}, None),
        ({"source": "import"}, "special"),
        ({"tag": "vip"}, "special"),
        ({"tag": "vi"}, None),
        ({"external_id": "ticket-7"}, "special"),
        ({"external_id": "ticket"}, None),
        ({"pinned": "yes"}, "special"),
        ({"pinned": "no"}, "plain"),
        ({"archived": "yes"}, "special"),
        ({"archived": "no"}, "plain"),
        ({"legal_hold": "yes"}, "special"),
        ({"legal_hold": "no"}, "plain"),
        ({"created_to": "2026-01-02"}, "special"),
        ({"created_from": "2026-01-02", "created_to": "2026-01-02"}, "special"),
        ({"created_from": "2026-01-03"}, "plain"),
        ({"updated_to": "2026-01-02"}, "special"),
        ({"updated_from": "2026-01-03"}, "plain"),
        ({"pinned": "yes", "archived": "no"}, None),
        ({"pinned": "perhaps"}, None),
        ({"created_from": "yesterday"}, None),
        ({"created_to": "9999-12-31"}, None),
        ({"model": "a\0"}, None),
    ],
)
def test_filters(browser, alice, bob, query, found):
    special = make_conversation(alice, title="special", model_used="qwen2.5:7b", source="import")
    make_conversation(bob, title="plain")
    changes = {"pinned": True, "archived": True, "tags": ["vip"], "external_id": "ticket-7"}
    update_conversation(conversation_id=special.pk, changes=changes, access=SCRIPT)
    last_moment = datetime(2026, 1, 2, 23, 59, 59, tzinfo=UTC)
    set_columns(special, legal_hold=True, created_at=last_moment, updated_at=last_moment)
    assert titles(browser, **query) == ([found] if found else [])


def test_a_form_sent_with_nothing_chosen_filters_nothing(browser, alice):
    make_conversation(alice, title="Trains")
    empty = {"owner": "", "pinned": "", "created_from": "", "created_to": ""}
    assert titles(browser, **empty) == ["Trains"]


def test_a_filter_that_is_not_valid_says_why(browser, db):
    page = text_of(browser.get(LIST, {"created_from": "yesterday"}))
    assert "Enter a valid date." in page


def test_tags_stand_beside_the_title_and_are_text(browser, alice):
    make_conversation(alice, title="special", tags=["vip", "<b>\u202e"])
    html = browser.get(LIST).content.decode()
    assert html.count('class="conversation-tag"') == 2
    assert ">vip<" in html
    assert "&lt;b&gt;" in html
    assert "\u202e" not in html


def test_the_owner_in_a_row_leads_to_their_conversations(browser, db):
    owner = make_user("a&b <c>")
    make_conversation(owner, title="theirs")
    assert 'href="/admin/conversations/conversation/?owner=a%26b+%3Cc%3E"' in text_of(
        browser.get(LIST)
    )
    assert titles(browser, owner="a&b <c>") == ["theirs"]


def test_costs_the_same_number_of_queries_for_any_number_of_rows(browser, statements):
    """Session, user, two for permissions, count, rows, saved views."""
    counts = []
    for number in range(2):
        for place in range(1 + 30 * number):
            make_conversation(make_user(f"owner {number} {place}"))
        with statements() as seen:
            assert browser.get(LIST).status_code == 200
        counts.append(len(seen))
    assert counts == [7, 7]


def test_counts_no_further_than_the_bound(browser, alice, statements, monkeypatch):
    monkeypatch.setattr(BoundedPaginator, "bound", 3)
    for number in range(5):
        make_conversation(alice, title=f"number {number}")
    with connection.cursor() as cursor:
        # The size that an earlier test's ANALYZE has left is not rolled back.
        cursor.execute("ANALYZE conversations_conversation")
    with statements() as seen:
        page = text_of(browser.get(LIST))
    assert "about 5" in page or "about 4" in page
    assert [sql for sql in seen if "COUNT" in sql and "LIMIT 4" not in sql] == []
    assert "more than 3" in text_of(browser.get(LIST, {"q": "number"}))


def test_a_page_beyond_the_last_is_the_last(browser, alice):
    for number in range(51):
        make_conversation(alice, title=f"number {number}")
    assert titles(browser, p=99) == titles(browser, p=2) == ["number 0"]
    assert titles(browser, p=99, q="number 50") == ["number 50"]


@pytest.mark.parametrize("page", ["0", "-1", "x", "99999999999999999999"])
def test_an_impossible_page_is_no_server_error(browser, db, page):
    assert browser.get(LIST, {"p": page}, follow=True).status_code == 200


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ("1", ["Apples", "Berries", "Cherries"]),
        ("2", ["Berries", "Apples", "Cherries"]),
        ("3", ["Cherries", "Apples", "Berries"]),
        ("4", ["Apples", "Cherries", "Berries"]),
        ("5", ["Berries", "Cherries", "Apples"]),
        ("6", ["Cherries", "Berries", "Apples"]),
        ("2.1", ["Berries", "Apples", "Cherries"]),
        ("2.-1", ["Berries", "Cherries", "Apples"]),
    ],
)
def test_every_column_sorts_from_either_end(root, alice, bob, column, found):
    """The columns: the box that chooses, title, owner, messages, model, updated, created."""
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    for title, owner, messages, model, updated, created in [
        ("Apples", bob, 2, "a", days[2], days[2]),
        ("Berries", alice, 3, "c", days[0], days[1]),
        ("Cherries", bob, 1, "b", days[1], days[0]),
    ]:
        chat = make_conversation(owner, messages, title=title, model_used=model)
        set_columns(chat, updated_at=updated, created_at=created)
    assert titles(root, o=column) == found
    if "." not in column:
        assert titles(root, o=f"-{column}") == found[::-1]


def test_html_in_titles_and_names_is_text(browser, db):
    owner = User.objects.create_user("<img src=x onerror=alert(1)>")
    make_conversation(owner, title="<script>alert(1)</script>\u202e", model_used="<b>m</b>")
    page = text_of(browser.get(LIST))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert "<b>m</b>" not in page
