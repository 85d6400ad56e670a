"""Routes of the API, the admin, the health checks and the metrics."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from conversations.api.health import healthz, readyz
from conversations.api.metrics import show_metrics

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("api/", include("conversations.api.urls")),
    path("v1/", include("conversations.api.openai.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", show_metrics, name="metrics"),
]

handler400 = "conversations.api.errors.bad_request"
handler403 = "conversations.api.errors.forbidden"
handler404 = "conversations.api.errors.not_found"
handler500 = "conversations.api.errors.server_error"
