"""How far is work that has several stages, some of which do not know how long they take?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor

from ..models import Model, hooks


class Tell(Protocol):
    """Is told how much is done of how much, and in words; what it raises ends the work."""

    def __call__(self, done: int, total: int, says: str = "", /) -> None: ...


def stage(progress: Tell | None, number: int, stages: int, words: str) -> Tell:
    """What a stage of several tells, so that `progress` hears of the whole, in the stage's words.

    >>> stage(lambda done, total, says="": print(done, total, says), 1, 2, "Asking")(3, 4)
    7 8 Asking: 3 of 4
    """

    def tell(done: int, total: int, says: str = "", /) -> None:
        if progress is not None:
            counted = f"{words}: {done:,} of {total:,}" if total else f"{words} …"
            progress(number * max(1, total) + done, stages * max(1, total), says or counted)

    return tell


@contextmanager
def passes(model: Model, progress: Tell | None) -> Iterator[None]:
    """Within the block, each of the network's passes is counted aloud: a sign of life, and a place to stop at.

    Nothing is changed. What `progress` raises ends the pass.
    """
    count = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal count
        count += 1
        if progress is not None:
            progress(0, 0, f"Planning the edit: {count:,} passes through the model")
        return x

    with hooks.embedding(model.net, counted):
        yield
