"""This process's use of the embedded server, and the entry for `DATABASES` that leads to it."""

import os
from pathlib import Path
from typing import Any

from conversations.process_locks import SharedServer

from .accounts import name_of, refuse_other_owner
from .errors import EmbeddedPostgresError
from .postmaster import PORT, Postmaster, socket_folder

DATABASE = "chatproject"

_by_directory: dict[Path, "EmbeddedPostgres"] = {}


class EmbeddedPostgres(SharedServer):
    """This process's use of the server in `directory`.

    `durable=False` is for tests: a crash of the machine may then lose or break the data.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        super().__init__(directory)
        self._postmaster = Postmaster(self.directory, durable=durable)

    @property
    def socket_directory(self) -> Path:
        """Where clients connect; known before anything has started."""
        return self._postmaster.socket_directory

    def acquire(self) -> None:
        """Return with the server accepting connections and this process counted as a user of it.

        Cheap to call again, which restarts a server that has died meanwhile.
        """
        try:
            # Root's server runs as another account, which has to pass through here.
            self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            refuse_other_owner(self._postmaster.data)
            self._start_and_hold()
        except OSError as error:
            user = name_of(os.geteuid())
            raise EmbeddedPostgresError(
                f"{user} cannot use the embedded PostgreSQL in {self.directory}: {error}"
            ) from error

    def _start(self) -> None:
        self._postmaster.ensure_runs()
        self._postmaster.ensure_database(DATABASE)

    def _stop(self) -> None:
        self._postmaster.stop()


def server_at(directory: Path, *, durable: bool = True) -> EmbeddedPostgres:
    """The one object of this process for `directory`."""
    directory = Path(directory).resolve()
    if directory not in _by_directory:
        _by_directory.setdefault(directory, EmbeddedPostgres(directory, durable=durable))
    return _by_directory[directory]


def database_settings(directory: Path, *, durable: bool = True, **extra: Any) -> dict[str, Any]:
    """The entry for `DATABASES`. It starts nothing: the first connection does."""
    directory = Path(directory).resolve()
    return {
        "ENGINE": "chatproject.embedded_postgres",
        "NAME": DATABASE,
        "USER": "postgres",
        "HOST": str(socket_folder(directory)),
        "PORT": PORT,
        "EMBEDDED": {"directory": str(directory), "durable": durable},
        **extra,
    }
