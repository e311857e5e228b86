"""How right is each variant, where random weights of a usual size would be easy on every rule?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from .. import data
from ..errors import BadSetting
from ..facts import Prompt
from ..locators import IntegratedGradients, locate
from ..models import Model, ask, load, value_slots
from ..results import Answer, Floats
from .accuracy import Accuracy, Apart
from .contenders import PRECISE
from .results import versions
from .shapes import SHAPES, network, questions
from .variants import VARIANTS, Variant

Scored = Callable[[IntegratedGradients, str], list[Floats]]
SUMS = {  # the other published ones, beside which the variants are shown
    "the paper's sum": IntegratedGradients(preset="paper"),
    "its code's sum": IntegratedGradients(preset="hunter"),
}


@dataclass(frozen=True, slots=True)
class AccuracyBench:
    """The accuracy of published sums and variants on some prompts; by name, with what each does.

    `activation` is the model's, `probability` the mean over the prompts of that of the answer. `doubt` is how far the
    reference integral, of `points` Gauss points, is from the one of half as many.
    """

    model: str
    activation: str
    stress: float
    prompts: int
    probability: float
    points: int
    doubt: Apart
    sides: tuple[tuple[str, str, Accuracy], ...]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        sides = [{"name": name, "what": what, "accuracy": asdict(a)} for name, what, a in self.sides]
        return {**asdict(self), "sides": sides}


def bench_accuracy(
    model: str = "engram:masked",
    *,
    prompts: int = 12,
    variants: Iterable[str] | None = None,
    stress: float = 1.0,
    points: int = 256,
    device: str = "cpu",
) -> AccuracyBench:
    """Each variant against the replication's sum and the integral.

    `model` is a shape, asked random prompts, or what `load` takes, asked facts of the shipped set that it knows.
    `stress` multiplies all value slots: the larger an FFN's part in its block, the harder the integral. Raises
    BadSetting where the model knows too few facts, UnknownName, and what `load` raises.
    """
    models = {PRECISE: _model(model, PRECISE, stress, device)}
    answers = _asked(models[PRECISE], model, prompts)
    asked = [a.prompt for a in answers]

    def scored(by: IntegratedGradients, dtype: str = PRECISE) -> list[Floats]:
        if dtype not in models:
            models[dtype] = _model(model, dtype, stress, device)
        return [a.dense() for a in locate(models[dtype], asked, by=by)]

    def side(variant: Variant) -> tuple[str, Accuracy]:
        dtype = variant.dtype or PRECISE
        precise = None if dtype == PRECISE else scored(variant.by)
        return variant.described(), Accuracy.of(scored(variant.by, dtype), published, integral, precise)

    published = scored(IntegratedGradients(preset="eleuther"))
    half, integral = (scored(IntegratedGradients(rule="gauss", steps=n)) for n in (points // 2, points))
    names = VARIANTS if variants is None else variants
    chosen = {**{name: Variant(by) for name, by in SUMS.items()}, **{name: VARIANTS[name] for name in names}}
    return AccuracyBench(
        model, _activation(models[PRECISE]), stress, prompts, sum(a.probability for a in answers) / prompts, points,
        Apart.of(half, integral), tuple((name, *side(v)) for name, v in chosen.items()), versions(),
    )  # fmt: skip


def _model(name: str, dtype: str, stress: float, device: str) -> Model:
    shaped = name.partition("@")[0] in SHAPES
    model = network(name, dtype=dtype, device=device) if shaped else load(name, dtype=dtype, device=device)
    with torch.no_grad():
        for layer in model.layers:
            value_slots(layer.down).mul_(stress)
    return model


def _activation(model: Model) -> str:
    config = model.config.to_dict()
    return str(next((config[k] for k in ("hidden_act", "activation_function") if k in config), "unknown"))


def _asked(model: Model, name: str, prompts: int) -> list[Answer]:
    """Random prompts for a shape; else so many that the model answers rightly, one of each relation in turn."""
    if name.partition("@")[0] in SHAPES:
        return ask(model, questions(model, prompts, 14))
    facts = data.shipped()
    members = [facts.facts(r.id) for r in facts.relations]
    found: list[Answer] = []
    for turn in range(max(map(len, members))):
        own = [facts.prompts(f[turn], blank_last=model.blank_last, limit=1) for f in members if len(f) > turn]
        found += [a for a in ask(model, _flat(own)) if a.knows]
        if len(found) >= prompts:
            return found[:prompts]
    raise BadSetting(f"{name} knows fewer than {prompts} facts of the shipped data set")


def _flat(each: Iterable[Iterable[Prompt]]) -> list[Prompt]:
    return [prompt for own in each for prompt in own]
