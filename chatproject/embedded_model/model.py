"""This process's use of the embedded model."""

import os
from pathlib import Path

from conversations.process_locks import SharedServer

from .endpoint import Endpoint
from .errors import EmbeddedModelError
from .options import Options
from .process import ModelProcess

_by_directory: dict[Path, "EmbeddedModel"] = {}


class EmbeddedModel(SharedServer):
    """This process's use of the model's server in `directory`.

    `options` count for the process that starts it; the others use it as it is.
    """

    _endpoint: Endpoint | None = None

    def __init__(self, directory: Path, options: Options | None = None) -> None:
        super().__init__(directory)
        self._process = ModelProcess(self.directory, options or Options())

    @property
    def api_key(self) -> str:
        """The key of the server that `acquire` has found; each start has another."""
        assert self._endpoint is not None, "acquire() first"
        return self._endpoint.key

    def acquire(self) -> str:
        """The base URL of the server, ready to answer, with this process counted as its user.

        Takes about a second where it has to be started. Otherwise it is cheap: call it before
        each use, since that restarts a server that has died.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._start_and_hold()
        except OSError as error:
            raise EmbeddedModelError(
                f"The embedded model cannot be used in {self.directory} by user {os.geteuid()}: "
                f"{error}"
            ) from error
        assert self._endpoint is not None
        return self._endpoint.url

    def _start(self) -> None:
        endpoint = self._process.ensure_runs()
        if endpoint != self._endpoint and not endpoint.answers():
            raise EmbeddedModelError(
                f"The embedded model in {self.directory} runs, but this process cannot reach it at "
                f"{endpoint.url}. Processes in several containers need a folder each."
            )
        self._endpoint = endpoint

    def _stop(self) -> None:
        self._process.stop()


def model_at(directory: Path, options: Options | None = None) -> EmbeddedModel:
    """The one object of this process for `directory`."""
    directory = Path(directory).resolve()
    if directory not in _by_directory:
        _by_directory.setdefault(directory, EmbeddedModel(directory, options))
    return _by_directory[directory]
