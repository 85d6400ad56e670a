"""Processes, ports and environments of real servers. Imports nothing of Django."""

import json
import socket
import subprocess


def children_of(*pids):
    """The numbers of the processes whose parent is one of these."""
    if not pids:
        return []
    parents = ",".join(map(str, pids))
    found = subprocess.run(
        ["pgrep", "-P", parents], capture_output=True, text=True, check=False
    ).stdout
    return [int(line) for line in found.split()]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment_of(provider, timeout=30):
    """`timeout` is the provider's in seconds, to be reached and of silence."""
    scripted = {"base_url": provider.url, "model": "scripted"}
    patient = {"timeout": timeout, "connect": timeout}
    providers = {"scripted": scripted | patient}
    return {"CHAT_PROVIDER": "scripted", "CHAT_PROVIDERS": json.dumps(providers)}
