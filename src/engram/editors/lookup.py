"""Where a subject is looked up, behind several openings: the rows of its sentence, and its last token in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..facts import Prompt
from ..models import Model, hooks
from ..models.batching import by_shape
from ..models.questions import Batch, Row
from ..models.spans import span_of


@dataclass(frozen=True, slots=True)
class Lookup:
    """One row that asks for the answer's `nth` token, the last token of the subject in it, and how much it counts."""

    row: Row
    at: int
    nth: int = 0
    weight: float = 1.0


def lookups(model: Model, prompt: Prompt, subject: str, openings: Sequence[str]) -> list[Lookup]:
    """The prompt's rows by itself and behind each opening: first the prompt's own, in the order of its answer's tokens.

    Each opening counts the same, and so does each token of the answer. Raises UnaskablePrompt.
    """
    found = []
    for opening in ("", *openings):
        text = f"{opening}. " if opening else ""
        longer = replace(prompt, text=text + prompt.text)
        rows = model.rows(longer)
        at = span_of(model, longer, subject, rows[0], behind=len(text)).end - 1
        found += [Lookup(row, at, i, 1 / ((1 + len(openings)) * len(rows))) for i, row in enumerate(rows)]
    return found


def whole(model: Model, subject: str, essence: str = "{} is a") -> Lookup:
    """The row that asks what the model says at the subject's last token itself, in "… is a"."""
    text = essence.format(subject) + " [Y]"
    (row, *_) = model.rows(Prompt(text, "man"))
    at = span_of(model, Prompt(text, "man"), subject, row).end - 1
    return Lookup(replace(row, at=at, target=row.ids[at]), at)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Lookups of one shape: the batch, the position of each, and their numbers."""

    batch: Batch
    at: Tensor
    numbers: tuple[int, ...]

    @property
    def here(self) -> tuple[Tensor, Tensor]:
        """To index [row, position]."""
        return torch.arange(len(self.at), device=self.at.device), self.at


def groups(model: Model, found: Sequence[Lookup]) -> list[Group]:
    """Batches without padding."""
    made = []
    for numbers in by_shape([x.row.shape for x in found]):
        at = torch.tensor([found[i].at for i in numbers], device=model.device)
        made.append(Group(Batch.of([found[i].row for i in numbers], model.device), at, tuple(numbers)))
    return made


@contextmanager
def adding(model: Model, layer: int, group: Group, delta: Tensor) -> Iterator[list[Tensor]]:
    """Within the block, the FFN of a layer writes `delta` more at the lookups; yields what it wrote there without."""
    seen: list[Tensor] = []

    def change(x: Tensor) -> Tensor:
        seen.append(x[group.here].detach().clone())
        return x.index_put(group.here, delta.to(x.dtype).expand(len(group.at), -1), accumulate=True)

    with hooks.rewriting(model.net, model.layers, {layer: change}, place="ffn"):
        yield seen


def keys_and_values(model: Model, layer: int, found: Sequence[Lookup]) -> tuple[Tensor, Tensor]:
    """What goes into the FFN's second map at each lookup, [lookup, neuron], and what comes out of it, [lookup, hidden].

    float64.
    """
    into: dict[int, tuple[Tensor, Tensor]] = {}
    with torch.no_grad(), hooks.quiet(model.net):
        for group in groups(model, found):
            seen: dict[str, Tensor] = {}

            def kept(name: str, group: Group = group, seen: dict[str, Tensor] = seen) -> hooks.Change:
                def change(x: Tensor) -> Tensor:
                    seen[name] = x[group.here].double().cpu()
                    return x

                return change

            with (
                hooks.rewriting(model.net, model.layers, {layer: kept("k")}),
                hooks.rewriting(model.net, model.layers, {layer: kept("v")}, place="ffn"),
            ):
                model.finite(model.logits(group.batch))
            into |= {n: (seen["k"][i], seen["v"][i]) for i, n in enumerate(group.numbers)}
    ordered = [into[i] for i in range(len(found))]
    return torch.stack([k for k, _ in ordered]), torch.stack([v for _, v in ordered])
