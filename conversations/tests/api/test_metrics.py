"""/metrics: who may read it, and what it says."""

import re

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from conversations import metrics
from conversations.api.metrics import FORWARDING
from conversations.models import PendingChange, Status
from conversations.models.ids import new_id
from conversations.models.turn import Step, Turn
from conversations.tests.factories import client_for, make_staff

pytestmark = pytest.mark.django_db
TOKEN = "scrape-7aUq1"


def get(**headers):
    address = headers.pop("address", "127.0.0.1")
    return Client().get("/metrics", headers=headers, REMOTE_ADDR=address)


def samples():
    """Of this process: values by name and labels."""
    found = {}
    for family in text_string_to_metric_families(get().content.decode()):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.items())] = sample.value
    return found


def requests_of(route, method, status):
    labels = (("method", method), ("route", route), ("status", str(status)))
    return samples().get(("conversations_http_request_duration_seconds_count", *labels), 0)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("127.3.2.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.0.2.1", 403),
        ("::ffff:192.0.2.1", 403),
        ("", 403),
        ("nonsense", 403),
    ],
)
def test_without_a_token_they_are_read_from_the_same_machine_only(address, status):
    assert get(address=address).status_code == status


@pytest.mark.parametrize("header", FORWARDING)
def test_what_a_proxy_on_the_same_machine_forwards_is_refused(header):
    assert get(**{header: "127.0.0.1"}).status_code == 403


def test_behind_a_trusted_proxy_the_address_is_what_it_has_seen(settings):
    settings.TRUSTED_PROXIES = 1
    assert get(**{"X-Forwarded-For": "127.0.0.1, 192.0.2.1"}).status_code == 403
    assert get(**{"X-Forwarded-For": "127.0.0.1"}).status_code == 200
    assert get().status_code == 200


@pytest.mark.parametrize("sent", [{"X-Forwarded-For": "unknown"}, {"X-Forwarded-Proto": "https"}])
def test_a_trusted_proxy_that_does_not_say_for_whom_it_asks_is_refused(settings, sent):
    settings.TRUSTED_PROXIES = 1
    assert get(**sent).status_code == 403


def test_with_a_token_only_who_has_it_reads_them(settings):
    settings.METRICS_TOKEN = TOKEN
    assert get(authorization=f"Bearer {TOKEN}", address="192.0.2.1").status_code == 200
    for sent in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "Bearer ä"):
        assert get(authorization=sent).status_code == 403
    assert get().status_code == 403


def test_neither_a_session_nor_an_api_token_of_staff_opens_them(settings):
    settings.METRICS_TOKEN = TOKEN
    staff = make_staff()
    assert client_for(staff).get("/metrics").status_code == 403
    client = Client()
    client.force_login(staff)
    assert client.get("/metrics").status_code == 403


def test_only_get_and_head():
    assert Client().post("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 405


def test_requests_are_counted_by_the_name_of_their_view(api, alice):
    before = requests_of("conversation-detail", "GET", 404)
    for _ in range(3):
        api.get(f"/api/conversations/{new_id()}")
    assert requests_of("conversation-detail", "GET", 404) == before + 3
    text = get().content.decode()
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", text)
    assert alice.username not in text


def test_paths_and_methods_that_a_client_makes_up_get_no_label_of_their_own():
    before = requests_of("none", "GET", 404)
    for number in range(3):
        Client().get(f"/made-up/{number}")
    assert requests_of("none", "GET", 404) == before + 3
    Client().generic("BREW", "/made-up/4")
    assert requests_of("none", "other", 404) >= 1
    assert "made-up" not in get().content.decode()


def turn_of(model, status):
    step = Step(new_id(), prompt_tokens=11, completion_tokens=5, first_token_ms=300)
    return Turn(new_id(), 1, new_id(), None, "scripted", model, [step], status=status)


def test_a_turn_is_counted_with_its_tokens():
    metrics.count_turn(turn_of("counted", Status.COMPLETE.value), 2.0)
    found = samples()
    labels = (("model", "counted"), ("provider", "scripted"))
    counted = "conversations_turn_duration_seconds_count"
    assert found[counted, *labels, ("status", "complete")] == 1
    assert found["conversations_turn_first_token_seconds_sum", *labels] == 0.3
    tokens = "conversations_turn_tokens_total"
    assert found[tokens, ("kind", "completion"), *labels] == 5
    assert found[tokens, ("kind", "prompt"), *labels] == 11


def test_a_model_that_never_answered_gets_no_label_and_their_number_is_bounded(monkeypatch):
    metrics.count_turn(turn_of("made-up-model", Status.FAILED.value), 2.0)
    monkeypatch.setattr(metrics, "MAX_MODELS", len(metrics._models))
    metrics.count_turn(turn_of("one-too-many", Status.COMPLETE.value), 2.0)
    text = get().content.decode()
    assert "made-up-model" not in text
    assert "one-too-many" not in text
    assert 'model="other"' in text


def test_figures_of_the_database_and_of_the_process(api):
    api.post("/api/conversations", {"title": "one"})
    found = samples()
    assert found["conversations_database_up",] == 1
    assert found["conversations_database_size_bytes",] > 1_000_000
    assert found["conversations_database_max_connections",] > 0
    assert found["conversations_database_connections", ("state", "active")] >= 1
    assert found["conversations_changes_pending",] == PendingChange.objects.count() > 0
    assert found["conversations_changes_pending_age_seconds",] >= 0
    names = {name for name, *_ in found}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= names
