"""A TypeScript client of types generated from the OpenAPI page, against a real server.

`typescript/` holds it. What it needs is installed into `.venv/node-client`, once for each
package-lock.json, and never into the source tree.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from conversations.models import Conversation
from conversations.tests.api.contract.conftest import token_of
from conversations.tests.api.contract.openapi import SCHEMA_FILE
from conversations.tests.factories import make_conversation, make_user

SOURCE = Path(__file__).parent / "typescript"
MANIFESTS = ["package.json", "package-lock.json", ".npmrc"]
CLIENT = ["package.json", "tsconfig.json", "client.ts"]
CACHE = settings.BASE_DIR / ".venv" / "node-client"
TIME_LIMIT = 120  # seconds, for each command
NOT_RUN = "THE TYPESCRIPT CLIENT WAS NOT TESTED: "


@pytest.fixture
def packages(tmp_path):
    """The folder node_modules of what package-lock.json names."""
    missing = [command for command in ("node", "npm") if shutil.which(command) is None]
    if missing:
        pytest.skip(f"{NOT_RUN}no {' and no '.join(missing)} here (Node 20 or newer has both)")
    ready = CACHE / fingerprint() / "node_modules"
    return ready if ready.is_dir() else install(tmp_path)


@pytest.fixture
def client(packages, tmp_path):
    """The compiled client, with the packages beside it."""
    folder = tmp_path / "client"
    folder.mkdir()
    copy(CLIENT, folder)
    (folder / "node_modules").symlink_to(packages)
    run("node_modules/.bin/openapi-typescript", SCHEMA_FILE, "--output", "api.ts", cwd=folder)
    run("node_modules/.bin/tsc", "--strict", "--project", ".", cwd=folder)
    return folder / "built" / "client.js"


def test_a_typescript_client_does_a_conversation_from_start_to_end(client, server):
    alice = make_user("alice")
    older = make_conversation(alice, 1)
    foreign = make_conversation(make_user("bob"), 1)
    output = run(
        "node",
        client,
        cwd=client.parent,
        CONTRACT_URL=server.url,
        CONTRACT_TOKEN=token_of(alice),
        CONTRACT_FOREIGN_ID=str(foreign.pk),
    )
    (line,) = output.splitlines()
    seen = json.loads(line)
    not_found = {"type": "client_error", "codes": ["not_found"]}
    assert seen.pop("id") not in {str(older.pk), str(foreign.pk)}
    assert seen == {
        "sequences": [1, 2, 3, 4],
        "pages": [
            ["first question", "an answer about xylophones", "second question"],
            ["a last answer"],
        ],
        "title": "Renamed",
        "found": 2,
        "problem": not_found,
        "sessionProblem": not_found,
        "validationProblem": [["path", "session_id"]],
        "deleted": "deleted",
    }
    assert set(Conversation.objects.all()) == {older, foreign}


def test_versions_are_exact_and_the_lock_names_no_registry():
    manifest = json.loads((SOURCE / "package.json").read_text())
    wanted = manifest["dependencies"] | manifest["devDependencies"]
    assert not [name for name, given in wanted.items() if not re.fullmatch(r"[0-9.]+", given)]
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    assert not [path for path, package in packages.items() if "resolved" in package]
    assert not [path for path, package in packages.items() if path and "integrity" not in package]


def fingerprint():
    content = b"\0".join((SOURCE / name).read_bytes() for name in MANIFESTS)
    return hashlib.sha256(content).hexdigest()[:16]


def install(tmp_path):
    """Install beside the cache, then rename: other runs see all of it or nothing."""
    building = CACHE / f"{fingerprint()}.{os.getpid()}"
    try:
        building.mkdir(parents=True)
    except OSError:  # not ours to write to
        building = tmp_path / "packages"
        building.mkdir()
    try:
        copy(MANIFESTS, building)
        npm_ci(building, tmp_path / "npm")
        if building.parent == CACHE:
            return moved(building, CACHE / fingerprint()) / "node_modules"
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return building / "node_modules"


def npm_ci(folder, spare_cache):
    ours = os.access(Path("~").expanduser(), os.W_OK)  # not under a home left from another user
    cache = {} if ours else {"npm_config_cache": str(spare_cache)}
    try:
        done = execute("npm", "ci", "--include=dev", cwd=folder, **cache)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{NOT_RUN}npm did not install it within {TIME_LIMIT} seconds")
    # What is wrong with the lock file itself is a defect, not a machine without a network.
    assert not re.search("EUSAGE|EINTEGRITY", done.stderr), done.stderr
    if done.returncode:
        pytest.skip(f"{NOT_RUN}npm cannot install it:\n{done.stderr}")


def moved(folder, target):
    try:
        return folder.rename(target)
    except OSError:  # another run was first
        shutil.rmtree(folder)
        return target


def copy(names, folder):
    for name in names:
        shutil.copy(SOURCE / name, folder)


def run(*command, cwd, **environment):
    done = execute(*command, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def execute(*command, cwd, **environment):
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=TIME_LIMIT,
    )
