"""Branches in the transcript: the path that is shown, versions, searches, records, their cost."""

import re
from html import unescape

import pytest
from django.utils import timezone

from conversations.db.owners import is_distributed
from conversations.models import AccessRecord, Branch, Conversation, Message, Review
from conversations.selectors.branches import path_of, places_on
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    delete_message,
    review_message,
)
from conversations.services.branches import activate_branch, delete_branch
from conversations.tests.admin.conftest import LIST, grant, signed_in, text_of, transcript_url
from conversations.tests.admin.test_transcript import read, sequences
from conversations.tests.branched import PATHS, append, regenerated
from conversations.tests.factories import access_of, make_conversation, make_user


@pytest.fixture
def chat(alice):
    return regenerated(alice, title="Museums")


@pytest.fixture
def long(alice):
    """Branch 0 has 250 messages, branch 1 forks after #120 and has 230 of its own, and then each is
    given 100 more, ten at a time by turns."""
    chat = make_conversation(alice, 250)
    texts = [MessageDraft(role="user", content="new") for _ in range(230)]
    fork = Message.objects.get(sequence=120).id
    append_drafts(
        conversation_id=chat.pk, drafts=texts, parents=[fork] + [None] * 229, access=SCRIPT
    )
    drafts = [MessageDraft(role="user", content="turn")] * 10
    for _ in range(10):
        for number in (0, 1):
            append_drafts(conversation_id=chat.pk, drafts=drafts, branch=number, access=SCRIPT)
    chat.refresh_from_db()
    return chat


def id_of(sequence):
    return Message.objects.get(sequence=sequence).id


def path(chat, number):
    messages = Message.objects.of(chat.user_id, chat.pk)
    places = places_on(messages, path_of(chat.user_id, chat.pk, number), limit=1_000_000)
    return [sequence for _, sequence in places]


def versions(page):
    """Of each message with siblings: its sequence, its place, and the URLs beside it."""
    found = {}
    for sequence, article in re.findall(r'<article id="m-(\d+)"(.*?)</article>', page, re.S):
        if label := re.search(r'role="group" aria-label="Version (\d+) of (\d+) of', article):
            urls = dict(re.findall(r'data-version="(\w+)" href="([^"]+)"', article))
            found[int(sequence)] = (
                int(label[1]),
                int(label[2]),
                *(
                    unescape(urls[which]) if which in urls else None
                    for which in ("previous", "next")
                ),
            )
    return found


def links(response):
    return {label: url for label, _icon, url in response.context["pages"] if url}


def test_the_owners_current_branch_is_shown(browser, chat):
    page = read(browser, chat)
    assert sequences(page) == PATHS[7]
    assert "<b>Branch 7</b>, the owner's current one, of 8 branches." in page
    assert "13 in 8 branches, 4 on this one" in page
    activate_branch(conversation_id=chat.pk, number=2, access=SCRIPT)
    assert sequences(read(browser, chat)) == PATHS[2]


@pytest.mark.parametrize("number", PATHS)
def test_any_other_branch_is_shown_where_it_is_asked_for(browser, chat, number):
    page = read(browser, chat, branch=number)
    assert sequences(page) == PATHS[number]
    assert f"<b>Branch {number}</b>" in page
    assert ("The owner's current one is" in page) == (number != 7)


def test_reading_another_branch_changes_nothing_for_the_owner(browser, chat):
    before = Conversation.objects.values().get()
    read(browser, chat, branch=2)
    assert Conversation.objects.values().get() == before


def test_each_switch_leads_to_the_newest_branch_with_that_version_in_view(browser, chat):
    page = read(browser, chat)
    url = transcript_url(chat)
    assert versions(page) == {
        7: (6, 6, f"{url}?branch=4#m-6", None),
        12: (3, 3, f"{url}?branch=6#m-10", None),
    }
    assert versions(read(browser, chat, branch=4)) == {
        6: (5, 6, f"{url}?branch=3#m-5", f"{url}?branch=7#m-7")
    }
    append(chat, "u", "And a hotel?", id_of(9))  # branch 5 is then the newest with #7
    assert versions(read(browser, chat, branch=4))[6][3] == f"{url}?branch=5#m-7"


