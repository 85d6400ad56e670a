"""One installation for all faults: it goes on after each of them."""

import resource

import pytest

from bench.faults.slow_clients import installed_with_models

FILES = 1_000


@pytest.fixture(scope="session")
def site():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, FILES), hard), hard))
    with installed_with_models() as found:
        found.client.ask()  # imports the library of the agent
        yield found
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
