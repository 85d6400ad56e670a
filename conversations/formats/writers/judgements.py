"""The rating of the owner and the reviews of staff, as sentences of a transcript."""

from __future__ import annotations

from collections.abc import Iterator

from conversations.formats.message import RecordedMessage, RecordedReview


def judgements_of(message: RecordedMessage) -> Iterator[str]:
    """One line each: the owner's rating, then the reviews."""
    if message.rating is not None:
        yield _line("Rating of the owner", message.rating, message.rating_comment)
    for review in message.reviews:
        yield _line(_reviewed_by(review), review.score, review.comment)


def _reviewed_by(review: RecordedReview) -> str:
    labels = f", {', '.join(review.labels)}" if review.labels else ""
    return f"Review by {review.reviewer}, {review.updated_at.isoformat()}{labels}"


def _line(what: str, score: int, comment: str | None) -> str:
    suffix = f": {' '.join(comment.split())}" if comment else ""
    return f"{what}: {'good' if score == 1 else 'bad'}{suffix}"