def test_all_versions_are_reached_one_after_the_other(browser, chat):
    """Back through the edits and the answers, and forward again, by the links alone."""
    page, seen = text_of(browser.get(transcript_url(chat), {"branch": 5})), []
    for sequence, back in ((8, None), (7, "previous")):
        url = versions(page)[sequence][2 if back else 3]
        while url:
            page = text_of(browser.get(url.partition("#")[0]))
            at = int(url.rpartition("-")[2])
            assert at in sequences(page)
            seen.append(sequences(page))
            url = versions(page)[at][2 if back else 3]
    assert seen == [PATHS[number] for number in (6, 7, 4, 3, 2, 1, 0)]


def test_second_beginnings_are_versions_of_the_first_message(browser, chat):
    append(chat, "u", "Another beginning", "root")
    page = read(browser, chat)
    assert sequences(page) == [14]
    assert versions(page)[14][:2] == (2, 2)
    assert "deleted here" not in page
    back = versions(page)[14][2]
    assert back == f"{transcript_url(chat)}?branch=7#m-1"


def test_a_switch_on_a_later_page_leads_to_a_page_with_the_other_version(browser, long):
    url = transcript_url(long)
    page = read(browser, long, branch=0, after=100)
    assert versions(page)[121] == (1, 2, None, f"{url}?after=100&branch=1#m-251")
    assert sequences(text_of(browser.get(f"{url}?after=100&branch=1")))[20] == 251
    # Where the page begins with it: the sequence that it follows is not on the other branch.
    page = read(browser, long, branch=1, after=250)
    assert versions(page)[251] == (2, 2, f"{url}?after=120&branch=0#m-121", None)
    assert sequences(text_of(browser.get(f"{url}?after=120&branch=0")))[0] == 121


@pytest.mark.parametrize("number", [0, 1])
def test_pages_follow_one_another_along_a_branch(browser, long, number):
    wanted = path(long, number)
    url, response = transcript_url(long), browser.get(transcript_url(long), {"branch": number})
    assert set(links(response)) == {"Next", "Last"}
    forward = [sequences(text_of(response))]
    while "Next" in (there := links(response)):
        response = browser.get(there["Next"])
        forward.append(sequences(text_of(response)))
    assert sum(forward, []) == wanted
    assert {len(page) for page in forward[:-1]} == {100}
    assert set(links(response)) == {"First", "Previous"}

    response = browser.get(url, {"branch": number})
    response = browser.get(links(response)["Last"])
    backward = [sequences(text_of(response))]
    assert set(links(response)) == {"First", "Previous"}
    while "Previous" in (there := links(response)):
        assert there["First"] == f"{url}?branch={number}"
        response = browser.get(there["Previous"])
        backward.insert(0, sequences(text_of(response)))
    assert sum(backward, []) == wanted


@pytest.mark.parametrize(("given", "shown"), [({}, 1), ({"branch": "0"}, 0), ({"branch": "1"}, 1)])
def test_a_permanent_link_leads_to_a_page_and_a_branch_with_the_message(
    browser, long, given, shown
):
    paths = [path(long, number) for number in (0, 1)]
    for at in (1, 60, 120, 121, 180, 250, 251, 300, 480, 481, 491, 679, 680):
        number = shown if at in paths[shown] else 1 - shown
        response = browser.get(transcript_url(long), {"at": at} | given)
        address, _, anchor = response["Location"].partition("#")
        assert anchor == f"m-{at}"
        assert f"branch={number}" in address
        page, before = sequences(text_of(browser.get(address))), paths[number].index(at)
        # With what was said before it.
        assert page.index(at) == (before if before < 100 else 50)


