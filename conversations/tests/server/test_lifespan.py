"""A server that tells of neither its start nor its end."""

import os
import subprocess
import sys

from django.conf import settings

from conversations.models import PendingChange
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.servers import database_url
from conversations.tests.factories import make_conversation, make_user

SECONDS = 60
# One request, then it goes on until its input ends.
ASK = """
import asyncio, sys
from chatproject.asgi import application

scope = {"type": "http", "method": "GET", "path": "/healthz", "query_string": b"", "headers": []}

async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}

async def send(message):
    print(message.get("status", ""), flush=True)

async def main():
    await application(scope, receive, send)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def test_the_first_request_begins_what_runs_in_the_background(transactional_db):
    make_conversation(make_user("ann"), 1)
    assert PendingChange.objects.exists()
    process = subprocess.Popen(
        [sys.executable, "-c", ASK],
        env=os.environ | {"DATABASE_URL": database_url(), "CHAT_PROVIDER": ""},
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "200\n"
        wait_until(lambda: not PendingChange.objects.exists(), SECONDS)
    finally:
        process.communicate("", timeout=SECONDS)
