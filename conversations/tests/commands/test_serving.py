import socket

import pytest
from django.core.management.base import CommandError

from conversations.management.serving import _metrics_folder, check_address, threads_per_worker


@pytest.fixture
def listening():
    # As the web server does, with a share of the port for others.
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_refused(listening):
    with pytest.raises(CommandError, match=f"Port {listening} of 127.0.0.1 is in use") as caught:
        check_address("127.0.0.1", listening)
    assert f"make run PORT={listening + 1}" in str(caught.value)


def test_a_host_that_is_not_this_machine_is_refused():
    with pytest.raises(CommandError, match=r"Cannot listen on port 1234 of 192\.0\.2\.1"):
        check_address("192.0.2.1", 1234)


def test_a_port_that_was_just_given_up_is_free():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    check_address("127.0.0.1", port)


def test_threads_stay_below_the_connections_of_the_database():
    assert threads_per_worker(2, 200) == 5
    assert threads_per_worker(2, 40) == 4
    assert threads_per_worker(20, 200) == 3
    assert threads_per_worker(50, 200) == 0


def test_a_given_folder_of_metrics_loses_only_those_of_earlier_processes(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for name in ("counter_0.db", "gauge_livesum_0.db", "0.lock", "chats.db", "apt.lock"):
        (tmp_path / name).touch()
    environment = _metrics_folder("127.0.0.1", 8000)
    assert environment == {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    assert {path.name for path in tmp_path.iterdir()} == {"chats.db", "apt.lock"}
