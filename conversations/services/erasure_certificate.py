"""The certificate of an erasure: what was erased, and the proof that nothing is left.

It names neither the person nor what was said. A pseudonym stands in the audit log in the place of
the name; whoever knows the name can compare it with the salted digest.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from conversations.models import AccessAction, AccessContext
from conversations.selectors.traces import (
    ACCOUNT,
    IDENTIFIER,
    NAME,
    WORDS,
    Hit,
    Search,
    search_everywhere,
)
from conversations.services.audit import SCRIPT_NAME, record_access
from conversations.services.erasure import Erasure

DELETIONS = (
    "The feed of changes tells those who keep copies that the conversations were deleted, for "
    "{days} days."
)
AUDIT = "The audit log keeps the ids of deleted conversations and messages that staff accessed."
MENTIONS = (
    "Others have written this, about this person or another one of the same name; or it is the "
    "name of something else."
)
HELD = "Notes and reviews on conversations of others that are on legal hold keep their author."

# Table and column, the kinds of traces that may be left there, and why.
_EXPECTED: list[tuple[str, set[str], str]] = [
    (
        r"conversations_(?:pending)?change\.(?:user_id|conversation_id)",
        {ACCOUNT, IDENTIFIER},
        DELETIONS,
    ),
    (r"conversations_accessrecord\.(?:conversation_id|detail)", {IDENTIFIER}, AUDIT),
    (
        r"conversations_message\.(?:content|parts|tool_calls|sources|error|rating_comment|metadata"
        r"|extra|name|search)",
        {NAME, WORDS},
        MENTIONS,
    ),
    (r"conversations_conversation\.(?:title|metadata|tags|external_id|search)", {NAME}, MENTIONS),
    (r"conversations_(?:conversationnote\.text|review\.(?:comment|labels))", {NAME}, MENTIONS),
]
_AUTHORS = r"conversations_(?:conversationnote\.author|review\.reviewer)_(?:id|name)"


def certify(
    erasure: Erasure, *, access: AccessContext, seconds: float | None = None
) -> dict[str, Any]:
    """Search for traces, and keep the certificate in an AccessRecord under the pseudonym.

    Tables that take longer than `seconds` to read are named as unread. The digest of the name is
    only in what is returned. `check.unexpected` is empty if nothing is left that has no reason.
    """
    found = search_everywhere(erasure.traces, seconds=seconds)
    certificate = {
        "type": "erasure of a user",
        "pseudonym": erasure.pseudonym,
        "erased_at": timezone.now().isoformat(timespec="seconds"),
        "erased_by": access.caller.user.username if access.caller else SCRIPT_NAME,
        "erased": erasure.erased,
        "replaced_by_pseudonym": erasure.replaced,
        "check": proof_of(found, erasure),
        "not_checked": "Backups, logs and replicas: see docs/retention.md.",
    }
    record_access(
        replace(access, reason=erasure.reason),
        AccessAction.DELETE,
        owner=User(username=erasure.pseudonym),
        detail={"certificate": certificate},
    )
    return certificate | {"name_digest": _digest(erasure.traces.names[0])}


def proof_of(found: Search, erasure: Erasure) -> dict[str, Any]:
    """What was read and looked for, and where something is left: with its reason, or unexpected."""
    remaining: list[dict[str, Any]] = []
    unexpected: list[dict[str, Any]] = []
    for hit in found.hits:
        reason = _reason(hit, erasure)
        (remaining if reason else unexpected).append(
            asdict(hit) | ({"reason": reason} if reason else {})
        )
    return {
        "tables": found.tables,
        "columns": found.columns,
        "rows": found.rows,
        "looked_for": erasure.traces.counts(),
        "unexpected": unexpected,
        "remaining": remaining,
        "unread_tables": found.unread,
    }


def _reason(hit: Hit, erasure: Erasure) -> str | None:
    place = f"{hit.table}.{hit.column}"
    for pattern, kinds, reason in _expected(erasure):
        if hit.kind in kinds and re.fullmatch(pattern, place):
            return reason.format(days=settings.CHAT_CHANGES_RETENTION_DAYS)
    return None


def _expected(erasure: Erasure) -> Iterable[tuple[str, set[str], str]]:
    yield from _EXPECTED
    if erasure.held:
        yield _AUTHORS, {NAME, ACCOUNT}, HELD


def _digest(name: str) -> dict[str, str]:
    """SHA-256 of the salt in hexadecimal, a colon and the username."""
    salt = secrets.token_hex(16)
    digest = hashlib.sha256(f"{salt}:{name}".encode()).hexdigest()
    return {"salt": salt, "sha256": digest}
