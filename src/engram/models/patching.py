"""Run a corrupted network on with some of its sites as they were in the clean run: the engine under tracing.

One pass has the clean row and all corrupted ones. From there on only what can change is computed: no layer below the
first restored one; of a causal model no position before the restored token, whose keys and values are those of the
corrupted run; in the last block the asked position alone. All cells of a token travel together, and cells that have
the same sites restored so far are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from . import hooks
from .batching import Progress, in_parts, start_bytes
from .hooks import Place
from .model import Model
from .passes import Runs, Value
from .recording import Recording
from .replay import attending, behind, run_block, through

Put = tuple[Place, Value]  # what stands at a token in one layer: in which place, and whence
Read = Callable[[Tensor], Tensor]  # logits [row, vocabulary] -> [row]
PLACES: tuple[Place, ...] = ("attention", "ffn")  # inside a block
EVERYWHERE: tuple[Place, ...] = (*PLACES, "block")


@dataclass(frozen=True, slots=True)
class Cell:
    """One token, and what is put there in which layers: `plan[layer]`."""

    token: int
    plan: Mapping[int, tuple[Put, ...]]

    @property
    def first(self) -> int:
        """The lowest layer in which something is put."""
        return min(self.plan)


@torch.no_grad()
def patched(model: Model, runs: Runs, cells: Sequence[Cell], read: Read, *, progress: Progress | None = None) -> Tensor:
    """What does the network say with each cell put in place? [cell, sample], float64.

    A cell that cannot reach the asked position is known without a run.
    """
    done = 0
    said = read(runs.logits).double()
    found = said[1:].repeat(len(cells), 1)
    asked, last = runs.asked, len(model.layers) - 1
    groups: dict[int, list[int]] = {}
    for i, cell in enumerate(cells):
        if cell.token < runs.changed or (cell.first == last and cell.token != asked):
            continue
        if cell.plan == {last: (("block", "clean"),)}:
            found[i] = said[0]
            continue
        groups.setdefault(cell.token if runs.causal else 0, []).append(i)
    for start, own in groups.items():
        rest = None if runs.whole else runs.onwards(start)

        def work(part: Sequence[int], own: list[int] = own, rest: Recording | None = rest) -> Sequence[int]:
            mine = [own[i] for i in part]
            some = [cells[i] for i in mine]
            wave = _through_the_network(model, runs, some) if rest is None else _Wave(model, runs, rest, some).run()
            for logits, who in wave:
                found[[mine[i] for i in who]] = read(logits).double()
            return part

        row = start_bytes(model, rest or runs.as_network(), 0, gradient=False)
        in_parts(model, [runs.samples * row] * len(own), work)
        done += len(own)
        if progress is not None:
            progress(done, sum(map(len, groups.values())))
    return found


def _touched(cells: Sequence[Cell], place: Place) -> set[int]:
    """In which layers does something stand in this place?"""
    return {layer for c in cells for layer, puts in c.plan.items() if any(p == place for p, _ in puts)}


class _Wave:
    """The cells of one start on their way up. A group is `samples` rows, and the cells that they stand for."""

    def __init__(self, model: Model, runs: Runs, rest: Recording, cells: Sequence[Cell]) -> None:
        self.model, self.runs, self.rest, self.cells = model, runs, rest, cells
        self.start = runs.length - rest.batch.ids.shape[1]
        self.groups: list[list[int]] = []
        self.x = runs.left[0].new_zeros(0)
        self.positions = 0  # of the states in the block under way; 0: the cell's own token comes first
        self.here: list[Cell] = []  # for each group in it, a cell that says what is put
        device = rest.batch.ids.device
        self.own = torch.arange(1, runs.samples + 1, device=device)  # the corrupted rows

    def run(self) -> Iterator[tuple[Tensor, list[int]]]:
        """The logits of each group's samples, [sample, vocabulary], and its cells."""
        with ExitStack() as stack:
            for place in PLACES:
                touched = _touched(self.cells, place)
                changes = {layer: self._putting(place, layer) for layer in touched}
                stack.enter_context(hooks.rewriting(self.model.net, self.model.layers, changes, place=place))
            for layer in self.model.layers[min(c.first for c in self.cells) :]:
                self._one(layer)
            logits = behind(self.model, self.rest, self.x, self._rows())
        for i, who in enumerate(self.groups):
            yield logits[i * self.runs.samples : (i + 1) * self.runs.samples], who

    def _one(self, layer: hooks.Layer) -> None:
        """Through one block: split what from here on differs, run it, put in what leaves it, and add what begins."""
        index = layer.index
        self._split(index)
        begun = self._beginning(index)
        entering = [who for who in begun if not self._known(index, who)]
        self._join(entering, [self.runs.entered(index)[1:, self.start :]] * len(entering))
        last = index == len(self.model.layers) - 1
        if self.groups:
            self.positions = self.x.shape[1]
            self.here = [self.cells[who[0]] for who in self.groups]
            self.x = through(self.rest, layer, self.x, self._rows(), None, last)
            self._put(self.x, "block", index, alone=last and self.positions > 1)
        known = [who for who in begun if self._known(index, who)]
        self._join(known, [self._begun(layer, self.cells[who[0]], last) for who in known])

    def _rows(self) -> Tensor:
        return self.own.repeat(len(self.groups))

    def _split(self, layer: int) -> None:
        parts = [(i, who) for i, group in enumerate(self.groups) for who in self._by_plan(layer, group)]
        if len(parts) > len(self.groups):
            each = torch.arange(self.runs.samples, device=self.x.device)
            rows = torch.cat([i * self.runs.samples + each for i, _ in parts])
            self.x = self.x.index_select(0, rows)
        self.groups = [who for _, who in parts]

    def _by_plan(self, layer: int, cells: Sequence[int]) -> list[list[int]]:
        same: dict[tuple[int, tuple[Put, ...]], list[int]] = {}
        for i in cells:
            puts = self.cells[i].plan.get(layer, ())
            same.setdefault((self.cells[i].token if puts else -1, puts), []).append(i)
        return list(same.values())

    def _beginning(self, layer: int) -> list[list[int]]:
        return self._by_plan(layer, [i for i, c in enumerate(self.cells) if c.first == layer])

    def _known(self, layer: int, who: Sequence[int]) -> bool:
        """Does only the token's own state differ when it leaves the block, so that the others need not run?"""
        puts = self.cells[who[0]].plan[layer]
        inside = self.model.layers[layer]
        return len(puts) == 1 and (puts[0][0] != "attention" or inside.attention == (inside.attended,))

    def _begun(self, layer: hooks.Layer, cell: Cell, last: bool) -> Tensor:
        """The states that leave the block in which a cell begins: those of the corrupted run but at its token."""
        index, at, (place, value) = layer.index, cell.token - self.start, cell.plan[layer.index][0]
        x = self.runs.left[index][1:, self.start :].clone()
        put = self.runs.value(place, index, value, cell.token)
        if place == "block":
            x[:, at] = put
        elif place == "ffn" and index in self.rest.additive:
            x[:, at] += put - self.runs.value(place, index, "corrupted", cell.token)
        else:
            x[:, at] = self._at_its_token(layer, cell, put if place == "attention" else None)
        asked = self.runs.asked - self.start
        return x[:, asked : asked + 1] if last else x

    def _at_its_token(self, layer: hooks.Layer, cell: Cell, attended: Tensor | None) -> Tensor:
        """What leaves the block at the cell's token, attention giving out what it gave out, or this. [sample, hidden]

        The asked position runs along, so that a condition that acts there finds it.
        """
        pair = [cell.token, *([self.runs.asked] if cell.token != self.runs.asked else [])]
        given = []
        for out in self.runs.seen.attended[layer.index]:
            first = (out if isinstance(out, Tensor) else out[0])[1:, pair]
            if attended is not None:
                first = torch.cat([attended[:, None], first[:, 1:]], 1)
            given.append(first if isinstance(out, Tensor) else (first, *out[1:]))
        at = torch.full_like(self.own, len(pair) - 1)
        about = hooks.Asked({layer.side: at}, self.rest.batch.take(self.own).ids)
        self.here, self.positions = [cell], 0
        with attending(layer, given):
            ran = run_block(self.rest, layer, self.runs.entered(layer.index)[1:, pair], self.own, about)
        return ran[:, 0]

    def _join(self, groups: Sequence[list[int]], states: Sequence[Tensor]) -> None:
        """Groups that begin with these states, each of the corrupted rows."""
        if groups:
            self.x = torch.cat([self.x, *states]) if self.groups else torch.cat(list(states))
            self.groups += groups

    def _putting(self, place: Place, layer: int) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            return self._put(x, place, layer, alone=x.shape[1] == 1 != self.positions)

        return change

    def _put(self, x: Tensor, place: Place, layer: int, *, alone: bool) -> Tensor:
        """What the plans say stands here. `alone`: x has the asked position only."""
        n = self.runs.samples
        for i, cell in enumerate(self.here):
            if alone and cell.token != self.runs.asked:
                continue
            for kind, value in cell.plan.get(layer, ()):
                if kind == place:
                    at = cell.token - self.start if self.positions and not alone else 0
                    x[i * n : (i + 1) * n, at] = self.runs.value(place, layer, value, cell.token).to(x.dtype)
        return x


def _through_the_network(model: Model, runs: Runs, cells: Sequence[Cell]) -> Iterator[tuple[Tensor, list[int]]]:
    """The same by running the whole network, corrupted anew, for every cell and sample."""
    n = runs.samples

    def putting(place: Place, layer: int) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            for i, cell in enumerate(cells):
                for kind, value in cell.plan.get(layer, ()):
                    if kind == place:
                        x[i * n : (i + 1) * n, cell.token] = runs.value(place, layer, value, cell.token).to(x.dtype)
            return x

        return change

    with ExitStack() as stack:
        stack.enter_context(hooks.embedding(model.net, lambda x: runs.corrupt(x, len(cells))))
        for place in EVERYWHERE:
            touched = _touched(cells, place)
            changes = {layer: putting(place, layer) for layer in touched}
            stack.enter_context(hooks.rewriting(model.net, model.layers, changes, place=place))
        logits = model.logits(runs.rows(len(cells) * n))
    for i in range(len(cells)):
        yield logits[i * n : (i + 1) * n], [i]
