"""Fine-tuning one layer on the new answer: FT and FT+L, the baselines of Meng et al. (2022, appendix E.1), and FT-M."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..edits import Edit, LowRank, Wish
from ..errors import BadSetting, NotFinite
from ..facts import Prompt
from ..models import Model, ask, hooks
from ..models.batching import by_shape, in_batches, rows_within
from ..models.editing import changed, low_rank, planned, slots_of
from ..models.questions import Batch, Row
from ..presets import FROM_PRESET, fill
from .base import Together, editors, question

_PRESETS: Mapping[str, Mapping[str, Any]] = {"ft-m": {"norm": None}, "ft": {"norm": None}, "ft-l": {"norm": 5e-4}}
_SPARE = 1e-4  # of the bound: what a change loses at most by being kept in factors of float32


@editors("fine_tuning")
@dataclass(frozen=True, slots=True)
class FineTuning(Together):
    """Adam on the value slots of one layer, until the model says the new answer: what editors are compared with.

    At most `steps` steps of this `rate`, stopped where the loss, mean −ln P(token of the new answer), is below
    `enough`. The sentence is asked whole and without openings; several wishes are learnt together, each counting the
    same. The slots alone are changed; published code trains the map's bias too.

    Presets: "ft-m" (the default; EasyEdit's name) scores each token of the answer at its own place, given the gold
    tokens before it. "ft" scores all of them at the place of the first, as published: with an answer of several tokens
    the model learns none of its order. "ft-l" is "ft" with no number of the slots moved by more than `norm`: 5e-4 as
    published for GPT-2 XL; large 1e-3, medium 2e-3, GPT-J 5e-5. A `norm` that is given holds in any preset.

    The change is in general of full rank, so the patch has as many ranks as the change itself, at most the lesser of
    neurons and hidden (768 in GPT-2): kept as an adapter it is as large as the two factors are, 1.25 times the matrix
    there. In a narrow type (bfloat16) the search runs in float32, and is rounded once, when the edit is held.

    Raises BadSetting, UnknownName, UnaskablePrompt, NotFinite.

    >>> FineTuning(layer=1, preset="ft-l").norm
    0.0005
    """

    name: ClassVar[str] = "fine_tuning"
    layer: int
    preset: str = "ft-m"
    steps: int = 25
    rate: float = 5e-4
    enough: float = 1e-2
    norm: float | None = FROM_PRESET

    def __post_init__(self) -> None:
        fill(self, self.preset, _PRESETS)
        if self.layer < 0 or self.steps < 1:
            raise BadSetting(f"layer is from 0 up and steps from 1 up, not {self.layer} and {self.steps}")
        if not (0 < self.rate < math.inf and self.enough >= 0):
            raise BadSetting(f"rate is above 0 and enough from 0 up, not {self.rate} and {self.enough}")
        if self.norm is not None and not 0 < self.norm < math.inf:
            raise BadSetting(f"norm is how far a number of the slots may move, above 0, or None, not {self.norm}")

    def plan(self, model: Model, wish: Wish, prompt: Prompt | tuple[Prompt, ...] | None = None) -> Edit:
        asked = self._asked(wish, prompt)
        slots = slots_of(model, self.layer)  # is there such a layer, and can it be edited?
        delta, losses, taken = tuned(model, self, [x for one in asked for x in self._lessons(model, one, len(asked))])
        if self.norm is not None:
            delta = _within(slots, delta, self.norm)
        change = low_rank(model, self.layer, *_factored(delta))
        edit = planned(self.name, wish, (change,), model)
        settings = {
            **edit.settings,
            **asdict(self),
            "losses": losses,
            "taken": taken,
            **_audit(model, edit, slots, change, asked),
        }
        if not model.blank_last:
            settings["experimental"] = "fine-tuning as a baseline was published for causal models"
        return replace(edit, settings=settings)

    def _asked(self, wish: Wish, prompt: Prompt | tuple[Prompt, ...] | None) -> list[Prompt]:
        """Each fact's sentence, asking for the new answer."""
        wishes = wish if isinstance(wish, tuple) else (wish,)
        prompts = prompt if isinstance(prompt, tuple) else (prompt,) * (len(wishes) if prompt is None else 1)
        if not wishes or len(prompts) != len(wishes):
            raise BadSetting(f"{len(wishes)} facts are asked for in as many sentences, and {len(prompts)} were given")
        pairs = [question(self, *pair) for pair in zip(wishes, prompts, strict=True)]
        return [where.asking_for(str(new.answer)) for new, where in pairs]

    def _lessons(self, model: Model, prompt: Prompt, facts: int) -> list[Lesson]:
        rows = model.rows(prompt)
        if self.preset == "ft-m":
            return [Lesson(row, (row.target,), 1 / (facts * len(rows))) for row in rows]
        return [Lesson(rows[0], tuple(r.target for r in rows), 1 / facts)]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row, the tokens that are scored at its asked position (their mean), and how much it counts."""

    row: Row
    targets: tuple[int, ...]
    weight: float


def tuned(model: Model, by: FineTuning, lessons: Sequence[Lesson]) -> tuple[Tensor, list[float], int]:
    """The change of the slots that was learnt, [neuron, hidden], the loss of each forward pass, and the steps taken.

    In float32 or wider. Changes nothing in the model. Raises NotFinite, and BadSetting where no slot reaches an answer.
    """
    losses: list[float] = []
    with hooks.quiet(model.net), torch.enable_grad():
        slots = slots_of(model, by.layer)
        delta = torch.zeros(slots.shape, dtype=model.precise, device=slots.device, requires_grad=True)
        adam = torch.optim.Adam([delta], lr=by.rate)
        for step in range(by.steps):
            loss, delta.grad = _slope(model, by.layer, lessons, delta)
            losses.append(loss)
            if not (math.isfinite(loss) and bool(delta.grad.isfinite().all())):
                raise NotFinite(
                    f"{model.name}: the loss is {loss} after {step} steps of fine-tuning, or its gradient is no number"
                    + (f": take a rate below {by.rate}" if step else "")
                )
            if loss < by.enough:
                return delta.detach(), losses, step
            if not step and not delta.grad.any():
                raise BadSetting(f"no value slot of layer {by.layer} of {model.name} reaches the answer: take another")
            adam.step()
            if by.norm is not None:
                with torch.no_grad():
                    delta.clamp_(-by.norm, by.norm)
    return delta.detach(), losses, by.steps


def _slope(model: Model, layer: int, lessons: Sequence[Lesson], delta: Tensor) -> tuple[float, Tensor]:
    """The loss with this change of the slots, and its gradient."""
    slope, whole = torch.zeros_like(delta), 0.0

    def work(part: Sequence[Lesson]) -> list[float]:
        said = model.logits(Batch.of([x.row for x in part], model.device)).log_softmax(-1)
        parts = torch.stack([-x.weight * said[i, list(x.targets)].mean() for i, x in enumerate(part)])
        slope.add_(torch.autograd.grad(parts.sum(), delta)[0])
        found: list[float] = parts.detach().tolist()
        return found

    with _more(model, layer, delta):
        for numbers in by_shape([x.row.shape for x in lessons]):
            some = [lessons[i] for i in numbers]
            size = rows_within(model, sum(some[0].row.shape), gradient=True)
            whole += math.fsum(in_batches(model, some, size, work))
    return whole, slope


@contextmanager
def _more(model: Model, layer: int, delta: Tensor) -> Iterator[None]:
    """Within the block, the layer's FFN works as if `delta` were added to its slots, without a word in the weights.

    So do the layers that share them.
    """
    keys: dict[int, Tensor] = {}

    def keeping(index: int) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            keys[index] = x
            return x

        return change

    def adding(index: int) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            return x + (keys.pop(index).to(delta.dtype) @ delta).to(x.dtype)

        return change

    same = [x.index for x in model.layers if _weight(x) is _weight(model.layers[layer])]
    with (
        hooks.rewriting(model.net, model.layers, {i: keeping(i) for i in same}),
        hooks.rewriting(model.net, model.layers, {i: adding(i) for i in same}, place="ffn"),
    ):
        yield


def _weight(layer: hooks.Layer) -> Any:
    return getattr(layer.down, "base_layer", layer.down).weight  # a PEFT adapter wraps the map


def _within(slots: Tensor, delta: Tensor, norm: float) -> Tensor:
    """The change cut so that no number moves by more than `norm` when it is rounded to what the slots are kept in.

    Where one step of a narrow type is already more than that, a number does not move at all. float64.
    """
    half_a_step = torch.finfo(slots.dtype).eps / 2 * (slots.double().abs() + norm)
    most = (norm * (1 - _SPARE) - half_a_step).clamp(min=0)
    return torch.minimum(torch.maximum(delta.double(), -most), most)


def _factored(delta: Tensor) -> tuple[Tensor, Tensor]:
    """The change as keys [rank, neuron] and values [rank, hidden], by its singular values that are not 0."""
    left, sizes, right = torch.linalg.svd(delta.to("cpu", torch.float64), full_matrices=False)
    zero = float(sizes[0]) * max(delta.shape) * torch.finfo(torch.float64).eps
    rank = max(1, int((sizes > zero).sum()))
    root = sizes[:rank].sqrt()
    return (left[:, :rank] * root).T, root[:, None] * right[:rank]


def _audit(model: Model, edit: Edit, slots: Tensor, change: LowRank, asked: list[Prompt]) -> Mapping[str, Any]:
    """What became of it: how far did the slots move, at most and together, and the answers with them?"""
    moved = changed(slots, change).double() - slots.double()
    before, after = ([x.probability for x in ask(model, asked, under=under)] for under in (None, edit))
    one = len(asked) == 1
    return {
        "rank": change.rank, "size": float(moved.norm() / slots.double().norm()), "furthest": float(moved.abs().max()),
        "probability": {"before": before[0] if one else before, "after": after[0] if one else after},
    }  # fmt: skip
