import html
import re
import uuid
from datetime import datetime

import pytest
from django.test import RequestFactory

from conversations.admin.audit import address_of
from conversations.models import AccessRecord, Message
from conversations.services import SCRIPT, delete_conversation
from conversations.tests.admin.conftest import grant, signed_in, text_of, transcript_url
from conversations.tests.factories import make_conversation, make_user

RECORDS = "/admin/conversations/accessrecord/"


@pytest.fixture
def conversation(alice):
    return make_conversation(alice, 250, title="Trains")


def test_reading_anothers_conversation_leaves_a_record(browser, staff, alice, conversation):
    browser.get(transcript_url(conversation), REMOTE_ADDR="192.0.2.7")
    record = AccessRecord.objects.get()
    assert record.action == "read"
    assert (record.staff_id, record.staff_name) == (staff.pk, "support")
    assert (record.owner_id, record.owner_name) == (alice.pk, "alice")
    assert record.conversation_id == conversation.pk
    assert record.address == "192.0.2.7"


def test_the_record_says_which_messages_were_shown(browser, conversation):
    shown = Message.objects.get(sequence=7)
    for query in ({"after": 100}, {"message": shown.id}):
        browser.get(transcript_url(conversation), query)
    details = list(AccessRecord.objects.order_by("created_at").values_list("detail", flat=True))
    assert details == [{"first": 101, "last": 200}, {"message": str(shown.id)}]


def test_a_jump_leaves_one_record(browser, conversation):
    browser.get(transcript_url(conversation), {"at": 120}, follow=True)
    assert AccessRecord.objects.get().detail == {"first": 101, "last": 200}


def test_reading_ones_own_conversation_leaves_none(browser, staff):
    browser.get(transcript_url(make_conversation(staff, 2)))
    assert AccessRecord.objects.count() == 0


def test_superusers_leave_records_too(root, conversation):
    root.get(transcript_url(conversation))
    assert AccessRecord.objects.get().staff_name == "root"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unix:", None),
    ],
)
def test_address(sent, kept):
    assert address_of(RequestFactory().get("/", REMOTE_ADDR=sent)) == kept


def test_a_forwarded_address_is_not_believed():
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR="10.0.0.1")
    assert address_of(request) == "192.0.2.7"


@pytest.fixture
def auditor(staff):
    grant(staff, "view_accessrecord")
    return signed_in(staff)


def test_the_trail_is_a_list_of_its_own(auditor, conversation):
    auditor.get(transcript_url(conversation))
    page = text_of(auditor.get(RECORDS))
    for shown in ("support", "Read", "alice", str(conversation.pk), "127.0.0.1"):
        assert shown in page


def test_neither_pages_nor_the_csv_show_keys_of_accounts(root, superuser, conversation):
    root.get(transcript_url(conversation))
    record = AccessRecord.objects.get()
    AccessRecord.objects.bulk_create(
        [AccessRecord(staff_name="x", action="read", staff_id=987654321, owner_id=987654321)]
    )
    for one in AccessRecord.objects.all():
        assert "987654321" not in text_of(root.get(f"{RECORDS}{one.pk}/change/"))
    assert "987654321" not in text_of(root.get(RECORDS))
    exported = b"".join(root.get(f"{RECORDS}export/").streaming_content).decode()
    assert "987654321" not in exported
    assert "staff_id" not in exported
    assert str(record.conversation_id) in exported


def test_one_record_is_shown_with_its_detail(auditor, conversation):
    auditor.get(transcript_url(conversation))
    record = AccessRecord.objects.get()
    page = text_of(auditor.get(f"{RECORDS}{record.pk}/change/"))
    assert '"last": 100' in html.unescape(re.sub("<[^>]+>", "", page))
    assert "_save" not in page


