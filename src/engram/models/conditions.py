"""A condition is a value that says how a model differs from itself: an intervention, an edit, several, or nothing.

`holding` makes it so for the length of a block. There is no other way to change a model, and no way to forget the
undoing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import singledispatch

from .model import Model


@singledispatch
def holding(condition: object, model: Model) -> AbstractContextManager[None]:  # noqa: ARG001
    """Within the block, the model is under the condition; after it, the model is what it was, to the last bit.

    Several conditions (a tuple or list) hold together, in their order. Verbs take the same values after `under=`.

    >>> import engram as eg
    >>> model = eg.load()
    >>> with eg.holding(eg.suppressed(eg.NeuronSet.parse("L0.1")), model):
    ...     answers = eg.ask(model, [eg.Prompt("The capital of Ireland is [Y].", "Dublin")])
    """
    raise TypeError(f"{type(condition).__name__} is not a condition that a model can be held under")


@holding.register(type(None))
def _nothing(_condition: None, _model: Model) -> AbstractContextManager[None]:
    return nullcontext()


@holding.register(tuple)
@holding.register(list)
@contextmanager
def _several(condition: tuple[object, ...] | list[object], model: Model) -> Iterator[None]:
    with ExitStack() as stack:
        for one in condition:
            stack.enter_context(holding(one, model))
        yield
