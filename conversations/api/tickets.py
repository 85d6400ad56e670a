"""Tickets for event streams over HTTP: /api/chat/tickets."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api.fields import StrictSerializer, StrictUUIDField
from conversations.api.views import ApiViewSet, read_body
from conversations.models import StreamTicket, TicketPurpose
from conversations.services.tickets import create_ticket

NO_PURPOSE = "Say for which answer (`message_id`), or for what (`purpose`)."


class NewTicketSerializer(StrictSerializer):
    """What a ticket is for: an answer, or a kind of stream."""

    purpose = serializers.ChoiceField(
        choices=TicketPurpose.choices,
        required=False,
        help_text="`stream` (the default with `message_id`) or `ask-stream`.",
    )
    message_id = StrictUUIDField(
        required=False, help_text="The one answer that the ticket is for; only with `stream`."
    )


_RESPONSE = inline_serializer(
    "Ticket",
    {
        "ticket": serializers.CharField(help_text="Good once, as `?ticket=`."),
        "expires_at": serializers.DateTimeField(help_text="A minute from now."),
    },
)


@extend_schema(tags=["chat"])
class TicketViewSet(ApiViewSet):
    queryset = StreamTicket.objects.none()
    serializer_class = type(_RESPONSE)
    shows_others = False

    @extend_schema(
        operation_id="chat_ticket",
        summary="A ticket for an EventSource, which can send no token",
        description=(
            "Good for a minute and one request: `GET /api/chat/streams/{message_id}?ticket=` or "
            "`GET /api/chat/ask-stream?ticket=`. It has the rights that the caller's token has "
            "when it is used. A login session gets none (403)."
        ),
        request=NewTicketSerializer,
        responses={201: _RESPONSE},
    )
    def create(self, request: Request) -> Response:
        body = read_body(request, NewTicketSerializer)
        if not body:
            raise ValidationError({"purpose": [ErrorDetail(NO_PURPOSE, "required")]})
        ticket, expires_at = create_ticket(
            purpose=body.get("purpose", TicketPurpose.STREAM),
            message_id=body.get("message_id"),
            access=self.access,
        )
        return Response({"ticket": ticket, "expires_at": expires_at}, status=201)
