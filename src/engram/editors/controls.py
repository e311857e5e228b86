"""What an edit is to be compared with: changes of the same size that have nothing to do with the wish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..edits import Edit, LowRank, Patch, Slot
from ..models import Model
from ..models.editing import low_rank, patch, planned, slot_of
from ..neurons import Neuron


def shuffled(model: Model, edit: Edit, *, seed: int = 0) -> Edit:
    """The same changes, of other neurons of the same layers, drawn by `seed`.

    What is added to a value slot is added to another one's; of a change of low rank, the numbers of its keys are dealt
    out anew. So each layer changes by as much, and what is written is the same, but to other inputs.

    >>> import engram as eg
    >>> model, wish = eg.load(), eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> edit = eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1 L1.2")))
    >>> [n.layer for n in shuffled(model, edit).neurons]
    [0, 1]
    """
    luck = np.random.default_rng(seed)
    orders = {layer: luck.permutation(model.widths[layer]) for layer in edit.layers}

    def moved(p: Patch) -> Patch:
        if isinstance(p, LowRank):
            return low_rank(model, p.layer, torch.tensor(p.keys[:, orders[p.layer]]), torch.tensor(p.values))
        return _slot(model, p, Neuron(p.layer, int(orders[p.layer][p.index])))

    return _as(model, edit, "of random neurons", [moved(p) for p in edit.patches])


def elsewhere(model: Model, edit: Edit, *, seed: int = 0) -> Edit | None:
    """The same changes, each layer's in another layer, drawn by `seed`; None where no other layer is as wide."""
    luck, homes = np.random.default_rng(seed), dict[int, int]()
    for layer in edit.layers:
        own = model.layers[layer].down
        free = [
            i
            for i, width in enumerate(model.widths)
            if width == model.widths[layer] and model.layers[i].down is not own and i not in homes.values()
        ]
        if not free:
            return None
        homes[layer] = free[int(luck.integers(len(free)))]

    def moved(p: Patch) -> Patch:
        if isinstance(p, LowRank):
            return low_rank(model, homes[p.layer], torch.tensor(p.keys), torch.tensor(p.values))
        return _slot(model, p, Neuron(homes[p.layer], p.index))

    return _as(model, edit, "in a random layer", [moved(p) for p in edit.patches])


def _slot(model: Model, p: Slot, home: Neuron) -> Slot:
    change = torch.tensor(p.after).double() - torch.tensor(p.before).double()
    return patch(model, home, slot_of(model, home).detach().cpu().double() + change)


def _as(model: Model, edit: Edit, how: str, patches: Sequence[Patch]) -> Edit:
    settings = {"control": how, "of": edit.method}
    return replace(planned(edit.method, edit.wish, patches, model, settings), method=f"{edit.method} {how}")


Control = Callable[..., Edit | None]
CONTROLS: dict[str, Control] = {"random neurons": shuffled, "random layer": elsewhere}
