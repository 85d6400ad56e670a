"""A download whose making fails in the middle says so at its end."""

import asyncio
import io

import pytest
from django.http import StreamingHttpResponse

from conversations.formats import READERS, Files, Rejected, read_files
from conversations.server.application import NOT_COMPLETE, Application

SCOPE = {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": []}
LINE = b'{"title": "T", "messages": [{"role": "user", "content": "x"}]}\n'


def failing():
    yield LINE
    raise ConnectionError("secret")


def sent_by(response):
    """The body that a client gets."""
    application = Application()
    application.start = lambda: None
    application._handler.respond = lambda *request: response
    sent = []

    async def run():
        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        await application(SCOPE, receive, send)

    asyncio.run(run())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_it_ends_with_a_line_that_says_so():
    status, body = sent_by(StreamingHttpResponse(failing()))
    assert (status, body) == (200, NOT_COMPLETE)


@pytest.mark.parametrize("file_format", sorted(READERS))
def test_no_reader_takes_that_line_for_data(file_format):
    found = read_files(Files(io.BytesIO(LINE + NOT_COMPLETE)), file_format)
    assert [type(one) for one in found][-1] is Rejected


def test_one_that_does_not_fail_has_no_such_line():
    assert sent_by(StreamingHttpResponse([LINE, LINE])) == (200, LINE + LINE)
