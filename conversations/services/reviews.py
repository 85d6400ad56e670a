"""Reviews: ratings of messages by staff, separate from those of the owners."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.utils import timezone

from conversations.models import AccessAction, AccessContext, Message, Review
from conversations.services.conversations import conversation_to_change
from conversations.services.errors import NO_SUCH_MESSAGE, InvalidValue, NotFound
from conversations.services.validators import check_text

MAX_COMMENT_CHARS = 10_000
MAX_LABELS, MAX_LABEL_CHARS = 20, 50
BAD_SCORE = "A score is 1 (good) or -1 (bad)."
LONG_COMMENT = f"Longer than {MAX_COMMENT_CHARS:,} characters."
BAD_LABELS = f"At most {MAX_LABELS} labels of 1 to {MAX_LABEL_CHARS} characters."


def review_message(
    *,
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    score: int,
    access: AccessContext,
    labels: Sequence[str] = (),
    comment: str = "",
) -> Review:
    """Store or replace the caller's review of a message. The owner's rating is not changed.

    Raises InvalidValue, NotFound, NotAllowed, ReasonRequired, OnLegalHold.
    """
    check_review(score, labels, comment)
    with _message_to_review(conversation_id, message_id, access) as owner_id:
        reviewer = _reviewer(access)
        review, _ = Review.objects.update_or_create(
            user_id=owner_id,
            conversation_id=conversation_id,
            message_id=message_id,
            reviewer_id=reviewer[0],
            defaults={
                "reviewer_name": reviewer[1],
                "score": score,
                "labels": list(labels),
                "comment": comment.strip(),
                "updated_at": timezone.now(),
            },
        )
    return review


def withdraw_review(
    *, conversation_id: uuid.UUID, message_id: uuid.UUID, access: AccessContext
) -> bool:
    """Delete the caller's review of a message; returns whether there was one."""
    with _message_to_review(conversation_id, message_id, access) as owner_id:
        removed, _ = Review.objects.filter(
            user_id=owner_id,
            conversation_id=conversation_id,
            message_id=message_id,
            reviewer_id=_reviewer(access)[0],
        ).delete()
    return bool(removed)


@contextmanager
def _message_to_review(
    conversation_id: uuid.UUID, message_id: uuid.UUID, access: AccessContext
) -> Iterator[int]:
    """Yields the id of the message's owner."""
    detail = {"review": str(message_id)}
    with conversation_to_change(
        conversation_id, access, AccessAction.CHANGE, detail
    ) as conversation:
        messages = Message.objects.of(conversation.user_id, conversation_id)
        if not messages.filter(id=message_id).exists():
            raise NotFound(NO_SUCH_MESSAGE)
        yield conversation.user_id


def _reviewer(access: AccessContext) -> tuple[int, str]:
    if access.caller is None:
        raise TypeError("a review has a reviewer")
    return access.caller.user.pk, access.caller.user.username


def check_review(score: int, labels: Sequence[str], comment: str) -> None:
    """Raise InvalidValue, naming the field."""
    if score not in (-1, 1):
        raise InvalidValue(BAD_SCORE, field="score")
    check_text("comment", comment)
    if len(comment) > MAX_COMMENT_CHARS:
        raise InvalidValue(LONG_COMMENT, field="comment", code="max_length")
    for label in labels:
        check_text("labels", label)
    if len(labels) > MAX_LABELS or not all(1 <= len(label) <= MAX_LABEL_CHARS for label in labels):
        raise InvalidValue(BAD_LABELS, field="labels")
