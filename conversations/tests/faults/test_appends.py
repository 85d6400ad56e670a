"""Each fault of `bench/faults/` for a few seconds: nothing that was acknowledged is lost, and the
server recovers by itself."""

from dataclasses import replace

import pytest

from bench.faults import (
    full_disk,
    killed_backends,
    killed_everything,
    killed_postmaster,
    killed_workers,
    reloads,
    stopped_database,
)
from bench.faults.fault import disturb
from bench.faults.installation import installed

FAULTS = (
    killed_workers,
    killed_backends,
    killed_postmaster,
    stopped_database,
    killed_everything,
    reloads,
)
SECONDS = 3.0


def assert_nothing_is_lost(installation, fault):
    outcome = disturb(installation, replace(fault, every=1), SECONDS)
    failures = outcome.failures(connections_are_lost=fault.connections_are_lost)
    assert not failures, f"{failures}\n{outcome}\n{installation.end_of_log()}"
    assert outcome.acknowledged
    return outcome


@pytest.mark.parametrize(
    "fault", [one.FAULT for one in FAULTS], ids=[one.__name__.rpartition(".")[2] for one in FAULTS]
)
def test_no_acknowledged_message_is_lost(site, fault):
    assert_nothing_is_lost(site.installation, fault)


def test_no_acknowledged_message_is_lost_when_the_disk_is_full(tmp_path_factory):
    if not full_disk.can_mount(tmp_path_factory.mktemp("probe")):
        pytest.skip(full_disk.CANNOT_MOUNT)
    folder = tmp_path_factory.mktemp("small")
    with installed(folder, runs_in=full_disk.on_small_disk(folder)) as installation:
        for happen in (full_disk.fill, full_disk.fill_with_log):
            before = installation.postmaster
            outcome = assert_nothing_is_lost(installation, replace(full_disk.FAULT, happen=happen))
            assert outcome.answers["503 with Retry-After"]
        assert installation.postmaster != before  # the database had to stop