def test_a_link_to_what_is_gone_leads_to_what_follows(browser, chat):
    delete_message(conversation_id=chat.pk, message_id=id_of(12), access=SCRIPT)
    for at, anchor in ((12, "m-13"), (99, "m-13"), (0, "m-1")):
        response = browser.get(transcript_url(chat), {"at": at, "branch": 7})
        assert response["Location"] == f"{transcript_url(chat)}?after=0&branch=7#{anchor}"
    response = browser.get(transcript_url(chat), {"at": 99, "branch": 4})
    assert response["Location"] == f"{transcript_url(chat)}?after=0&branch=4#m-6"
    delete_branch(conversation_id=chat.pk, number=3, access=SCRIPT)
    response = browser.get(transcript_url(chat), {"at": 6, "branch": 3})
    assert response["Location"].endswith("branch=4#m-6")


def test_a_date_leads_to_its_first_message_on_the_branch(browser, chat):
    Message.objects.update(created_at="2026-01-01T08:00:00Z")
    Message.objects.filter(sequence__gte=6).update(created_at="2026-01-02T08:00:00Z")
    for number, anchor in ((7, "m-7"), (4, "m-6"), (2, "m-4")):
        for name in ("at", "on"):
            query = {name: "2026-01-02", "branch": number}
            address = browser.get(transcript_url(chat), query)["Location"]
            assert address == f"{transcript_url(chat)}?after=0&branch={number}#{anchor}"


def test_every_link_within_the_transcript_keeps_the_branch(browser, long):
    Message.objects.filter(sequence=252).update(content="ä" * 20_001)
    url = transcript_url(long)
    response = browser.get(url, {"branch": 0, "after": 100, "raw": "1", "find": "message"})
    page = text_of(response)
    main = page[page.index('<div class="transcript') :]
    kept = [unescape(href) for href in re.findall(r'href="([^"#]*\?[^"]*)"', main)]
    within = [href for href in kept if href.startswith(("?", url)) and "/export/" not in href]
    assert len(within) > 150
    other = {href for href in within if "branch=0" not in href}
    to_version = f"{url}?after=100&branch=1&raw=1&find=message#m-251"
    to_current_one = f"{url}?branch=1&raw=1&find=message"
    assert other == {to_version, to_current_one}
    assert main.count('<input type="hidden" name="branch" value="0">') == 2

    whole = read(browser, long, branch=1, after=250)
    assert f"?message={id_of(252)}&amp;branch=1" in whole
    back = read(browser, long, message=id_of(252), branch=1)
    assert f'href="{url}?at=252&amp;branch=1">Show in conversation' in back


def test_links_name_the_branch_though_the_owner_may_switch(browser, long):
    following = links(browser.get(transcript_url(long)))["Next"]
    activate_branch(conversation_id=long.pk, number=0, access=SCRIPT)
    assert sequences(text_of(browser.get(following))) == path(long, 1)[100:200]


@pytest.mark.parametrize(("number", "status"), [("8", 404), ("999999", 404), ("x", 200), ("", 200)])
def test_a_branch_that_is_not_there_is_not_found(browser, chat, number, status):
    assert browser.get(transcript_url(chat), {"branch": number}).status_code == status
    query = {"branch": number, "message": id_of(1)}
    assert browser.get(transcript_url(chat), query).status_code == status


def test_a_conversation_with_one_line_has_branch_0_alone(browser, alice):
    conversation = make_conversation(alice, 3)
    page = read(browser, conversation, branch=0, branches=1)
    assert sequences(page) == [1, 2, 3]
    for absent in ('id="branches"', "Version ", "branch=", "data-version=", "<kbd>h</kbd>"):
        assert absent not in page
    assert browser.get(transcript_url(conversation), {"branch": 1}).status_code == 404
    assert AccessRecord.objects.get().detail == {"first": 1, "last": 3}


def test_one_branch_that_is_left_is_read_as_before(browser, chat):
    for number in (7, 6, 4, 3, 2, 1):
        delete_branch(conversation_id=chat.pk, number=number, access=SCRIPT)
    delete_branch(conversation_id=chat.pk, number=5, access=SCRIPT)
    page = read(browser, chat)
    assert sequences(page) == [1, 2]
    assert 'id="branches"' not in page
    assert versions(page) == {}
    assert "2</dd>" in page


