"""Traces of a real server, as a real receiver of OTLP over HTTP gets them."""

import gzip
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from django.conf import settings

from conversations.tests.chat.clients import names_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import SECRET, unauthorized
from conversations.tests.chat.servers import database_url, serving
from conversations.tests.factories import make_token, make_user

pytest.importorskip("opentelemetry.sdk", reason="requirements-extras.txt is not installed")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 60
QUESTION = "What is the secret of the marble jar?"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Span:
    def __init__(self, sent, service):
        self.name, self.kind, self.service = sent.name, sent.kind, service
        self.trace, self.id, self.parent = sent.trace_id, sent.span_id, sent.parent_span_id
        self.has_error = sent.status.code == 2
        self.attributes = {one.key: value_of(one.value) for one in sent.attributes}
        self.events = [event.name for event in sent.events]


def value_of(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiver():
    """Its URL, the spans that it has got, and their bytes."""
    spans, raw = [], bytearray()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            raw.extend(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {one.key: value_of(one.value) for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans.extend(Span(one, names["service.name"]) for one in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans, raw
        server.shutdown()


@contextmanager
def traced(provider, **environment):
    with (
        receiver() as (url, spans, raw),
        serving(
            provider,
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_BSP_SCHEDULE_DELAY="100",
            **environment,
        ) as server,
    ):
        yield server, spans, raw


@pytest.fixture
def token():
    return make_token(make_user("alice"))


def named(spans, name):
    return [one for one in spans if one.name == name]


def wait_for(spans, name, number=1):
    wait_until(lambda: len(named(spans, name)) >= number, SECONDS)
    return named(spans, name)


def test_requests_with_a_token_are_traced_with_their_statements(provider, token):
    with traced(provider) as (server, spans, raw):
        client = server.client(token)
        query = "?q=marble"
        assert client.get(f"/api/search{query}").status == 200
        (request,) = wait_for(spans, "GET search-list")
        assert request.service == "conversations"
        assert request.attributes["http.route"] == "api/search/?$"
        assert request.attributes["http.response.status_code"] == 200
        assert request.attributes["url.path"] == "/api/search"
        statements = [one for one in spans if one.trace == request.trace and one is not request]
        assert {one.parent for one in statements} == {request.id}
        assert {one.attributes["db.system.name"] for one in statements} == {"postgresql"}
        assert any("conversations_message" in one.name for one in statements)
        assert "CALL token" in {one.name for one in statements}
        for secret in (b"marble", token.encode(), b"%s"):
            assert secret not in raw


def test_the_trace_of_a_client_goes_on(provider, token):
    with traced(provider) as (server, spans, _):
        server.client(token).call("GET", "/api/me", traceparent=PARENT).close()
        (request,) = wait_for(spans, "GET me")
        assert request.trace.hex() == PARENT.split("-")[1]
        assert request.parent.hex() == PARENT.split("-")[2]


def test_a_login_session_and_a_refused_request_are_traced_too(provider):
    with traced(provider) as (server, spans, _):
        server.client("").call("GET", "/admin/login/").close()
        server.client(None).call("GET", "/api/me").close()
        wait_for(spans, "GET admin:login")
        (request,) = wait_for(spans, "GET me")
        assert request.attributes["http.response.status_code"] == 401


def test_a_model_call_belongs_to_the_request_that_asked(provider, token):
    with traced(provider) as (server, spans, raw):
        answer = server.client(token).ask(QUESTION)
        assert answer.status == 200
        (call,) = wait_for(spans, "chat scripted")
        (request,) = wait_for(spans, "POST chat")
        (turn,) = wait_for(spans, "turn")
        assert call.trace == turn.trace == request.trace
        assert call.parent == turn.id
        found = call.attributes
        assert found["gen_ai.operation.name"] == "chat"
        assert found["gen_ai.provider.name"] == "scripted"
        assert found["gen_ai.request.model"] == found["gen_ai.response.model"] == "scripted"
        assert found["gen_ai.response.finish_reasons"] == ["stop"]
        assert found["gen_ai.usage.input_tokens"] > 0
        assert found["gen_ai.usage.output_tokens"] > 0
        assert found["server.address"] == "127.0.0.1"
        # What the turn writes in threads of its own, too.
        written = [one for one in spans if one.parent == turn.id and one is not call]
        assert any(one.attributes.get("db.system.name") for one in written)
        text = answer.body["content"] if "content" in answer.body else json.dumps(answer.body)
        assert QUESTION.encode() not in raw
        assert text.encode() not in raw


def test_content_is_sent_only_when_asked_for(provider, token):
    with traced(provider, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true") as (
        server,
        spans,
        _,
    ):
        server.client(token).ask(QUESTION)
        (call,) = wait_for(spans, "chat scripted")
        sent = json.loads(call.attributes["gen_ai.input.messages"])
        assert sent[-1] == {"role": "user", "parts": [{"type": "text", "content": QUESTION}]}
        (said,) = json.loads(call.attributes["gen_ai.output.messages"])
        assert said["role"] == "assistant"
        assert said["parts"][0]["content"]


def test_a_model_that_fails_is_an_error_without_its_text(provider, token):
    provider.script(unauthorized())
    with traced(provider) as (server, spans, raw):
        server.client(token).ask(QUESTION)
        (call,) = wait_for(spans, "chat scripted")
        assert call.has_error
        assert call.attributes["error.type"] == "AuthenticationError"
        assert not call.events
        assert SECRET.encode() not in raw


def test_a_statement_that_fails_is_an_error_without_its_text():
    code = (
        "import django; django.setup()\n"
        "from django.db import connection, transaction\n"
        "from conversations import tracing\n"
        "tracing.start()\n"
        "try:\n"
        "    with tracing.span('outer'), transaction.atomic(), connection.cursor() as cursor:\n"
        "        cursor.execute('SELECT %s::int', ['a marble jar'])\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    with receiver() as (url, spans, raw):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DATABASE_URL": database_url(), "OTEL_EXPORTER_OTLP_ENDPOINT": url},
            capture_output=True,
            text=True,
        )
        assert "a marble jar" in done.stdout, done.stderr
        (failed,) = wait_for(spans, "SELECT")
        wait_for(spans, "outer")
    assert failed.has_error
    assert failed.attributes["error.type"] == "22P02"
    assert b"marble" not in raw


def test_a_receiver_that_is_away_costs_no_request(provider, token, nobody_listens):
    with serving(provider, OTEL_EXPORTER_OTLP_ENDPOINT=nobody_listens) as server:
        stream = server.client(token).stream(QUESTION)
        assert names_of(stream)[-1] == "done"
        assert server.client(token).get("/api/me").status == 200


def test_nothing_is_imported_where_no_endpoint_is_set():
    code = (
        "import sys, django; django.setup()\n"
        "from django.test import Client\n"
        "Client().get('/healthz')\n"
        "import conversations.chat.llm.providers, conversations.chat.runtime.live_turn\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, capture_output=True, text=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr
