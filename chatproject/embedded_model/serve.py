"""The server process itself: loads the model, says where it is, and ends when nobody holds a share.

`python -m chatproject.embedded_model.serve FOLDER OPTIONS` returns at once; its child serves.
"""

import faulthandler
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from conversations.process_locks import clients_lock, lock, start_lock, unlock

from .endpoint import Endpoint, endpoint_file
from .log import bound_log
from .options import MODEL, Options
from .wheels import runner, weights

SECONDS_BETWEEN_LOOKS = 1
STANDARD_ERROR = 2
ERRORS_ONLY = 1  # warnings quote what they are about, and that is what people write
MOST_TOKENS_TO_EMBED = 512


def main(directory: Path, options: Options) -> None:
    faulthandler.enable()  # for a processor that lacks an instruction
    key = secrets.token_urlsafe(32)
    llama = runner()
    # It serves for as long as the object lives.
    server = llama.Server(parameters(llama, options, key))
    endpoint = Endpoint(f"{server.listening_address}/v1", os.getpid(), key)
    endpoint.write(endpoint_file(directory))
    wait_for_last_user(directory)
    os._exit(0)  # at once: there is nothing to save


def parameters(llama: Any, options: Options, key: str) -> Any:
    chosen = llama.CommonParams()
    chosen.model.path = str(weights())
    chosen.model_alias = {MODEL}  # otherwise the path of the file is in each answer
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = 0  # a free one
    chosen.api_keys = [key]
    chosen.cors_origins = ""  # it is not for browsers
    chosen.ui = False
    chosen.endpoint_slots = False
    chosen.verbosity = ERRORS_ONLY
    chosen.n_parallel = options.slots
    chosen.n_ctx = options.slots * options.context
    # Threads wait for each other hundreds of times a token. On two cores a second one raises 33
    # tokens a second to 58, and lowers them to 5 as soon as anything else runs, such as the web
    # server. Reading a prompt, and several answers at once, take fewer and longer steps.
    chosen.cpuparams.n_threads = 1
    chosen.cpuparams_batch.n_threads = options.threads
    chosen.cache_ram_mib = 0  # up to 8 GB of old prompts otherwise
    chosen.sleep_idle_seconds = options.sleep_seconds
    _allow_embeddings(llama, chosen)
    _sample_as_recommended(chosen.sampling)
    return chosen


def _allow_embeddings(llama: Any, chosen: Any) -> None:
    chosen.embedding = True  # chat works as before
    chosen.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    chosen.n_ubatch = MOST_TOKENS_TO_EMBED


def _sample_as_recommended(sampling: Any) -> None:
    # For requests that name no values: the model card's, and a penalty, since so small a model
    # otherwise repeats a line until its context is full.
    sampling.temp = 0.2
    sampling.top_p = 0.9
    sampling.penalty_repeat = 1.1


def wait_for_last_user(directory: Path) -> None:
    """Return when nobody can use this server any more."""
    while not is_replaced(directory) and not is_abandoned(directory):
        bound_log(STANDARD_ERROR)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def is_replaced(directory: Path) -> bool:
    """Whether the folder was removed, and perhaps made again with another server in it."""
    endpoint = Endpoint.read(endpoint_file(directory))
    return endpoint is None or endpoint.pid != os.getpid()


def is_abandoned(directory: Path) -> bool:
    """Whether nobody holds a share. The locks that tell are then kept, so that nobody gets one
    before this process has ended."""
    try:
        starting = lock(start_lock(directory), wait=False)
    except BlockingIOError:
        return False  # somebody is about to take a share, or stops this process
    except OSError:
        return True  # the folder is gone
    try:
        lock(clients_lock(directory), wait=False)
    except BlockingIOError:
        unlock(starting)
        return False
    return True


if __name__ == "__main__":
    # The one that was started ends at once, so that nobody has to wait for its child's end.
    if os.fork() == 0:
        main(Path(sys.argv[1]), Options.from_text(sys.argv[2]))
    os._exit(0)
