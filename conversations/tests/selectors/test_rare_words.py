"""How searches of everybody's messages find the newest of those with rare and with common words."""

import pytest
from django.db import connection

from conversations.selectors.search_sql import (
    SearchScope,
    compile_query,
    newest_first,
    parse_query,
)
from conversations.selectors.staff_search import search_for_staff
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.cluster import analyze
from conversations.tests.factories import make_conversation

pytestmark = [pytest.mark.django_db, pytest.mark.one_node("pages of one table are sampled")]
BY_INDEX, BY_SORTING = "created_at", "created_at + interval '0'"
COMMON, RARE = "ticket", "quokka"


@pytest.fixture
def chat(alice):
    chat = make_conversation(alice)
    texts = [f"a {COMMON} number {number}" for number in range(300)] + [f"the {RARE}"]
    drafts = [MessageDraft(role="user", content=text) for text in texts]
    append_drafts(conversation_id=chat.pk, drafts=drafts, access=SCRIPT)
    return chat


def order(text, limit, **scope):
    scope = SearchScope(owner_id=scope.get("owner_id"))
    return newest_first(compile_query(parse_query(text), scope), scope, limit=limit)


@pytest.mark.parametrize("analyzed", [False, True])
def test_rare_words_are_sorted_and_common_ones_read_by_time(chat, analyzed):
    if analyzed:
        analyze("conversations_message")
    assert order(COMMON, 1) == BY_INDEX
    for rare in (RARE, "unheard", f"{RARE} {COMMON}"):
        assert order(rare, 20) == BY_SORTING


def test_in_an_empty_table_nothing_is_common(alice):
    assert order(COMMON, 20) in (BY_INDEX, BY_SORTING)
    assert search_for_staff(text=COMMON, owner_id=None, content=True).newest_match == {}


def test_one_owner_needs_no_sample(chat, alice):
    with connection.execute_wrapper(_only_the_query):
        assert order(COMMON, 20, owner_id=alice.pk) == BY_INDEX


def _only_the_query(execute, sql, *rest):
    assert "ctid" not in sql
    return execute(sql, *rest)


def test_both_ways_find_the_same(chat, monkeypatch):
    found = {}
    for way in (BY_INDEX, BY_SORTING):
        monkeypatch.setattr(
            "conversations.selectors.staff_search.newest_first", lambda *_, way=way, **__: way
        )
        for text in (COMMON, RARE):
            found[text, way] = search_for_staff(text=text, owner_id=None, content=True)
    for text in (COMMON, RARE):
        assert found[text, BY_INDEX] == found[text, BY_SORTING]
        assert set(found[text, BY_INDEX].newest_match) == {chat.pk}