def test_the_list_names_each_branch_with_its_first_words(browser, chat):
    url = transcript_url(chat)
    assert "Version 3: go to Roma." not in read(browser, chat)
    page = read(browser, chat, branch=4, branches=1)
    listed = re.search(r'id="branches".*?</section>', page, re.S)[0]
    rows = [re.sub(r"<[^>]+>|\s+", " ", row) for row in re.findall(r"<li>(.*?)</li>", listed, re.S)]
    rows = [re.sub(" +", " ", row) for row in rows]
    assert len(rows) == 8
    assert "Branch 7 owner's current one User: Edit 3: how do I get there on foot?" in rows[0]
    assert "4 messages , forked after #7" in rows[0].replace("messages,", "messages ,")
    assert (
        "Branch 4 shown Assistant: Version 5: go to Napoli. 2 messages, forked after #1" in rows[3]
    )
    assert "Branch 0 User: Which city has the best museums? 2 messages, last activity" in rows[7]
    assert f'href="{url}?at=12&amp;branch=7"' in listed
    assert f'href="{url}?branch=0"' in listed


def test_first_words_are_text(browser, chat):
    append(chat, "u", "<script>alert(1)</script> \u202ex\n**y**", id_of(1))
    append(chat, "a", "", id_of(1), tool_calls=[{"id": "c", "function": {"name": "f"}}])
    page = read(browser, chat, branches=1)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Assistant: <bdi>no text</bdi>" in page
    assert "\u202e" not in page


def test_the_list_is_in_pages(browser, alice):
    chat = make_conversation(alice, 2)
    for number in range(1, 120):
        append(chat, "a", f"answer {number}", id_of(1))
    first = read(browser, chat, branches=1)
    assert re.findall(r"(answer \d+)</bdi>", first) == [f"answer {n}" for n in range(119, 69, -1)]
    assert "?branches=2&amp;branch=" in first
    last = read(browser, chat, branches=9)
    assert re.findall(r"(answer \d+)</bdi>", last) == [f"answer {n}" for n in range(19, 0, -1)]
    assert "message 1</bdi>" in last


def test_a_record_names_the_branch_and_whose_first_words_were_shown(browser, chat):
    def record(**query):
        read(browser, chat, **query)
        return AccessRecord.objects.latest("id").detail

    assert record() == {"first": 1, "last": 13, "branch": 7}
    assert record(branch=2) == {"first": 1, "last": 4, "branch": 2}
    listed = {"branches": [7, 6, 5, 4, 3, 2, 1, 0]}
    assert record(branch=5, after=7, branches=1) == {"first": 8, "last": 9, "branch": 5} | listed


def test_the_audit_log_says_which_branch_was_read(staff, browser, chat):
    grant(staff, "view_accessrecord")
    read(browser, chat, branch=2)
    page = text_of(browser.get("/admin/conversations/accessrecord/?each=1"))
    assert "Messages #1 to #4 of branch 2" in page


def test_a_match_on_another_branch_is_marked_and_leads_there(browser, chat):
    page = read(browser, chat, find="version", branch=4)
    rows = re.findall(r'<li><a href="([^"]+)"[^>]*>#(\d+) Assistant</a>(.*?) <bdi', page)
    assert [int(sequence) for _, sequence, _ in rows] == [2, 3, 4, 5, 6, 7]
    marks = [re.sub("<[^>]+>", "", mark).strip() for *_, mark in rows]
    assert marks == ["branch 0", "branch 1", "branch 2", "branch 3", "", "branch 7"]
    for url, sequence, mark in rows:
        response = browser.get(unescape(url), follow=True)
        number = re.search(r"branch (\d)", mark)
        assert response.context["page"].branch.number == (int(number[1]) if number else 4)
        assert f'<article id="m-{sequence}" class="message is-assistant is-hit' in text_of(response)


def test_matches_of_all_branches_lead_to_one_another(browser, chat):
    response = browser.get(transcript_url(chat), {"find": "version", "at": 2}, follow=True)
    seen = []
    while True:
        page = response.context["page"]
        seen.append((response.context["findings"].current, page.branch.number))
        following = re.search(r'data-hit="next" href="([^"]+)"', text_of(response))
        if following is None:
            break
        response = browser.get(unescape(following[1]), follow=True)
    assert seen == [(2, 0), (3, 1), (4, 2), (5, 3), (6, 4), (7, 7)]


