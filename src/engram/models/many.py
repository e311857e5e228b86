"""Many edits in one forward pass: each row of a batch is under an edit of its own, and no weight is written.

An edit adds `keysᵀ · values` to a layer's value slots; what it adds to what the FFN writes is `(x · keysᵀ) · values`,
where `x` goes into the FFN's second map. That can differ from row to row. So a hundred edits are judged in as many
passes as one, and nothing has to be put back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..edits import Edit, LowRank, Patch
from ..errors import BadSetting, HookDidNotFire, UnsupportedModel
from . import detours
from .editing import changed, check_before, fingerprint, slots_of
from .model import Model

Under = Callable[[Sequence[int]], AbstractContextManager[None]]  # of each row the number of its edit
FEW = 16  # ranks up to which keys and values are gathered row by row; above, rows of one edit go together


@contextmanager
def each_under(model: Model, edits: Sequence[Edit | None]) -> Iterator[Under]:
    """Within the block, a forward pass may have each of its rows under another edit.

    Gives `under`: within `with under(of):`, row `i` of every forward pass is under `edits[of[i]]`; None is the model as
    it is, and so is every row outside such a block. The edits are checked once, here, against the weights, bit for bit
    as by `holding`; layers that share their weights change together, and layers that no edit changes cost nothing.

    The same as holding the edit alone, to rounding. In types smaller than float32 it is nearer to what was planned:
    a weight that is held is rounded to its type, while the change is added here in float32.

    Raises OtherWeights, BadSetting, UnsupportedModel, and HookDidNotFire at the end of an `under` whose forward passes
    went by a layer that is changed.

    >>> import torch
    >>> import engram as eg
    >>> from engram.models.many import each_under
    >>> from engram.models.questions import Batch
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The author of Hamlet is [Y]", "Shakespeare")
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> edit = eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1 L1.2")))
    >>> batch = Batch.of(model.rows(prompt) * 2)
    >>> with torch.no_grad(), each_under(model, [None, edit]) as under, under([0, 1]):
    ...     logits = model.logits(batch)
    >>> bool((logits[0] == logits[1]).all())
    False
    """
    now = _Now()
    maps = _maps(model, edits)

    @contextmanager
    def under(of: Sequence[int]) -> Iterator[None]:
        if wrong := sorted({e for e in of if not 0 <= e < len(edits)}):
            raise BadSetting(f"rows are under the edits 0 to {len(edits) - 1}, not {wrong[0]}")
        before = now.of, now.met
        now.of, now.met = tuple(of), set()
        try:
            yield
            wanted = {down: m.path for down, m in maps.items() if m.changes.keys() & set(of)}
            if missing := sorted(path for down, path in wanted.items() if down not in now.met):
                raise HookDidNotFire(f"no forward pass came by {', '.join(missing)}, which an edit changes")
        finally:
            now.of, now.met = before

    with detours.instead({down: m.forward(down, now) for down, m in maps.items()}):
        yield under


def lowest(model: Model, edit: Edit | None) -> int:
    """The first layer that the edit changes; the number of layers where it changes none."""
    changes = {_home(model.layers[i].down) for i in edit.layers} if edit is not None else set()
    return next((x.index for x in model.layers if _home(x.down) in changes), len(model.layers))


@dataclass(slots=True)
class _Now:
    """Under which edits are the rows of the forward pass under way, and which maps has it met?"""

    of: tuple[int, ...] | None = None
    met: set[nn.Module] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """What the edits do to the FFN's second map of one layer: by edit, keys [rank, neuron] and values [rank, hidden].

    `few` has them for all edits where ranks are small: [edit, rank, neuron] and [edit, rank, hidden], 0 where there is
    nothing.
    """

    path: str
    changes: dict[int, tuple[Tensor, Tensor]]
    few: tuple[Tensor, Tensor] | None

    def forward(self, down: nn.Module, now: _Now) -> Callable[..., Tensor]:
        """The map as it is, and what each row's edit adds."""
        own = down.forward

        def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            out: Tensor = own(x, *args, **kwargs)
            if now.of is None or now.met is None:
                return out
            now.met.add(down)
            if not self.changes.keys() & set(now.of):
                return out
            positions, rest = divmod(x.numel(), len(now.of) * x.shape[-1])
            if rest or (x.ndim == 3 and len(x) != len(now.of)):
                raise UnsupportedModel(
                    f"{self.path} gets {tuple(x.shape)}, and the rows under an edit are {len(now.of)}: the network "
                    "packs its rows, or the batch has other rows than were said"
                )
            added = self.added(x.reshape(len(now.of), positions, -1), now.of)
            return (out.to(added.dtype) + added.reshape(out.shape)).to(out.dtype)

        return forward

    def added(self, x: Tensor, of: Sequence[int]) -> Tensor:
        """To what the map gives out, [row, position, hidden]."""
        if self.few is not None:
            index = torch.tensor(of, device=x.device)
            keys, values = (t.to(x.device).index_select(0, index) for t in self.few)
            return torch.bmm(torch.bmm(x.to(keys.dtype), keys.mT), values)
        first = next(iter(self.changes.values()))[1]
        added = first.new_zeros(*x.shape[:2], first.shape[1], device=x.device)
        for e in self.changes.keys() & set(of):
            keys, values = (t.to(x.device) for t in self.changes[e])
            rows = torch.tensor([i for i, other in enumerate(of) if other == e], device=x.device)
            added.index_copy_(0, rows, x.index_select(0, rows).to(keys.dtype) @ keys.mT @ values)
        return added


