"""Django's PostgreSQL backend, which starts the embedded server before it connects."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, client

from .errors import is_away
from .programs import newest, shipped
from .server import EmbeddedPostgres, server_at


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell` with the wheel's psql: an older one fails on commands such as \\l."""

    connection: "DatabaseWrapper"

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        (_, *arguments), env = super().settings_to_cmd_args_env(settings_dict, parameters)
        return [str(shipped()[newest()] / "psql"), *arguments], env

    def runshell(self, parameters: Iterable[str]) -> None:
        self.connection.server.acquire()
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient

    @property
    def server(self) -> EmbeddedPostgres:
        try:
            embedded = self.settings_dict["EMBEDDED"]
        except KeyError as error:
            text = "Make this entry of DATABASES with database_settings()."
            raise ImproperlyConfigured(text) from error
        return server_at(Path(embedded["directory"]), durable=embedded["durable"])

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if not self.server.is_held:
            self._acquire()
        try:
            return super().get_new_connection(conn_params)
        except self.Database.OperationalError as error:
            if not is_away(error):
                raise
        self._acquire()  # it has died since
        return super().get_new_connection(conn_params)

    def _acquire(self) -> None:
        seconds = self.settings_dict["EMBEDDED"].get("seconds")
        if seconds is None:
            self.server.acquire()
        else:
            self.server.acquire_within(seconds)
