"""How the model is run, and what each choice costs."""

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Self

MODEL = "SmolLM2-135M-Instruct"
CONTEXT_OF_MODEL = 8192  # tokens, as it was trained
MOST_THREADS = 4  # a model this small gains nothing from more


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):  # a container may have fewer than the machine
        return min(len(os.sched_getaffinity(0)), MOST_THREADS)
    return min(os.cpu_count() or 1, MOST_THREADS)


@dataclass(frozen=True)
class Options:
    """`slots` requests are answered at once, the others wait; each may have `context` tokens,
    question and answer together. `threads` read a prompt, about 110 tokens a second each.

    The memory for them is taken at the start: 23 KB a token, 190 MB for 4 slots of 2,048.
    After `sleep_seconds` without a request it is given back, with the model's; the next request
    then takes about half a second more.
    """

    slots: int = 4
    context: int = 2048
    threads: int = field(default_factory=_threads)
    sleep_seconds: int = 300

    def __post_init__(self) -> None:
        if min(self.slots, self.threads) < 1 or not 256 <= self.context <= CONTEXT_OF_MODEL:
            raise ValueError(f"{self}: at least 1 slot, 1 thread, 256 to {CONTEXT_OF_MODEL} tokens")

    def as_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(**json.loads(text))
