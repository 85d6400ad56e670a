"""The Django project: settings, URLs, WSGI entry point and the embedded PostgreSQL."""
