"""API tokens over HTTP, and the caller: /api/tokens, /api/me."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_view, inline_serializer
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import (
    BooleanField,
    CharField,
    DateTimeField,
    IntegerField,
    Serializer,
)

from conversations.api.fields import (
    ObjectField,
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
    UserIdField,
)
from conversations.api.serializers import fields_of
from conversations.api.views import ApiViewSet, read_body
from conversations.models import ApiToken
from conversations.services import NotAllowed, owner_to_write_for
from conversations.services.appending import MAX_BATCH
from conversations.services.tokens import (
    MAX_DAYS,
    MAX_NAME_CHARS,
    MAX_SECONDS,
    MIN_SECONDS,
    create_token,
    lifetime_of,
    revoke_token,
    tokens_of,
)

ONLY_TRUSTED = "Only a trusted client makes tokens for other users."
SHORT_LIVED = "A token for another user is short-lived: say for how many seconds."
TWO_LIFETIMES = "Give `days` or `expires_in`, not both."


class TokenSerializer(Serializer[Any]):
    id = CharField(help_text="The token's first characters.")
    name = CharField(help_text="What it was made for; may be empty.")
    trusted = BooleanField(help_text="Whether it acts for other users.")
    namespace = CharField(
        allow_null=True, help_text="Namespace of the users that the token acts for or belongs to."
    )
    created_at = DateTimeField()
    expires_at = DateTimeField(allow_null=True)
    last_used_at = DateTimeField(
        allow_null=True, help_text="To within some minutes; null before its first use."
    )


class NewTokenSerializer(StrictSerializer):
    """The user of a new token, its name and its lifetime."""

    user_id = UserIdField(
        required=False, help_text="One of a trusted client's users; without it, the caller."
    )
    name = StrictCharField(
        required=False, max_length=MAX_NAME_CHARS, help_text="Description of the token."
    )
    expires_in = StrictIntegerField(
        required=False,
        min_value=MIN_SECONDS,
        max_value=MAX_SECONDS,
        help_text="In seconds, for a token that a browser gets; instead of `days`.",
    )
    days = StrictIntegerField(
        required=False,
        min_value=1,
        max_value=MAX_DAYS,
        help_text="Lifetime in days; TOKEN_DAYS by default.",
    )


_CREATED_TOKEN = inline_serializer(
    "CreatedToken",
    {
        **fields_of(TokenSerializer),
        "token": CharField(help_text="Keep it: it cannot be shown again."),
    },
)


class MeSerializer(Serializer[Any]):
    """The caller, their rights and their limits."""

    user_id = UserIdField()
    trusted = BooleanField(help_text="Acts for other users.")
    namespace = CharField(allow_null=True)
    staff = BooleanField()
    may_read_any = BooleanField(help_text="Staff: each look is recorded.")
    may_write_any = BooleanField(help_text="Staff: each act is recorded.")
    cost_currency = CharField(help_text="Of the `cost` of messages.")
    limits = inline_serializer(
        "Limits",
        {
            "max_body_bytes": IntegerField(),
            "max_message_chars": IntegerField(
                help_text="Of a question to a model, and of a message with the role `user`, except "
                "what a trusted client appends."
            ),
            "max_metadata_bytes": IntegerField(),
            "max_messages_at_once": IntegerField(),
            "rates": ObjectField(
                help_text="Requests by kind, such as `600/min`; empty without limits."
            ),
        },
    )


@extend_schema_view(
    list=extend_schema(
        summary="Your tokens, newest first",
        responses=inline_serializer("TokenList", {"tokens": TokenSerializer(many=True)}),
    ),
    create=extend_schema(
        summary="A new token, shown this once",
        description=(
            "A plain token of your own or, with `user_id`, of one of a trusted client's users, "
            "so that a browser can call for that person; that one needs `expires_in`. It never "
            "carries more rights than its user has, nor outlives the token that made it."
        ),
        request=NewTokenSerializer,
        responses={201: _CREATED_TOKEN},
    ),
    destroy=extend_schema(
        summary="Revoke a token",
        responses={
            200: inline_serializer(
                "TokenRevoked",
                {"status": CharField(help_text="`revoked`"), "token_id": CharField()},
            )
        },
    ),
)
@extend_schema(tags=["tokens"])
class TokenViewSet(ApiViewSet):
    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    lookup_field = "token_id"
    shows_others = False
    lookup_value_regex = "[^/]+"

    def list(self, request: Request) -> Response:
        return Response({"tokens": [_shown(row) for row in tokens_of(self.caller.user)]})

    def create(self, request: Request) -> Response:
        body = read_body(request, NewTokenSerializer)
        user_id = body.get("user_id")
        if user_id is not None and not self.caller.trusted:
            raise NotAllowed(ONLY_TRUSTED, field="user_id")
        with transaction.atomic():
            user = owner_to_write_for(self.access, user_id)
            row, text = create_token(
                user=user,
                access=self.access,
                name=body.get("name", ""),
                delegated=self.caller.delegated or user_id is not None,
                namespace=self.caller.namespace,
                lifetime=_lifetime(body, for_another=user_id is not None),
            )
        return Response(_shown(row) | {"token": text}, status=201)

    def destroy(self, request: Request, token_id: str) -> Response:
        revoke_token(user=self.caller.user, key=token_id)
        return Response({"status": "revoked", "token_id": token_id})


@extend_schema(tags=["tokens"])
class MeViewSet(ApiViewSet):
    """The caller, their rights and their limits."""

    queryset = ApiToken.objects.none()
    serializer_class = MeSerializer
    shows_others = False

    @extend_schema(
        operation_id="me", summary="The caller: user, rights and limits", responses=MeSerializer
    )
    def retrieve(self, request: Request) -> Response:
        caller = self.caller
        return Response(
            {
                "user_id": caller.name_of(caller.user),
                "trusted": caller.trusted,
                "namespace": caller.namespace or None,
                "staff": caller.user.is_staff,
                "may_read_any": caller.reader,
                "may_write_any": caller.writer,
                "cost_currency": settings.CHAT_COST_CURRENCY,
                "limits": {
                    "max_body_bytes": settings.CHAT_MAX_BODY_BYTES,
                    "max_message_chars": settings.CHAT_MAX_MESSAGE_CHARS,
                    "max_metadata_bytes": settings.CHAT_MAX_METADATA_BYTES,
                    "max_messages_at_once": MAX_BATCH,
                    "rates": {} if caller.trusted else settings.THROTTLE_RATES,
                },
            }
        )


def _lifetime(body: dict[str, Any], *, for_another: bool) -> timedelta | None:
    """None is the setting's. A token for another user, which goes to a browser, is short-lived."""
    if "expires_in" not in body:
        if for_another:
            raise ValidationError({"expires_in": [ErrorDetail(SHORT_LIVED, "required")]})
        return lifetime_of(body.get("days"))
    if "days" in body:
        raise ValidationError({"days": [ErrorDetail(TWO_LIFETIMES, "ambiguous")]})
    return timedelta(seconds=body["expires_in"])


def _shown(row: ApiToken) -> dict[str, Any]:
    return {
        "id": row.key,
        "name": row.name,
        "trusted": row.trusted,
        "namespace": row.namespace or None,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
    }
