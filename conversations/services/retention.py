"""Retention: which rules there are, and applying them; a purge once, by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from conversations.db.one_at_a_time import one_at_a_time
from conversations.models import AccessAction, AccessContext, RetentionAct, RetentionRule
from conversations.models.rights import DELETE
from conversations.selectors.retention import Due
from conversations.services.audit import record_access
from conversations.services.errors import NotAllowed
from conversations.services.removal import Progress, Removal, Removed

# "retentio", as the number of an advisory lock.
_LOCK = 0x726574656E74696F
# The fields that decide what a rule does.
DECISIVE = frozenset({"act", "days", "group", "model_used", "tag", "namespace", "keep_pinned"})
MAY_NOT_DELETE = "Only who may delete conversations switches a retention rule on."
SETTING = "CHAT_RETENTION_DAYS"
PURGE = "purge_conversations"


def due_by(rule: RetentionRule) -> Due:
    """What the rule is about now."""
    return Due(
        act=rule.act,
        before=timezone.now() - timedelta(days=rule.days),
        group_id=rule.group_id,
        model_used=rule.model_used,
        tag=rule.tag,
        namespace=rule.namespace,
        keep_pinned=rule.keep_pinned,
    )


def active_rules() -> list[RetentionRule]:
    """Those of the admin in the order of their creation, and the one of CHAT_RETENTION_DAYS."""
    rules = list(RetentionRule.objects.filter(active=True).order_by("created_at", "pk"))
    if settings.CHAT_RETENTION_DAYS:
        days = settings.CHAT_RETENTION_DAYS
        rules.append(RetentionRule(name=SETTING, act=RetentionAct.DELETE, days=days, active=True))
    return rules


def save_rule(*, rule: RetentionRule, changed: Sequence[str], access: AccessContext) -> bool:
    """Store a rule, of which these fields were changed; whether that has switched it off.

    A new rule is off, and so is one from the moment that what it does is changed: whoever switches
    it on has seen what it will do. Raises NotAllowed for a caller who may switch none on.
    """
    does_otherwise = rule.active and bool(set(changed) & DECISIVE)
    was_active = rule.active
    rule.active = rule.active and not does_otherwise and not rule._state.adding
    if rule.active and access.caller is not None and not access.caller.user.has_perm(DELETE):
        raise NotAllowed(MAY_NOT_DELETE, field="active")
    with transaction.atomic():
        detail = {"rule": rule.name, "fields": sorted(changed), "active": rule.active}
        record_access(access, AccessAction.CHANGE, detail=detail)
        rule.save()
    return was_active and not rule.active


def delete_rule(*, rule: RetentionRule, access: AccessContext) -> None:
    with transaction.atomic():
        record_access(access, AccessAction.DELETE, detail={"rule": rule.name})
        rule.delete()


def apply_rules(
    *,
    access: AccessContext,
    on_wait: Callable[[], None] = lambda: None,
    on_progress: Progress = lambda done: None,
) -> Iterator[tuple[RetentionRule, Removed]]:
    """Apply the active rules, one after the other, with what each did.

    One process at a time: `on_wait` is called where another one is at it. Stopped at any moment,
    it has done a whole number of transactions, and the next run goes on.
    """
    with one_at_a_time(_LOCK, on_wait=on_wait):
        for rule in active_rules():
            removal = Removal(due_by(rule), {"retention": rule.name}, access, on_progress)
            yield rule, removal.run()


def purge_conversations(
    *,
    due: Due,
    access: AccessContext,
    on_wait: Callable[[], None] = lambda: None,
    on_progress: Progress = lambda done: None,
) -> Removed:
    """Delete or empty what is due once, without a rule; otherwise as `apply_rules`."""
    with one_at_a_time(_LOCK, on_wait=on_wait):
        return Removal(due, {"retention": PURGE}, access, on_progress).run()
