"""The image's files, without an engine: what is linted, and its command as a process."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STARTS_WITHIN = 120


def instruction(name):
    """The arguments of the last instruction of this name in exec form."""
    text = DOCKERFILE.replace("\\\n", " ")
    *_, found = re.findall(rf"^{name}\s+(?:--\S+\s+)*(?:CMD\s+)?(\[.*\])$", text, re.MULTILINE)
    return json.loads(found)


def test_the_dockerfile_has_no_findings():
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint has no wheel for this system")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_names_a_service_for_each_dependency_and_a_volume_for_each_name():
    found = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    web, database = found["services"]["web"], found["services"]["database"]
    assert set(web["depends_on"]) == {"database"}
    mounted = {volume.split(":")[0] for one in (web, database) for volume in one["volumes"]}
    assert mounted == set(found["volumes"])
    assert web["ports"] == ["127.0.0.1:8000:8000"], "TLS is the proxy's"
    # What must be set is asked for, and never has a default in the file.
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert all(":?" in one for one in re.findall(r"\$\{POSTGRES_PASSWORD[^}]*\}", text))


ODD = "p@ss:w/rd#%?&'\" $x\\"


def environment_of_the_web_server(**given):
    """As an engine makes it of compose.yaml and these variables."""
    found = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))

    def value_of(match):
        return given.get(match[1]) or match[2] or ""

    return {
        name: re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", value_of, value)
        for name, value in found["services"]["web"]["environment"].items()
    }


@pytest.mark.django_db
def test_a_password_of_any_characters_reaches_the_database():
    """On the server of the tests, which needs none: libpq says which one it has."""
    given = environment_of_the_web_server(POSTGRES_PASSWORD=ODD, ALLOWED_HOSTS="chat.example.org")
    where = connection.get_connection_params()
    given["DATABASE_URL"] = given["DATABASE_URL"].replace("database:5432/chat", "/chat")
    code = (
        "from django.db import connection as c; import psycopg2; "
        f"p = c.get_connection_params() | dict(host={where['host']!r}, port={where['port']!r}, "
        f"user={where['user']!r}, dbname={where['dbname']!r}); "
        "print(psycopg2.connect(**p).info.password, end='')"
    )
    done = subprocess.run(
        [sys.executable, ROOT / "manage.py", "shell", "-v0", "-c", code],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ODD), done.stderr


def test_the_token_of_metrics_is_passed_on():
    assert environment_of_the_web_server(METRICS_TOKEN="t0ken")["METRICS_TOKEN"] == "t0ken"
    assert environment_of_the_web_server()["METRICS_TOKEN"] == ""


def test_the_image_does_not_run_as_root():
    user = re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)[-1]
    assert user == "10001:10001"


@pytest.fixture
def scratch():
    """Not pytest's: PostgreSQL's account has to pass, and pytest closes its folders to others."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def served(scratch):
    """The command of the image, in a folder with what the image has."""
    folder, port = scratch / "srv", _free_port()
    for name in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE):
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("tests", "__pycache__")
            )
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    command = [sys.executable, *instruction("CMD")[1:]]
    command[command.index("8000")] = str(port)
    data = scratch / "data"
    data.mkdir(mode=0o711)
    environment = {**os.environ, "CHATPROJECT_DATA": str(data), "DATABASE_URL": ""}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    yield process, port
    process.terminate()
    process.communicate(timeout=30)


def test_the_command_serves_with_what_the_image_has_and_ends_on_sigterm(served):
    process, port = served
    health = [sys.executable, *instruction("HEALTHCHECK")[1:]]
    health[-1] = health[-1].replace("8000", str(port))
    deadline = time.monotonic() + STARTS_WITHIN
    while subprocess.run(health, capture_output=True).returncode:
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        assert time.monotonic() < deadline, "not healthy in time"
        time.sleep(0.2)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
