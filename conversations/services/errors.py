"""What a service can refuse: one base, mapped to HTTP in one place (`api/errors.py`)."""

from __future__ import annotations

from django.db import IntegrityError

NO_SUCH_CONVERSATION = "No such conversation."
READ_ONLY = "You may read this conversation, not write to it."
NO_REASON = "Give a reason: it is kept with the record of this access."
NO_SUCH_MESSAGE = "No such message in this conversation."
CANNOT_CHANGE = "This conversation cannot be changed now."
ON_HOLD = "This conversation is on legal hold: nothing of it may change or go away."
# What the triggers of a legal hold name in their refusals (migration 0007).
HOLD_CONSTRAINT = "conversation_legal_hold"


class ServiceError(Exception):
    """A refusal that the caller can understand: `code` for machines, the text for people.

    `field` names the value at fault as a path ("messages.3.content"), or is None.
    """

    code = "error"

    def __init__(self, detail: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.code = code or self.code

    def under(self, prefix: str) -> ServiceError:
        """The same error, its field named from one level further out."""
        self.field = f"{prefix}.{self.field}" if self.field else prefix
        return self


class InvalidValue(ServiceError):
    """A value that cannot be stored as it is."""

    code = "invalid"


class NotFound(ServiceError):
    """It does not exist, or the caller may not know that it does."""

    code = "not_found"


class NotAllowed(ServiceError):
    """The caller may see it and may not do this with it."""

    code = "permission_denied"


class ReasonRequired(NotAllowed):
    """Staff may look, once they have said why."""

    code = "reason_required"

    def __init__(self) -> None:
        super().__init__(NO_REASON, field="reason")


class Conflict(ServiceError):
    """The request contradicts what is stored."""

    code = "conflict"


class StaleSequence(Conflict):
    """`expected_last_sequence` is not the conversation's last sequence any more."""

    code = "stale_sequence"

    def __init__(self, *, expected: int, actual: int) -> None:
        super().__init__(
            f"The conversation's last sequence is {actual}, not {expected}.",
            field="expected_last_sequence",
        )
        self.actual = actual


class KeyReused(Conflict):
    """The id or the Idempotency-Key already stands for something else."""

    code = "key_reused"


class Deleted(Conflict):
    """The id or the Idempotency-Key stood for something that was deleted, and stays so."""

    code = "deleted"


class OnLegalHold(Conflict):
    """The conversation is on legal hold: nothing of it may change or go away.

    Neither code nor text says so, as the owner is not told of a hold; those of `told` do.
    """

    code = "not_changeable"

    def __init__(self, detail: str = CANNOT_CHANGE, *, code: str | None = None) -> None:
        super().__init__(detail, code=code)

    @classmethod
    def told(cls, detail: str = ON_HOLD) -> OnLegalHold:
        """For staff and scripts."""
        return cls(detail, code="legal_hold")


class TurnRunning(Conflict):
    """A turn runs in this conversation; there is one at a time."""

    code = "turn_running"


class TurnEnded(Conflict):
    """A turn's answer does not run any more: somebody else has ended or deleted it."""

    code = "turn_ended"

    def __init__(self) -> None:
        super().__init__("This answer does not run any more.")


def refusal_of(error: Exception) -> ServiceError | None:
    """The refusal that an exception is; None for a failure.

    A write that no service stopped is refused by the triggers of a legal hold all the same.
    """
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, IntegrityError):
        named = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
        return OnLegalHold() if named == HOLD_CONSTRAINT else None
    return None
