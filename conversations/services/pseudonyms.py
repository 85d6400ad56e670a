"""Remove a person's traces from what is not theirs: logins, logs, and what they did for others."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Model, Q

from conversations.models import AccessRecord, ApiToken, Conversation, ConversationNote, Review
from conversations.selectors.traces import MIN_NAME_CHARS, Traces, sessions_of, written_forms

PREFIX = "erased-"
Counts = dict[str, int]


def new_pseudonym() -> str:
    """As the trigger on audit log entries expects it (migration 0031)."""
    return PREFIX + secrets.token_hex(8)


def end_logins(user: User) -> Counts:
    """Delete what the user can be logged in with: tokens with their tickets, and sessions."""
    tokens = list(ApiToken.objects.filter(user=user).values_list("pk", flat=True))
    _forget_in_admin_log(ApiToken, tokens)
    removed, _ = ApiToken.objects.filter(user=user).delete()
    sessions = sessions_of(user.pk)
    Session.objects.filter(session_key__in=sessions).delete()
    return {"tokens": removed, "sessions": len(sessions)}


def remove_names(traces: Traces, pseudonym: str) -> Counts:
    """Delete or replace the names of a user whose row was deleted in this transaction.

    Returns the numbers of rows. What is on legal hold does not change: `held` counts such notes and
    reviews on others' conversations.
    """
    assert traces.account is not None
    attempts = Q(username__in=[*traces.names, *(f"user {name}" for name in traces.names)])
    counts = {
        "login failures": sum(
            kind.objects.filter(attempts).delete()[0]
            for kind in (AccessAttempt, AccessFailureLog, AccessLog)
        ),
        "audit log entries": _remove_from_audit_log(traces, pseudonym),
        "tokens made for others": ApiToken.objects.filter(created_by=traces.names[0]).update(
            created_by=pseudonym
        ),
        "admin log entries": _forget_in_admin_log(User, [traces.account]),
    }
    by_account = {
        "notes on others' conversations": (ConversationNote, "author"),
        "reviews of others' conversations": (Review, "reviewer"),
    }
    held = 0
    for name, (kind, person) in by_account.items():
        counts[name], kept = _pseudonymise(kind, person, traces.account, pseudonym)
        held += kept
    return counts | {"held": held}


def _remove_from_audit_log(traces: Traces, pseudonym: str) -> int:
    """By the one UPDATE that the trigger lets pass, which changes no column by itself."""
    names = [form for name in traces.names for form in written_forms(name)]
    erasure = {"account": traces.account, "pseudonym": pseudonym, "names": names}
    table = AccessRecord._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('conversations.erasure', %s, true)", [json.dumps(erasure)]
        )
        # A short name stands for a person only as a whole value of JSON.
        texts = [name if len(name) >= MIN_NAME_CHARS else json.dumps(name) for name in names]
        cursor.execute(
            f"UPDATE {table} SET id = id WHERE owner_id = %(account)s OR staff_id = %(account)s"  # noqa: S608
            " OR EXISTS (SELECT FROM unnest(%(names)s) AS name"
            "  WHERE position(lower(name) IN lower(reason || detail::text)) > 0)",
            {"account": traces.account, "names": texts},
        )
        changed = int(cursor.rowcount)
        cursor.execute("SELECT set_config('conversations.erasure', '', true)")
    return changed


def _forget_in_admin_log(kind: type[Model], ids: list[Any]) -> int:
    """Django's log of the admin has the texts of what was changed."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(kind),
        object_id__in=[str(id_) for id_ in ids],
    )
    return entries.update(object_repr="erased", change_message="")


def _pseudonymise(kind: Any, person: str, account: int, pseudonym: str) -> tuple[int, int]:
    """The numbers of rows that have the pseudonym now, and of those that are on legal hold."""
    rows = kind.objects.filter(**{f"{person}_id": account})
    places: dict[int, set[Any]] = defaultdict(set)
    for owner_id, conversation_id in rows.values_list("user_id", "conversation_id"):
        places[owner_id].add(conversation_id)
    changed = held = 0
    # A review needs an id, which is unique among those of a message.
    instead = -int(pseudonym.removeprefix(PREFIX)[:15], 16)
    for owner_id, conversations in sorted(places.items()):
        chats = Conversation.objects.owned_by(owner_id).filter(pk__in=conversations)
        # Locked, so that none is placed on hold meanwhile.
        locked = chats.order_by("pk").select_for_update()
        free = [pk for pk, on_hold in locked.values_list("pk", "legal_hold") if not on_hold]
        theirs = rows.filter(user_id=owner_id)
        held += theirs.exclude(conversation_id__in=free).count()
        changed += theirs.filter(conversation_id__in=free).update(
            **{f"{person}_id": instead, f"{person}_name": pseudonym}
        )
    return changed, held
