"""One's own API tokens over HTTP: /api/tokens."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from knox.models import AuthToken
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api import serializers
from conversations.api.views import ApiViewSet, read_body
from conversations.services.tokens import create_token, revoke_token, tokens_of


@extend_schema_view(
    list=extend_schema(
        summary="Your tokens, newest first", responses=serializers.TokenListSerializer
    ),
    create=extend_schema(
        summary="A new token, shown this once",
        request=serializers.NewTokenSerializer,
        responses={201: serializers.CreatedTokenSerializer},
    ),
    destroy=extend_schema(
        summary="Revoke a token", responses={200: serializers.TokenRevokedSerializer}
    ),
)
@extend_schema(tags=["tokens"])
class TokenViewSet(ApiViewSet):
    queryset = AuthToken.objects.none()
    serializer_class = serializers.TokenSerializer
    lookup_field = "token_id"
    shows_others = False
    lookup_value_regex = "[^/]+"

    def list(self, request: Request) -> Response:
        return Response({"tokens": [_shown(row) for row in tokens_of(self.caller.user)]})

    def create(self, request: Request) -> Response:
        body = read_body(request, serializers.NewTokenSerializer)
        row, text = create_token(user_id=self.caller.user.pk, days=body.get("days"))
        return Response(_shown(row) | {"token": text}, status=201)

    def destroy(self, request: Request, token_id: str) -> Response:
        revoke_token(user=self.caller.user, token_key=token_id)
        return Response({"status": "revoked", "token_id": token_id})


def _shown(row: AuthToken) -> dict[str, Any]:
    return {"id": row.token_key, "created_at": row.created, "expires_at": row.expiry}
