"""An edit applied: it stays in the weights when the block that applied it has ended, until somebody takes it back."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor

from ..edits import Edit
from ..errors import BadSetting, OtherWeights
from .editing import fingerprint, write, written_to
from .model import Model


class Undo:
    """The way back from an edit that was applied: called, or left as a `with` block, once.

    It puts back copies of what was there, bit for bit. `done` says whether that has happened.
    """

    def __init__(self, edit: Edit, model: Model) -> None:
        self.edit, self.model, self.done = edit, model, False
        self._copies = [before for _, before in write(edit, model)]
        self._left = [fingerprint(x) for x in self._slots()]

    def __call__(self) -> None:
        """Put back what was there.

        Raises BadSetting where that was done already, and OtherWeights where the slots are no longer what the edit
        made of them: then nothing is changed.
        """
        if self.done:
            raise BadSetting(f"this edit ({self.edit.method}) was taken out of {self.model.name} already")
        slots = self._slots()
        for x, left, p in zip(slots, self._left, self.edit.patches, strict=True):
            if fingerprint(x) != left:
                raise OtherWeights(
                    f"this edit ({self.edit.method}) cannot be taken out of {self.model.name}: layer {p.layer} was "
                    "changed since it was applied. Take out what came later first."
                )
        for x, before in zip(reversed(slots), reversed(self._copies), strict=True):
            x.copy_(before)
        self.done = True
        self._copies.clear()

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if not self.done:
            self()

    def _slots(self) -> list[Tensor]:
        return [written_to(self.model, p) for p in self.edit.patches]


def apply(edit: Edit, model: Model) -> Undo:
    """Write the edit into the model's weights, to stay there. What comes back takes it out again, to the last bit.

    `holding` is the same for the length of a block. All of the edit is written, or nothing. Raises OtherWeights where a
    slot is not bit for bit what the edit was made from, and EditConflict where another edit that is held is why.

    >>> import engram as eg
    >>> model, prompt = eg.load(), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> before = eg.ask(model, prompt)
    >>> undo = apply(eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1 L1.2"))), model)
    >>> eg.ask(model, prompt) == before
    False
    >>> undo()
    >>> eg.ask(model, prompt) == before
    True
    """
    return Undo(edit, model)
