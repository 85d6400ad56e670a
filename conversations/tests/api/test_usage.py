"""GET /api/usage: messages, turns, tokens and cost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from conversations.api import usage as usage_api
from conversations.models import AccessRecord, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts, find_or_create_user
from conversations.tests.api.test_external_ids import error_of, plan_of
from conversations.tests.factories import (
    client_for,
    fill,
    make_conversation,
    make_staff,
    make_user,
)

pytestmark = pytest.mark.django_db
USAGE = "/api/usage"
NONE = {
    "messages": 0,
    "turns": 0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "cost": None,
}
TODAY = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)
DAYS = [TODAY - timedelta(days=days) for days in (1, 2, 40)]


def turn(at, model="gpt", provider="openai", **counts):
    return [
        MessageDraft(role="user", content="q", created_at=at),
        MessageDraft(
            role="assistant",
            content="a",
            provider=provider,
            model=model,
            created_at=at,
            **counts,
        ),
    ]


def say(user, *drafts):
    chat = make_conversation(user)
    append_drafts(
        conversation_id=chat.pk,
        drafts=[draft for one in drafts for draft in one],
        access=SCRIPT,
        from_client=False,
    )
    return chat


@pytest.fixture
def said(alice):
    counts = {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 60}
    say(
        alice,
        turn(DAYS[0], **counts, reasoning_tokens=4, cost=Decimal("0.0000025")),
        turn(DAYS[0], "llama", "ollama", prompt_tokens=1),
        turn(DAYS[1], **counts, cost=Decimal("0.25")),
        turn(DAYS[2], **counts),
    )
    return say(alice, turn(DAYS[1], prompt_tokens=5))


def test_by_day_for_the_last_thirty_days(api, said):
    answer = api.get(USAGE).json()
    assert answer["usage"] == [
        NONE
        | {
            "day": str(DAYS[1].date()),
            "messages": 4,
            "turns": 2,
            "prompt_tokens": 105,
            "completion_tokens": 10,
            "cached_tokens": 60,
            "cost": "0.25",
        },
        {
            "day": str(DAYS[0].date()),
            "messages": 4,
            "turns": 2,
            "prompt_tokens": 101,
            "completion_tokens": 10,
            "cached_tokens": 60,
            "reasoning_tokens": 4,
            "cost": "0.0000025",
        },
    ]
    assert answer["total"] == {
        "messages": 8,
        "turns": 4,
        "prompt_tokens": 206,
        "completion_tokens": 20,
        "cached_tokens": 120,
        "reasoning_tokens": 4,
        "cost": "0.2500025",
    }
    first, last = (datetime.fromisoformat(answer[f"created_{end}"]) for end in ("after", "before"))
    assert last - first == timedelta(days=30)
    assert timezone.now() - last < timedelta(minutes=1)
    assert (answer["time_zone"], answer["cost_currency"]) == ("UTC", "USD")


def test_by_model(api, said):
    rows = api.get(f"{USAGE}?group_by=model").json()["usage"]
    assert [(row["provider"], row["model"], row["messages"], row["turns"]) for row in rows] == [
        ("", "", 4, 4),
        ("ollama", "llama", 1, 0),
        ("openai", "gpt", 3, 0),
    ]


def test_by_several_whatever_their_order(api, said):
    answers = [
        api.get(f"{USAGE}?group_by={groups}").json() for groups in ("model,day", "day,model")
    ]
    assert answers[0]["usage"] == answers[1]["usage"]
    assert len(answers[0]["usage"]) == 5
    assert list(answers[0]["usage"][0]) == ["day", "provider", "model", *NONE]
    assert answers[0]["total"] == answers[1]["total"] == api.get(USAGE).json()["total"]


def test_a_range(api, said):
    day = DAYS[2].date()
    query = f"created_after={day}&created_before={day + timedelta(days=1)}"
    answer = api.get(f"{USAGE}?{query}").json()
    assert [row["day"] for row in answer["usage"]] == [str(day)]
    assert answer["total"]["messages"] == 2
    before = api.get(f"{USAGE}?created_before={day}").json()
    assert (before["usage"], before["total"]) == ([], NONE)
    assert before["created_after"].startswith(str(day - timedelta(days=30)))
    assert len(api.get(f"{USAGE}?created_after={day}").json()["usage"]) == 3


def test_days_are_those_of_the_servers_zone(api, alice, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    timezone.get_default_timezone.cache_clear()
    try:
        say(alice, turn(datetime(2026, 1, 1, 20, tzinfo=UTC)))
        answer = api.get(f"{USAGE}?created_after=2026-01-01&created_before=2026-01-03").json()
    finally:
        timezone.get_default_timezone.cache_clear()
    assert [row["day"] for row in answer["usage"]] == ["2026-01-02"]
    assert answer["time_zone"] == "Asia/Tokyo"


def test_what_is_deleted_does_not_count(api, said):
    api.delete(f"/api/conversations/{said.pk}")
    assert api.get(USAGE).json()["total"]["messages"] == 6


def test_a_trusted_client_sees_its_users_and_no_others(said, backend, bob):
    say(bob, turn(DAYS[0]))
    say(find_or_create_user(3, namespace="crm"), turn(DAYS[0]))
    say(make_user("boss", is_staff=True), turn(DAYS[0]))
    rows = backend.get(f"{USAGE}?user_id=*&group_by=user").json()["usage"]
    assert {row["user_id"]: row["messages"] for row in rows} == {"alice": 8, "bob": 2}
    one = backend.get(f"{USAGE}?user_id=bob&group_by=user,day").json()["usage"]
    assert [(row["user_id"], row["day"]) for row in one] == [("bob", str(DAYS[0].date()))]
    crm = client_for(make_user("app"), trusted=True, namespace="crm")
    rows = crm.get(f"{USAGE}?user_id=*&group_by=user").json()["usage"]
    assert [(row["user_id"], row["messages"]) for row in rows] == [(3, 2)]
    assert backend.get(f"{USAGE}?user_id=nobody").json()["usage"] == []
    assert backend.get(USAGE).json()["usage"] == []


def test_staff_see_everybodys_and_leave_a_record(said, bob):
    say(bob, turn(DAYS[0]))
    client = client_for(make_staff())
    rows = client.get(f"{USAGE}?user_id=*&group_by=user").json()["usage"]
    assert {row["user_id"] for row in rows} == {"alice", "bob"}
    client.get(f"{USAGE}?user_id=alice")
    records = AccessRecord.objects.order_by("created_at")
    assert [(one.action, one.owner_name, one.detail) for one in records] == [
        ("read", "", {"usage": True}),
        ("read", "alice", {"usage": True}),
    ]


def test_an_ordinary_user_sees_their_own_alone(api, said, bob):
    say(bob, turn(DAYS[0]))
    assert api.get(f"{USAGE}?group_by=user").json()["usage"][0]["user_id"] == "alice"
    assert api.get(f"{USAGE}?user_id=bob").status_code == 404
    assert api.get(f"{USAGE}?user_id=*").status_code == 403


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("group_by=", "group_by"),
        ("group_by=role", "group_by"),
        ("group_by=day,day", "group_by"),
        ("group_by=day, model", "group_by"),
        ("created_after=soon", "created_after"),
        ("created_before=", "created_before"),
        ("created_after=2026-02-01&created_before=2026-01-01", "created_after"),
        ("created_after=2024-01-01&created_before=2026-01-01", "created_after"),
        ("from=2026-01-01", "from"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(api, query, attr):
    assert error_of(api.get(f"{USAGE}?{query}"))[:2] == (400, attr)


@pytest.mark.parametrize("before", ["0001-01-02", "9999-12-31"])
def test_the_ends_of_time_are_no_server_error(api, before):
    assert api.get(f"{USAGE}?created_before={before}").status_code == 200


def test_too_many_rows_are_refused_and_not_cut(api, said, monkeypatch):
    monkeypatch.setattr(usage_api, "MAX_ROWS", 1)
    assert error_of(api.get(USAGE)) == (400, "group_by", "too_many")
    assert api.get(f"{USAGE}?created_after={DAYS[0].date()}").status_code == 200


@pytest.mark.parametrize("chats", [1, 30])
def test_the_statements_do_not_follow_the_rows(alice, backend, statements, chats):
    for _ in range(chats):
        say(alice, turn(DAYS[0]))
    for client, query, count in (
        (client_for(alice), "?group_by=day,model", 3),
        (backend, "?user_id=*&group_by=day,user,model", 4),
    ):
        with statements() as seen:
            assert client.get(USAGE + query).status_code == 200
        assert len(seen) == count


@pytest.mark.one_node("the plans of one server")
@pytest.mark.parametrize("who", ["owner", "all"])
def test_old_messages_are_not_read(alice, bob, backend, statements, who):
    for user in (alice, bob):
        fill(make_conversation(user), 600)
    Message.objects.filter(sequence__gt=20).update(created_at=DAYS[2])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversations_message")
    client, query = (client_for(alice), "") if who == "owner" else (backend, "&user_id=*")
    with statements() as seen:
        client.get(f"{USAGE}?group_by=day{query}")
    statement, _ = [sql for sql in seen if "SUM(" in sql]  # and of unstored turns
    plan = plan_of(statement)
    # With all owners, either by the time alone or user by user.
    assert ("message_user_created_idx" if who == "owner" else "created_idx") in plan
    assert "Seq Scan on conversations_message" not in plan
