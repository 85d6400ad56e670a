"""What the commands that delete or empty conversations say about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import BaseCommand

from conversations.admin.formatting import counted
from conversations.models import RetentionAct
from conversations.services.removal import Removed

DRY_RUN = "Dry run: nothing was changed."
WAITING = "Another process is at it: waiting for its end."
REST_REMAINS = "Stopped. What was done so far is done; run the command again for the rest."
_DONE = {RetentionAct.DELETE.value: "deleted", RetentionAct.EMPTY.value: "emptied"}


def say_waiting(command: BaseCommand) -> Callable[[], None]:
    return lambda: command.stderr.write(WAITING)


def shown_removed(removed: Removed, act: str) -> str:
    left = f"; {removed.left:,} left, in use meanwhile" if removed.left else ""
    return (
        f"{_DONE[act]} {counted(removed.conversations, 'conversation')} with "
        f"{counted(removed.messages, 'message')}{left}"
    )


def shown_preview(found: Mapping[str, Any], act: str) -> str:
    """Of what `count_due` returns."""
    oldest = f", the oldest of {found['oldest']:%Y-%m-%d}" if found["oldest"] else ""
    return (
        f"{counted(found['conversations'], 'conversation')} with "
        f"{counted(found['messages'], 'message')} would be "
        f"{_DONE[act]}{oldest}. Left out: {found['pinned']:,} pinned, {found['held']:,} on legal "
        "hold."
    )
