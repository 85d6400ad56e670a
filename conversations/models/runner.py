"""Who runs an answer that is `streaming`, as its `runner` says: a process of this server by the
name of its lock file, or an application by the account that opened the answer."""

from __future__ import annotations

from conversations.models.access_context import AccessContext

_APPLICATION = "application:"


def application_runner(access: AccessContext, owner_id: int) -> str | None:
    """The `runner` of the answers that this caller opens for the owner; None: they open none.

    No process has such a name: age alone tells whether the answer is abandoned.
    """
    caller = access.caller
    if caller is None or not (caller.trusted or caller.owns(owner_id)):
        return None
    return f"{_APPLICATION}{caller.user.pk}"


def is_application(runner: str | None) -> bool:
    return (runner or "").startswith(_APPLICATION)