def test_records_outlive_the_conversation(auditor, conversation):
    auditor.get(transcript_url(conversation))
    delete_conversation(conversation_id=conversation.pk, access=SCRIPT)
    assert str(conversation.pk) in text_of(auditor.get(RECORDS))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "alice"}, 1),
        ({"q": "support"}, 1),
        ({"q": "nobody"}, 0),
        ({"q": str(uuid.UUID(int=0))}, 0),
        ({"action": "read"}, 1),
        ({"action": "delete"}, 0),
        ({"action": "change"}, 0),
        ({"action": "dance"}, 0),
        ({"staff": "support"}, 1),
        ({"owner": "bob"}, 0),
        ({"day_from": "2999-01-01"}, 0),
    ],
)
def test_finding_records(auditor, conversation, query, found):
    auditor.get(transcript_url(conversation))
    assert auditor.get(RECORDS, query).context["cl"].result_count == found


def test_finding_the_records_of_one_conversation(auditor, alice, conversation):
    auditor.get(transcript_url(conversation))
    auditor.get(transcript_url(make_conversation(alice)))
    listed = auditor.get(RECORDS, {"q": str(conversation.pk)}).context["cl"].result_list
    assert [record.conversation_id for record in listed] == [conversation.pk]


def test_nobody_touches_the_trail(root, conversation):
    """Not even a superuser."""
    root.get(transcript_url(conversation))
    record = AccessRecord.objects.get()
    address = f"{RECORDS}{record.pk}"
    assert root.get(f"{RECORDS}add/").status_code == 403
    assert root.post(f"{RECORDS}add/", {"staff_name": "x"}).status_code == 403
    assert root.post(f"{address}/change/", {"staff_name": "x"}).status_code == 403
    assert root.get(f"{address}/delete/").status_code == 403
    assert root.post(f"{address}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": record.pk, "post": "yes"}
    root.post(RECORDS, chosen)
    assert AccessRecord.objects.get().staff_name == "root"


def test_the_list_costs_the_same_number_of_queries_for_any_number_of_rows(
    auditor, conversation, statements
):
    """Session, user, two for permissions, count, rows, titles, saved views."""
    for _ in range(3):
        auditor.get(transcript_url(conversation))
        with statements() as seen:
            auditor.get(RECORDS)
        assert len(seen) == 8


def test_staff_without_the_right_see_no_trail(browser):
    assert browser.get(RECORDS).status_code == 403


def test_changes_are_found_by_their_action(auditor, staff, conversation):
    grant(staff, "archive_conversation")
    browser = signed_in(staff)
    browser.post(transcript_url(conversation).replace("change", "act"), {"do": "archive"})
    page = browser.get(RECORDS, {"action": "change"})
    [record] = page.context["cl"].result_list
    assert record.detail == {"fields": ["archived"]}
    assert '<option value="change" selected>Change</option>' in text_of(page)


def test_the_list_names_conversations_and_shows_seconds(auditor, staff, conversation):
    auditor.get(transcript_url(conversation))
    at = AccessRecord.objects.get().created_at
    page = text_of(auditor.get(RECORDS))
    assert "<bdi>Trains</bdi>" in page
    assert at.strftime("%Y-%m-%d %H:%M:%S UTC") in page
    assert "Messages #1 to #100" in page
    delete_conversation(conversation_id=conversation.pk, access=SCRIPT)
    page = text_of(auditor.get(RECORDS))
    assert "Trains" not in page
    assert ">deleted</span>" in page


def test_titles_are_for_those_who_may_see_the_list(browser, conversation):
    browser.get(transcript_url(conversation))
    clerk = signed_in(make_user("clerk", "view_accessrecord", is_staff=True))
    page = text_of(clerk.get(RECORDS))
    assert str(conversation.pk) in page
    assert "Trains" not in page


def test_the_list_shows_what_was_searched_for(auditor, conversation):
    auditor.get("/admin/conversations/conversation/", {"q": "<b>zeppelin"})
    assert "Search: &lt;b&gt;zeppelin" in text_of(auditor.get(RECORDS))


