"""Where the running server is and the key that it wants, in a file that only its owner may read."""

import http.client
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

SECONDS_TO_ANSWER = 10


@dataclass(frozen=True)
class Endpoint:
    """`url` ends in /v1; the server has the process number `pid`."""

    url: str
    pid: int
    key: str = field(repr=False)

    def answers(self) -> bool:
        # Not through urllib, which would ask a proxy that the environment names.
        connection = http.client.HTTPConnection(
            urlsplit(self.url).netloc, timeout=SECONDS_TO_ANSWER
        )
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def write(self, path: Path) -> None:
        """Write it whole or not at all, for the owner of the folder alone."""
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)
            if os.geteuid() == 0:  # `sudo manage.py ...` in somebody's folder
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.replace(name, path)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None where no server has said yet that it is ready."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None


def endpoint_file(directory: Path) -> Path:
    return directory / "server.json"
