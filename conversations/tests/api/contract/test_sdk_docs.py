"""The Python of docs/api.md: its very lines, run with the real SDKs. Their models are a server
here, which answers in each protocol what the SDK's own types say."""

import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from django.conf import settings

from conversations.models import Message
from conversations.tests import sdk_messages
from conversations.tests.api.contract.conftest import token_of
from conversations.tests.factories import make_conversation, make_user

PAGE = (settings.BASE_DIR / "docs" / "api.md").read_text()
FIRST, *SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
# Those that cannot be installed beside our packages are sent as they were dumped elsewhere.
ELSEWHERE = ("langchain", "litellm")


@pytest.fixture(scope="module")
def models():
    response = sdk_messages.openai_responses()["response"]
    # The agent of the page has no tools, and takes no refusal.
    thought, said = response["output"][0], response["output"][-1]
    answers = {
        "/v1/chat/completions": sdk_messages.openai_chat()["completion"],
        "/v1/responses": response | {"output": [thought, said | {"content": said["content"][:1]}]},
        "/v1/messages": sdk_messages.anthropic()["message"],
    }

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split()[1])
def test_the_lines_record_what_the_sdk_answers(server, models, snippet):
    compile(snippet, "docs/api.md", "exec")
    if any(name in snippet for name in ELSEWHERE):
        return
    alice = make_user("alice")
    chat = make_conversation(alice)
    environment = {
        "API": f"{server.url}/api",
        "TOKEN": token_of(alice),
        "CONVERSATION": str(chat.pk),
        "OPENAI_BASE_URL": f"{models}/v1",
        "OPENAI_API_KEY": "none",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "ANTHROPIC_BASE_URL": models,
        "ANTHROPIC_API_KEY": "none",
    }
    done = subprocess.run(
        [sys.executable, "-c", FIRST + snippet],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stored = list(Message.objects.of(alice.pk, chat.pk).in_order())
    assert stored[0].content == "What is the weather in Rome?"
    said = stored[-1]
    assert said.content.startswith("It is 24 °C.") or said.tool_calls
