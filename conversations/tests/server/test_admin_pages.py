"""The admin on the web server: forms, cookies, and downloads that are made while they are sent."""

import re
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from django.contrib.auth.models import User

from conversations.models import AccessRecord
from conversations.services import add_message, get_or_create_conversation
from conversations.tests.chat.servers import serving
from conversations.tests.server.sockets import connect, head

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES, LENGTH = 300, 20_000


class Browser:
    def __init__(self, url):
        self.url, self.cookies = url, CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.cookies))

    def open(self, path, **form):
        data = urlencode(form | {"csrfmiddlewaretoken": self._token}).encode() if form else None
        reply = self._opener.open(self.url + path, data, timeout=60)
        body = reply.read().decode()
        if found := re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', body):
            self._token = found[1]
        return reply, body


@pytest.fixture
def browser(provider):
    User.objects.create_superuser("admin", password="correct horse")
    with serving(provider, threads=2) as server:
        found = Browser(server.url)
        found.open("/admin/login/")
        _, body = found.open(
            "/admin/login/?next=/admin/", username="admin", password="correct horse"
        )
        assert "Conversations" in body
        yield found


def test_an_export_is_whole_and_a_slow_reader_of_it_holds_no_thread(browser):
    chat = get_or_create_conversation(user_id="carol")
    for number in range(MESSAGES):
        text = f"{number} " + "x" * LENGTH
        add_message(conversation_id=chat.id, role="assistant", content=text)
    page = f"/admin/conversations/conversation/export/?ids={chat.id}"
    browser.open(page)
    reply, whole = browser.open(page, format="json")
    assert "attachment" in reply.headers["Content-Disposition"]
    assert len(re.findall(r'"\d+ x', whole)) == MESSAGES
    cookies = "; ".join(f"{one.name}={one.value}" for one in browser.cookies)
    form = urlencode({"format": "json", "csrfmiddlewaretoken": browser._token}).encode()
    request = head(
        "POST",
        page,
        Cookie=cookies,
        Content_Type="application/x-www-form-urlencoded",
        Content_Length=str(len(form)),
    )
    before = AccessRecord.objects.count()
    slow = [connect(browser.url) for _ in range(4)]
    for one in slow:
        one.sendall(request + form)
        assert one.recv(12) == b"HTTP/1.1 200"
    browser.open("/admin/")
    assert AccessRecord.objects.count() == before + len(slow)
    for one in slow:
        one.close()
    browser.open("/admin/")
