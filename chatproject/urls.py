"""Routes of the API, the admin and the health checks."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from conversations.api.health import healthz, readyz

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("api/", include("conversations.api.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
]

handler400 = "conversations.api.errors.bad_request"
handler403 = "conversations.api.errors.forbidden"
handler404 = "conversations.api.errors.not_found"
handler500 = "conversations.api.errors.server_error"
