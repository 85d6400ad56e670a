"""What counts as production, HTTPS=true, does not start with unsafe settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
KEY = "kd83hf-Lw92nf_0aQx71Zmvb46TyRe5uPs8Gj3Co2Iq7Xl1Dk9Wn4Bz6"
SAFE = {
    "HTTPS": "true",
    "SECRET_KEY": KEY,
    "ALLOWED_HOSTS": "chat.example.org",
    "DEBUG": "false",
    "DATABASE_URL": "sqlite://:memory:",
}
UNSAFE = [
    ({"DEBUG": "true"}, "DEBUG=true"),
    ({"SECRET_KEY": "short"}, "SECRET_KEY has fewer than 50 characters"),
    ({"SECRET_KEY": "a" * 60}, "SECRET_KEY has fewer than 50 characters"),
    ({"SECRET_KEY": f"django-insecure-{KEY}"}, "SECRET_KEY has fewer"),
    ({"ALLOWED_HOSTS": "chat.example.org,*"}, "ALLOWED_HOSTS=*"),
]


def run(folder, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=os.environ | SAFE | {"CHATPROJECT_DATA": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("environment", "reason"), UNSAFE)
def test_the_server_does_not_start(tmp_path, environment, reason):
    code, said = run(tmp_path, "manage.py", "quickstart", "--port", "1", **environment)
    assert code == 2
    assert said.startswith("CommandError: Refused to start with HTTPS=true")
    assert reason in said


@pytest.mark.parametrize("module", ["chatproject.asgi", "chatproject.wsgi"])
@pytest.mark.parametrize(("environment", "reason"), UNSAFE[:1])
def test_under_another_server_it_does_not_start_either(tmp_path, module, environment, reason):
    code, said = run(tmp_path, "-c", f"import {module}", **environment)
    assert code == 1
    assert "ImproperlyConfigured: Refused to start with HTTPS=true" in said
    assert reason in said


@pytest.mark.parametrize("key", [KEY, ""])
def test_safe_settings_are_no_reason(tmp_path, key):
    """A generated key is long enough. It fails at the port, which is checked afterwards."""
    arguments = ("manage.py", "quickstart", "--port", "1", "--host", "192.0.2.1")
    code, said = run(tmp_path, *arguments, SECRET_KEY=key)
    assert code == 1
    assert "Cannot listen" in said


def test_without_https_it_is_up_to_the_developer(tmp_path):
    environment = {"HTTPS": "false", "DEBUG": "true", "SECRET_KEY": "short", "ALLOWED_HOSTS": "*"}
    code = "from chatproject.production import *; import django; django.setup(); "
    code += "refuse_unsafe_settings(); print(len(unsafe_settings()))"
    environment["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
    assert run(tmp_path, "-c", code, **environment) == (0, "3\n")


def test_the_checks_for_deployment_find_nothing(tmp_path):
    code, said = run(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert (code, said) == (0, "System check identified no issues (3 silenced).\n")


def test_without_https_they_find_something(tmp_path):
    code, _ = run(
        tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING", HTTPS="false"
    )
    assert code == 1
