"""docs/api.md: its very lines, run against a real server."""

import os
import re
import subprocess
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.urls import resolve

from conversations.tests.api.contract.conftest import token_of
from conversations.tests.factories import make_trusted, make_user

PAGE = (settings.BASE_DIR / "docs" / "api.md").read_text()
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()
]
CLAIMED = re.compile(r"^curl .*   # (\d{3})$")


def test_every_line_says_what_it_answers():
    for line in LINES:
        assert CLAIMED.match(line) or re.match(r"^\w+=\$\(", line), line
    assert len([line for line in LINES if CLAIMED.match(line)]) > 40


def test_the_lines_answer_what_they_claim(server):
    """All in one shell, in order, as a reader would paste them; each prints its status."""
    claims = [(line, CLAIMED.match(line)) for line in LINES]
    script = [
        line.replace("curl ", r"curl -o /dev/null -w '%{http_code}\n' ", 1) if m else line
        for line, m in claims
    ]
    environment = os.environ | {
        "API": f"{server.url}/api",
        "TOKEN": token_of(make_user("alice")),
        "BACKEND": token_of(make_trusted("backend")),
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [(line, m.group(1)) for line, m in claims if m]
    assert list(zip([line for line, _ in expected], done.stdout.split(), strict=True)) == expected


@pytest.mark.parametrize("table", re.findall(r"^## Contract.*?(?=^## |\Z)", PAGE, re.S | re.M))
def test_the_routes_of_the_tables_exist(table):
    routes = re.findall(r"`(?:[A-Z ]+`* *`*)*(/api/[^`?\s]*)", table)
    assert routes
    for route in routes:
        resolve(urlsplit(re.sub(r"\{\w+\}", "x", route)).path.rstrip("/"))
