"""The committed OpenAPI page, as tests read it."""

from functools import cache

import yaml
from django.conf import settings

SCHEMA_FILE = settings.BASE_DIR / "docs" / "openapi.yaml"


@cache
def schema():
    return yaml.safe_load(SCHEMA_FILE.read_text())


def operations():
    """(method, path, operation) of each."""
    return [
        (method.upper(), path, operation)
        for path, methods in schema()["paths"].items()
        for method, operation in methods.items()
    ]
