"""Each disturbance of `bench/faults/slow_clients.py` for a second: no ordinary request fails, and
`/healthz` answers. Times are for the script, on a quiet machine."""

import resource

import pytest

from bench.faults.slow_clients import LOGINS_A_MINUTE, WRITERS, disturbances, ordinary
from bench.faults.slow_clients import installed_with_models as installed

CLIENTS, STREAMS = 300, 150
FILES = 1_000
DISTURBANCES = [
    f"{CLIENTS} slow heads",
    f"{CLIENTS} slow bodies",
    f"{CLIENTS} slow bodies with a token",
    f"{WRITERS} writers on a locked row",
    f"{LOGINS_A_MINUTE} wrong logins a minute",
    f"{STREAMS} clients of one answer",
    f"{STREAMS} answers",
]


@pytest.fixture(scope="module")
def site():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, FILES), hard), hard))
    with installed() as found:
        found.client.ask()  # imports the library of the agent
        yield found
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", DISTURBANCES)
def test_ordinary_requests_are_answered(site, name):
    with disturbances(site, CLIENTS, STREAMS)[name]():
        figures = ordinary(site, 1)
    assert figures.failed == 0
    assert len(figures.ordinary) > 3
    assert figures.health
