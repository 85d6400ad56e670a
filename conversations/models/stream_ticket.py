"""StreamTicket: stands for a token once, for a minute, in the address of an event stream."""

from __future__ import annotations

from django.db import models

from conversations.models.api_token import ApiToken


class TicketPurpose(models.TextChoices):
    """The route that takes it: an answer's stream, or a question that is streamed."""

    STREAM = "stream"
    ASK_STREAM = "ask-stream"


class StreamTicket(models.Model):
    """A ticket that was not used yet. `digest` is its SHA-512 in hexadecimal.

    Whoever has it is the caller of the token, with the rights that the token has then. With
    `message_id` it is good for the stream of that answer alone.
    """

    digest = models.CharField(max_length=128, primary_key=True, editable=False)
    # Cascades in the database (migration 0024): a token that is revoked takes its tickets with it.
    token = models.ForeignKey(
        ApiToken, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False
    )
    purpose = models.CharField(max_length=10, choices=TicketPurpose)
    message_id = models.UUIDField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="streamticket_purpose_known",
                condition=models.Q(purpose__in=TicketPurpose.values),
            ),
        ]
        indexes = [
            # Those that have expired unused, to be removed.
            models.Index(fields=["expires_at"], name="streamticket_expires_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.message_id or ''}".strip()
