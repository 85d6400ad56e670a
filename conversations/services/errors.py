"""What a service can refuse: one base, mapped to HTTP in one place (`api/errors.py`)."""

from __future__ import annotations

NO_SUCH_CONVERSATION = "No such conversation."
NO_REASON = "Give a reason: it is kept with the record of this access."
NO_SUCH_MESSAGE = "No such message in this conversation."


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


class OnLegalHold(Conflict):
    """The conversation is on legal hold: nothing of it may go away."""

    code = "legal_hold"


class TurnRunning(Conflict):
    """A turn runs in this conversation; there is one at a time."""

    code = "turn_running"


class TurnEnded(Conflict):
    """A turn's answer does not run any more: somebody else has ended or deleted it."""

    code = "turn_ended"

    def __init__(self) -> None:
        super().__init__("This answer does not run any more.")