def test_a_result_of_the_list_opens_on_the_branch_that_has_it(browser, chat):
    for word, number in (("firenze", 3), ("train", 5), ("museums", 7)):
        page = text_of(browser.get(LIST, {"q": word}))
        address = unescape(re.search(r'<span class="snippet"><a href="([^"]+)"', page)[1])
        response = browser.get(address, follow=True)
        assert response.context["page"].branch.number == number
        assert "is-hit" in text_of(response)


def test_a_result_and_its_call_are_paired_on_their_branch_alone(browser, alice):
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    chat = make_conversation(alice, 1)
    asked = append(chat, "a", tool_calls=[call])  # 2
    append(chat, "tool", "first", tool_call_id="c")  # 3
    append(chat, "a", parent=id_of(1), tool_calls=[call])  # 4: branch 1
    append(chat, "tool", "of another call", tool_call_id="c")  # 5
    append(chat, "tool", "again", asked, tool_call_id="c")  # 6: branch 2
    append(chat, "tool", "of none", id_of(1), tool_call_id="c")  # 7: branch 3

    def pairs(number):
        page = read(browser, chat, branch=number)
        of_calls = re.findall(r'Result of <code>c</code>: <a href="#m-(\d)">', page)
        return of_calls, re.findall(r'Answers the call <code>c</code> of <a href="#m-(\d)">', page)

    assert [pairs(number) for number in (0, 1, 2, 3)] == [
        (["3"], ["2"]),
        (["5"], ["4"]),
        (["6"], ["2"]),
        ([], []),
    ]


def test_a_pair_is_linked_across_pages_and_what_other_branches_wrote(browser, alice):
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    chat = make_conversation(alice, 98)
    append(chat, "a", parent=id_of(97), tool_calls=[call])  # 99: branch 1
    fill = [MessageDraft(role="user", content="x") for _ in range(60)]
    append_drafts(conversation_id=chat.pk, drafts=fill, branch=0, access=SCRIPT)
    append_drafts(conversation_id=chat.pk, drafts=fill[:2], branch=1, access=SCRIPT)
    append(chat, "tool", "1", tool_call_id="c")  # 162: on the next page of branch 1
    page = read(browser, chat)
    assert sequences(page)[-3:] == [99, 160, 161]
    assert 'Result of <code>c</code>: <a href="?branch=1&amp;at=162">#162</a>' in page
    following = text_of(browser.get(links(browser.get(transcript_url(chat)))["Next"]))
    assert 'of <a href="?branch=1&amp;at=99">#99</a>' in following


def test_ratings_and_reviews_of_all_versions_stay_and_are_counted(staff, browser, chat):
    Message.objects.filter(sequence__in=[2, 6]).update(rating=1, prompt_tokens=10)
    Message.objects.filter(sequence=3).update(rating=-1, prompt_tokens=5)
    reviewer = access_of(staff, reader=True, writer=True)
    for sequence, score in ((2, 1), (4, -1)):
        review_message(
            conversation_id=chat.pk,
            message_id=id_of(sequence),
            score=score,
            comment=f"Review of {sequence}",
            access=reviewer,
        )
    activate_branch(conversation_id=chat.pk, number=7, access=SCRIPT)
    page = read(browser, chat)
    assert "2 good, 1 bad" in page
    assert "25 in, 0 out" in page
    assert "of all branches" in page
    assert "Review of" not in page
    for number, rating, review in ((0, "good", 2), (1, "bad", None), (2, None, 4)):
        page = read(browser, chat, branch=number)
        assert (f"Owner rating: {rating}" in page) == (rating is not None)
        assert (f"Review of {review}" in page) == (review is not None)
    for query in ({"rating": "-1"}, {"rating": "1"}, {"reviewed": "-1"}):
        assert browser.get(LIST, query).context["cl"].result_count == 1
    assert Review.objects.count() == 2