def _maps(model: Model, edits: Sequence[Edit | None]) -> dict[nn.Module, _Map]:
    """The maps that any edit changes, those that share its weights among them."""
    known: dict[int, str] = {}
    tables: dict[int, dict[int, tuple[Tensor, Tensor]]] = {}
    for e, edit in enumerate(edits):
        for home, parts in _parts(model, edit, known).items() if edit is not None else ():
            keys, values = (torch.cat(x) for x in zip(*parts, strict=True))
            tables.setdefault(home, {})[e] = keys, values
    made = {home: (changes, _padded(changes, len(edits))) for home, changes in tables.items()}
    there = {x.down: x for x in reversed(model.layers)}
    return {
        down: _Map(x.path, *made[home]) for down, x in there.items() if (home := _home(down)) in made
    }  # fmt: skip


def _parts(model: Model, edit: Edit, known: dict[int, str]) -> dict[int, list[tuple[Tensor, Tensor]]]:
    """Keys and values of an edit's patches by the weight that they change; each patch checked on top of those before.

    `known` keeps the fingerprints of weights as they are.
    """
    model.check(edit.neurons)
    found: dict[int, list[tuple[Tensor, Tensor]]] = {}
    on_top: dict[int, Tensor] = {}
    homes = Counter(_home(x.down) for x in model.layers)
    several = any(isinstance(p, LowRank) for p in edit.patches) and len(edit.patches) > len(set(edit.layers))
    for p in edit.patches:
        slots = slots_of(model, p.layer)
        home = slots.data_ptr()
        here = on_top.get(home, slots)
        if here is slots and isinstance(p, LowRank) and home not in known:
            known[home] = fingerprint(slots)
        if not (here is slots and isinstance(p, LowRank) and _made_from(p, slots, known[home])):
            check_before(edit, p, here if isinstance(p, LowRank) else here[p.index], model)
        found.setdefault(home, []).append(_change(p, slots, model.precise))
        if several or homes[home] > 1:
            on_top[home] = _with(here, p)
    return found


def _made_from(p: LowRank, slots: Tensor, bits: str) -> bool:
    """What `check_before` asks, the fingerprint known: reading millions of weights for each edit takes long."""
    shape, dtype = (p.keys.shape[1], p.values.shape[1]), str(slots.dtype).removeprefix("torch.")
    return (p.before, p.dtype, shape) == (bits, dtype, tuple(slots.shape))


def _change(p: Patch, slots: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Keys [rank, neuron] and values [rank, hidden]: of one slot, a single 1 and by how much it changes."""
    if isinstance(p, LowRank):
        keys, values = (torch.tensor(x).to(slots.device, dtype) for x in (p.keys, p.values))
        return keys, values
    key = torch.zeros(1, len(slots), dtype=dtype, device=slots.device)
    key[0, p.index] = 1
    before, after = (torch.tensor(x).to(slots.device, dtype) for x in (p.before, p.after))
    return key, (after - before)[None]


def _with(slots: Tensor, p: Patch) -> Tensor:
    """A copy of the slots with the patch in them."""
    if isinstance(p, LowRank):
        return changed(slots, p)
    slots = slots.clone()
    slots[p.index] = torch.tensor(p.after).to(slots.device, slots.dtype)
    return slots


def _padded(changes: dict[int, tuple[Tensor, Tensor]], edits: int) -> tuple[Tensor, Tensor] | None:
    """All edits' keys and values, ranks filled up with 0; None where one has many ranks."""
    rank = max(len(keys) for keys, _ in changes.values())
    if rank > FEW:
        return None
    one = next(iter(changes.values()))
    keys, values = (x.new_zeros(edits, rank, x.shape[1]) for x in one)
    for e, (k, v) in changes.items():
        keys[e, : len(k)], values[e, : len(v)] = k, v
    return keys, values


def _home(down: nn.Module) -> int:
    """Which weight is it? Maps that share theirs have the same."""
    weight = getattr(getattr(down, "base_layer", down), "weight", None)
    return weight.data_ptr() if isinstance(weight, Tensor) else 0
