"""Errors that services raise; `api/errors.py` maps them to HTTP responses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError

NO_SUCH_CONVERSATION = "No such conversation."
READ_ONLY = "You may read this conversation but not change it."
NO_REASON = "A reason is required. It is stored in the audit log."
NO_SUCH_MESSAGE = "No such message in this conversation."
NO_SUCH_BRANCH = "No such branch in this conversation."
CANNOT_CHANGE = "This conversation cannot be changed now."
RUNNING = "A turn runs in this conversation. Wait for its end, or stop it."
NO_QUESTION = "No question comes directly before this answer: it may have been deleted or emptied."
NOT_RUNNING_ANY_MORE = "This answer is not running any more."
ON_HOLD = "This conversation is on legal hold: it cannot be changed or deleted."
# The constraint name in the errors of the legal hold triggers (migration 0007).
HOLD_CONSTRAINT = "conversation_legal_hold"
# What the errors of those triggers, of foreign keys and of unique keys say in any language.
_HELD = re.compile(r"\blegal hold\b")
_NAMED = re.compile(r"\w+_(?:fk|unique)\w*")
# On a cluster the number of the shard follows the name of a constraint.
_SHARD = re.compile(r"_\d+$")


class ServiceError(Exception):
    """Base of all errors that are the caller's fault: `code` is stable, `detail` is a text.

    `field` is the path of the invalid value ("messages.3.content"), or None. `stored` is what a
    client needs to know of the stored state; it stands beside the error in the response.
    """

    code = "error"
    stored: Mapping[str, Any] | None = None

    def __init__(self, detail: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.code = code or self.code

    def with_field_prefix(self, prefix: str) -> ServiceError:
        """Prepend `prefix` to the path of the field; returns the same error."""
        self.field = f"{prefix}.{self.field}" if self.field else prefix
        return self


class InvalidValue(ServiceError):
    """A value is invalid."""

    code = "invalid"


class NotFound(ServiceError):
    """The object does not exist, or the caller may not see it."""

    code = "not_found"


class NotAllowed(ServiceError):
    """The caller may see the object but not perform this operation."""

    code = "permission_denied"


class ReasonRequired(NotAllowed):
    """Staff must give a reason for this access."""

    code = "reason_required"

    def __init__(self) -> None:
        super().__init__(NO_REASON, field="reason")


class Conflict(ServiceError):
    """The request conflicts with the stored state."""

    code = "conflict"


class Gone(ServiceError):
    """What is asked for was removed for good, and the caller has to begin anew."""

    code = "gone"


class StaleSequence(Conflict):
    """`expected_last_sequence` is not the last sequence of the conversation."""

    code = "stale_sequence"

    def __init__(self, *, expected: int, actual: int) -> None:
        super().__init__(
            f"The conversation's last sequence is {actual}, not {expected}.",
            field="expected_last_sequence",
        )
        self.actual = actual


class KeyReused(Conflict):
    """The id or the Idempotency-Key is already used for another object."""

    code = "key_reused"


class Deleted(Conflict):
    """The id or the Idempotency-Key was used for an object that was deleted."""

    code = "deleted"


class OnLegalHold(Conflict):
    """The conversation is on legal hold: it cannot be changed or deleted.

    Code and text do not mention the hold, since the owner may not learn of it; those of
    `disclosed` do.
    """

    code = "not_changeable"

    def __init__(self, detail: str = CANNOT_CHANGE, *, code: str | None = None) -> None:
        super().__init__(detail, code=code)

    @classmethod
    def disclosed(cls, detail: str = ON_HOLD) -> OnLegalHold:
        """The error for staff and scripts, which names the hold."""
        return cls(detail, code="legal_hold")


class TurnRunning(Conflict):
    """A turn is running in this conversation, which allows one at a time."""

    code = "turn_running"

    def __init__(self, detail: str = RUNNING, *, field: str = "conversation_id") -> None:
        super().__init__(detail, field=field)


class NoQuestion(Conflict):
    """An answer cannot be given again: no question comes before it, any more."""

    code = "no_question"

    def __init__(self) -> None:
        super().__init__(NO_QUESTION, field="regenerate")


class TurnEnded(Conflict):
    """The answer is not running any more: another process has ended or deleted it."""

    code = "turn_ended"

    def __init__(
        self, detail: str = NOT_RUNNING_ANY_MORE, *, stored: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.stored = stored


class OffsetMismatch(Conflict):
    """A piece of an answer that does not continue what is stored of it."""

    code = "offset_mismatch"

    def __init__(self, detail: str, *, field: str, stored: Mapping[str, Any]) -> None:
        super().__init__(detail, field=field)
        self.stored = stored


def refusal_of(error: Exception) -> ServiceError | None:
    """The exception as a ServiceError; None if it is neither one nor an error of the triggers of a
    legal hold, which also reject writes that no service has checked."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, IntegrityError):
        return OnLegalHold() if violated_constraint(error) == HOLD_CONSTRAINT else None
    return None


def violated_constraint(error: IntegrityError) -> str:
    """The name of the violated constraint; "" where the database does not say it.

    A Citus coordinator passes on the text of another node's error without the name: there it is
    read from the text, for triggers of legal holds, foreign keys and unique keys.
    """
    diagnostics = getattr(error.__cause__, "diag", None)
    name = getattr(diagnostics, "constraint_name", None)
    if name is None:
        text = getattr(diagnostics, "message_primary", None) or ""
        found = _NAMED.search(text)
        name = HOLD_CONSTRAINT if _HELD.search(text) else found[0] if found else ""
    return _SHARD.sub("", name)
