"""/metrics of real servers: the figures of all their processes, whoever is asked and dies."""

import http.client
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from prometheus_client.parser import text_string_to_metric_families

from conversations.models import Conversation
from conversations.services.conversations import create_conversation
from conversations.tests.api.test_chat_processes import read_until
from conversations.tests.chat.clients import names_of
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_behaviours import says
from conversations.tests.chat.servers import Route, machine, serving
from conversations.tests.factories import make_token, make_user

REQUESTS = "conversations_http_request_duration_seconds_count"
SECONDS = 60


def get(server, path, **headers):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=SECONDS)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def samples(server):
    status, text = get(server, "/metrics")
    assert status == 200, text
    return [one for family in text_string_to_metric_families(text) for one in family.samples]


def total(server, name, **labels):
    return sum(
        one.value
        for one in samples(server)
        if one.name == name and labels.items() <= one.labels.items()
    )


def pids(server):
    return {
        int(one.labels["pid"])
        for one in samples(server)
        if one.name == "process_resident_memory_bytes"
    }


def ask_both(server, token, number):
    """From many connections at once, so that both processes get some."""

    def ask(_):
        return get(server, "/api/me", Authorization=f"Bearer {token}")[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(number))) == {200}


@pytest.fixture
def token(transactional_db):
    return make_token(make_user("alice"))


def test_the_figures_are_those_of_all_processes_dead_ones_included(provider, token):
    with serving(provider, workers=2) as server:
        ask_both(server, token, 40)
        assert total(server, REQUESTS, route="me", status="200") == 40
        assert pids(server) == {*server.workers, *server.fork_servers}
        wait_until(lambda: total(server, "conversations_server_threads") == 16, SECONDS)
        killed = server.workers
        server.kill_workers()
        wait_until(lambda: len(set(server.workers) - set(killed)) == 2, SECONDS)
        ask_both(server, token, 10)
        assert total(server, REQUESTS, route="me", status="200") == 50
        assert pids(server) == {*server.workers, *server.fork_servers}
        wait_until(lambda: total(server, "conversations_server_threads") == 16, SECONDS)


def test_a_reload_keeps_the_counters_and_few_files(provider, token):
    with serving(provider, workers=1) as server:
        ask_both(server, token, 5)
        for _ in range(3):
            before = server.workers
            os.kill(server.process.pid, signal.SIGHUP)
            wait_until(lambda before=before: not set(before) & set(server.workers), SECONDS)
        wait_until(lambda: len(server.fork_servers) == len(server.workers) == 1, SECONDS)
        assert total(server, REQUESTS, route="me", status="200") == 5
        folder = Path(settings.DATA_DIR, "metrics", urlsplit(server.url).netloc.replace(":", "-"))
        # Those of an old and a new release, which took turns: a web process, and that which it is
        # forked from.
        assert len(list(folder.glob("*.lock"))) <= 4
        assert folder.stat().st_mode & 0o077 == 0


def test_streams_and_turns_are_counted_while_they_run_and_after(provider, token):
    gate = threading.Event()
    provider.script(says("a", gate, "b"))
    with serving(provider, workers=2) as server:
        stream = server.client(token).stream()
        assert read_until(stream, "a")
        wait_until(lambda: total(server, "conversations_server_waiting") == 1, SECONDS)
        wait_until(lambda: total(server, "conversations_server_turns") == 1, SECONDS)
        gate.set()
        assert names_of(stream)[-1] == "done"
        wait_until(lambda: total(server, "conversations_server_waiting") == 0, SECONDS)
        turns = "conversations_turn_duration_seconds_count"
        assert total(server, turns, provider="scripted", model="scripted", status="complete") == 1
        assert total(server, "conversations_turn_tokens_total", kind="completion") > 0
        assert total(server, REQUESTS, route="chat", method="POST", status="200") == 1


def test_writes_that_wait_for_their_conversation_are_queued(provider, token, transactional_db):
    chat, _ = create_conversation(owner=User.objects.get(username="alice"))
    path = f"/api/conversations/{chat.pk}/messages"
    with serving(provider, workers=1) as server, ThreadPoolExecutor(3) as pool:
        client = server.client(token)
        with transaction.atomic():
            Conversation.objects.select_for_update().get(pk=chat.pk)
            bodies = [{"role": "user", "content": "Hello"}] * 3
            sent = [pool.submit(client.call, "POST", path, body) for body in bodies]
            wait_until(lambda: total(server, "conversations_server_queued") == 2, SECONDS)
            assert total(server, "conversations_server_busy_threads") == 1
        for one in sent:
            one.result().close()


def test_without_the_folder_of_the_figures_only_metrics_fail(provider, token, tmp_path):
    with machine(provider, tmp_path) as server:
        assert get(server, "/metrics")[0] == 200
        (folder,) = (tmp_path / "data" / "metrics").iterdir()
        shutil.rmtree(folder)
        folder.write_text("no folder")
        status, body = get(server, "/metrics")
        assert status == 500
        assert body.startswith("<!DOCTYPE html>")
        assert str(folder) not in body
        assert get(server, "/healthz")[0] == 200
        assert get(server, "/api/me", Authorization=f"Bearer {token}")[0] == 200


def test_with_a_token_it_is_needed_over_the_network_too(provider, token):
    with serving(provider, METRICS_TOKEN="s3cret") as server:
        assert get(server, "/metrics")[0] == 403
        assert get(server, "/metrics", Authorization=f"Bearer {token}")[0] == 403
        assert get(server, "/metrics", Authorization="Bearer s3cret")[0] == 200


def test_a_database_that_is_away_is_a_figure_too(provider, token, tmp_path):
    route = Route()
    with machine(provider, tmp_path, route=route) as server:
        assert total(server, "conversations_database_up") == 1
        route.cut()
        try:
            assert total(server, "conversations_database_up") == 0
            assert total(server, "conversations_server_threads") >= 0
        finally:
            route.restore()
        assert total(server, "conversations_database_up") == 1
