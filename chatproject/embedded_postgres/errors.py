"""The one error of the embedded server, and how to read PostgreSQL's own connection errors."""

from django.db.utils import OperationalError

REMEDY = "To use a PostgreSQL server of your own instead, set DATABASE_URL."


class EmbeddedPostgresError(OperationalError):
    """The embedded server cannot be used; the text says what failed, the log's end, and a remedy.

    It is an OperationalError so that readiness checks and `migrate` treat it as any other
    database that is away.
    """

    def __init__(self, what: str, *, log: str = "") -> None:
        parts = [what, f"The end of the server's log:\n{log}" if log else "", REMEDY]
        super().__init__("\n".join(part for part in parts if part))


def is_away(error: Exception) -> bool:
    """Whether a failed connect means that no server accepts connections (yet, or any more).

    A server that answers and refuses says FATAL: too many clients, no such database. The driver
    gives no SQLSTATE here, and the server's texts are never translated (lc_messages is C.UTF-8).
    """
    text = str(error)
    passing = ("the database system is", "terminating connection")
    return "FATAL:" not in text or any(words in text for words in passing)
