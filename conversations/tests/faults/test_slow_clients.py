"""Each disturbance of `bench/faults/slow_clients.py` for a second: no ordinary request fails, and
`/healthz` answers. Times are for the script, on a quiet machine."""

import pytest

from bench.faults.slow_clients import LOGINS_A_MINUTE, WRITERS, disturbances, ordinary

CLIENTS, STREAMS = 300, 150
DISTURBANCES = [
    f"{CLIENTS} slow heads",
    f"{CLIENTS} slow bodies",
    f"{CLIENTS} slow bodies with a token",
    f"{WRITERS} writers on a locked row",
    f"{LOGINS_A_MINUTE} wrong logins a minute",
    f"{STREAMS} clients of one answer",
    f"{STREAMS} answers",
]


@pytest.mark.parametrize("name", DISTURBANCES)
def test_ordinary_requests_are_answered(site, name):
    with disturbances(site, CLIENTS, STREAMS)[name]():
        figures = ordinary(site, 1)
    assert figures.failed == 0
    assert len(figures.ordinary) > 3
    assert figures.health