def test_a_review_leads_back_to_its_branch(staff, chat):
    grant(staff, "rate_message")
    browser = signed_in(staff)
    page = read(browser, chat)
    form = {
        "do": "review",
        "message": str(id_of(7)),
        "sequence": "7",
        "score": "1",
        "back": unescape(re.search(r'name="back" value="([^"]+)"', page)[1]),
    }
    activate_branch(conversation_id=chat.pk, number=0, access=SCRIPT)
    response = browser.post(f"{LIST}{chat.pk}/act/", form)
    assert response["Location"] == f"{transcript_url(chat)}?branch=7#m-7"


def test_what_was_deleted_is_said_where_it_is_known(browser, long):
    for sequence in (5, 300, 301):
        delete_message(conversation_id=long.pk, message_id=id_of(sequence), access=SCRIPT)
    page = read(browser, long, branch=1)
    assert page.count("deleted here") == 1
    assert "677 in 2 branches, 447 on this one, 3 deleted" in page
    assert "deleted here" not in read(browser, long, branch=1, after=220)


def test_the_list_of_conversations_says_what_it_counts(browser, alice, chat):
    make_conversation(alice, 13, title="A line")
    page = text_of(browser.get(LIST))
    sizes = re.findall(r'<td class="field-size[^"]*">(.*?)</td>', page)
    assert sizes == ["13", "13 in 8 branches"]


def test_who_may_not_read_messages_sees_no_branch(alice, chat):
    clerk = make_user("clerk", "view_conversation", is_staff=True)
    for query in ({}, {"branch": 2}, {"branches": 1}, {"at": 3}):
        assert signed_in(clerk).get(transcript_url(chat), query).status_code == 403
    assert signed_in(alice).get(transcript_url(chat), {"branch": 2}).status_code == 302
    assert not AccessRecord.objects.exists()


def test_a_reason_is_asked_for_and_the_branch_stays(browser, chat, settings):
    settings.CHAT_REQUIRE_READ_REASON = True
    url = f"{transcript_url(chat)}?branch=2&branches=1"
    page = text_of(browser.get(url))
    assert "go to" not in page
    assert f'name="back" value="{url.replace("&", "&amp;")}"' in page
    assert not AccessRecord.objects.exists()


def nested(owner, depth):
    """Each branch forks from the one before it, at its second message; the last is the active one,
    and every answer has a version more."""
    chat = make_conversation(owner, 2)
    at = id_of_newest()
    for number in range(depth):
        append(chat, "u", f"left {number}", at)
        at = append(chat, "a", f"right {number}", at)
    chat.refresh_from_db()
    return chat


def id_of_newest():
    return Message.objects.order_by("-created_at", "-sequence").first().id


@pytest.mark.parametrize("depth", [2, 60])
def test_a_page_costs_the_same_however_deep_branches_nest(browser, alice, statements, depth):
    """Five more than in a conversation with one line: the branch, the message that the page
    follows, what follows each message, the versions beside them, and all branches. A page in the
    first line and beyond it is one more, the list of branches two, a search inside five."""
    chat = nested(alice, depth)
    assert chat.active_branch == depth
    counts = []
    for query in ({}, {"branches": 1}, {"after": 3}, {"before": 5}, {"find": "right"}):
        with statements() as seen:
            page = read(browser, chat, **query)
        counts.append(len(seen) - is_distributed())
        assert not [sql for sql in seen if "OFFSET" in sql]
    assert len(versions(page)) == min(depth, 99)
    assert counts == [19, 21, 20, 19, 24]


@pytest.mark.parametrize("count", [4, 150])
def test_a_page_costs_the_same_for_any_number_of_branches(browser, alice, statements, count):
    chat = make_conversation(alice, 2)
    question = id_of(1)
    for number in range(count):
        append(chat, "a", f"answer {number}", question)
    Conversation.objects.update(updated_at=timezone.now())
    with statements() as seen:
        page = read(browser, chat)
    assert versions(page)[count + 2][:2] == (count + 1, count + 1)
    assert len(seen) == 19 + is_distributed()
    assert Branch.objects.count() == count + 1