@pytest.fixture
def read_at(staff, conversation):
    """Makes a record of a read at a time of the day, by the same member of staff unless said."""

    def read(time, day="2026-03-02", **fields):
        given = {
            "staff_id": staff.pk,
            "staff_name": staff.username,
            "action": "read",
            "conversation_id": conversation.pk,
            "address": "127.0.0.1",
            "detail": {"first": 1, "last": 100},
        }
        at = datetime.fromisoformat(f"{day}T{time}+00:00")
        return AccessRecord.objects.create(created_at=at, **given | fields)

    return read


def rows_of(browser, **query):
    """Each row of the list: the time, and how many reads it stands for."""
    rows = browser.get(RECORDS, query).context["cl"].result_list
    return [
        (f"{row.created_at:%H:%M:%S}", row.visit["reads"] if hasattr(row, "visit") else None)
        for row in rows
    ]


def test_a_read_and_its_paging_are_one_row(auditor, read_at):
    read_at("10:00:00")
    read_at("10:04:30", detail={"first": 101, "last": 200})
    read_at("10:19:00", detail={"first": 201, "last": 250})
    read_at("11:00:00")
    assert rows_of(auditor) == [("11:00:00", 1), ("10:19:00", 3)]
    page = text_of(auditor.get(RECORDS))
    assert "Messages #1 to #250" in page
    assert "3 reads since 10:00:00<" in page


@pytest.mark.parametrize(
    "other",
    [
        {"staff_id": 0},
        {"reason": "Ticket 7"},
        {"address": None},
        {"conversation_id": uuid.UUID(int=1)},
        {"action": "search", "detail": {"query": "train"}},
        {"conversation_id": None},
    ],
)
def test_only_equal_reads_are_one_visit(auditor, read_at, other):
    read_at("10:00:00")
    read_at("10:01:00", **other)
    read_at("10:02:00", **other)
    read_at("10:03:00")
    folded = other.get("action", "read") == "read" and other.get("conversation_id", True)
    assert rows_of(auditor) == [
        ("10:03:00", 2),
        ("10:02:00", 2 if folded else 0),
        *([] if folded else [("10:01:00", 0)]),
    ]


def test_reads_without_an_address_are_one_visit_too(auditor, read_at):
    for minute in range(3):
        read_at(f"10:0{minute}:00", address=None)
    assert rows_of(auditor) == [("10:02:00", 3)]


def test_reads_of_one_moment_are_one_visit(auditor, read_at):
    for _ in range(3):
        read_at("10:00:00")
    assert rows_of(auditor) == [("10:00:00", 3)]


def test_a_visit_ends_at_midnight_so_that_no_day_lacks_a_read(auditor, read_at):
    read_at("23:55:00")
    read_at("23:59:00")
    read_at("00:01:00", day="2026-03-03")
    assert rows_of(auditor) == [("00:01:00", 1), ("23:59:00", 2)]
    assert rows_of(auditor, day_from="2026-03-02", day_to="2026-03-02") == [("23:59:00", 2)]


def test_each_read_is_a_link_away_and_in_the_csv(auditor, conversation, read_at):
    for minute in range(5):
        read_at(f"10:0{minute}:00")
    read_at("10:03:00", conversation_id=uuid.UUID(int=1))
    page = text_of(auditor.get(RECORDS))
    [address] = re.findall(r'href="([^"]+)">5 reads since', page)
    assert auditor.get(html.unescape(address)).context["cl"].result_count == 5
    assert len(rows_of(auditor, each="1")) == 6
    exported = b"".join(auditor.get(f"{RECORDS}export/").streaming_content).decode()
    assert exported.count(str(conversation.pk)) == 5


def test_visits_are_paged_as_rows(auditor, read_at):
    keys = [uuid.UUID(int=number) for number in range(60)]
    for second in range(3):
        for key in keys:
            read_at(f"10:00:0{second}", conversation_id=key)
    first, second = (auditor.get(RECORDS, {"p": page}).context["cl"] for page in (1, 2))
    assert (first.result_count, len(first.result_list), len(second.result_list)) == (60, 50, 10)
    seen = {row.conversation_id for page in (first, second) for row in page.result_list}
    assert seen == set(keys)
