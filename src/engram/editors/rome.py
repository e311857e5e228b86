"""Meng et al. (2022), section 3.1: one FFN is an associative memory, and a fact is one key with another value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..edits import Edit, Wish
from ..errors import BadSetting, UnknownName
from ..facts import Prompt
from ..models import Model, ask, holding
from ..models.editing import low_rank, planned, slots_of
from .base import Editor, editors, question, undone
from .contexts import Contexts, openings
from .covariance import source, usable
from .lookup import Lookup, Token, keys_and_values, known, lookups, whole
from .wanted import Search, Wanted, wanted

PRESETS = ("r-rome", "rome", "p-rome")
LENGTHS = ((5, 10), (10, 10))  # tokens, and how many openings of that length, as ROME's code has them


@editors("rome")
@dataclass(frozen=True, slots=True)
class ROME(Editor):
    """Rewrite a fact by one rank: the key of its subject in `layer` gets a value that says the new answer.

    The value v* is found by `search` over the sentence behind `contexts` openings: (tokens, how many) pairs that the
    model writes by itself, drawn by `seed`, or texts, or () for the sentence alone. Then W ← W + u rᵀ with u = C⁻¹k and
    r = (v* − v) / (k · u), so that k is mapped to v* exactly. `covariance` is C, the layer's second `Moments` or a
    matrix [neuron, neuron], and has to be chosen: None is the identity, which disturbs other keys more. `ridge` is
    added to its diagonal, as part of its mean.

    `token` is where the key is looked up: the last token of the subject ("subject", as published) or its first
    ("subject_first"), the position at which the answer is told ("asked"), or the token with this number in the prompt.
    In a small model the last token fetches an answer in the first layer, and a change at the subject behind it comes
    too late: there take "asked". The keys of all facts are much alike there, so others change with it, unless the
    covariance is that of such keys.

    Presets: "r-rome" (the default; Gupta et al. 2024): k and v are means over all openings. "rome": as first published,
    u from the mean key, k and v of the sentence alone; where the two keys differ much the edit explodes. "p-rome": the
    sentence alone throughout. A masked model can be edited too, which nobody has published: `Edit.settings` says so.

    Raises BadSetting, UnknownName, NoSubject, UnaskablePrompt, NotFinite.

    >>> ROME(layer=1, covariance=None, preset="rome").search.steps
    20
    """

    name: ClassVar[str] = "rome"
    layer: int
    covariance: Any = field(repr=False, hash=False, compare=False)
    preset: str = "r-rome"
    contexts: Contexts = LENGTHS
    search: Search = field(default_factory=Search)
    ridge: float = 1e-3
    seed: int = 0
    token: Token = "subject"

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UnknownName("preset of ROME", str(self.preset), PRESETS)
        if self.layer < 0 or self.seed < 0 or not self.ridge >= 0:
            raise BadSetting(f"layer, seed and ridge are not negative: {self.layer}, {self.seed}, {self.ridge}")
        known(self.token)

    def plan(self, model: Model, wish: Wish, prompt: Prompt | None = None) -> Edit:
        new, where = question(self, wish, prompt)
        asked, subject = where.asking_for(str(new.answer)), new.fact.subject
        slots_of(model, self.layer)  # is there such a layer, and can it be edited?
        texts = openings(model, self.contexts, self.seed)
        found = lookups(model, asked, subject, texts, self.token, self.layer)
        value = wanted(model, self.layer, found, whole(model, subject, self.token, self.layer), self.search)
        k_mean, k, v = self._keys(model, found)
        u = self._direction(model, k_mean)
        reach = float(k @ u)
        if not np.isfinite(reach) or reach == 0:
            raise BadSetting(
                f"the key of {subject!r} in layer {self.layer} has no part in the direction it is changed in"
            )
        target = value.written + value.change
        change = low_rank(model, self.layer, u[None], ((target - v) / reach)[None])
        settings = self._settings(model, texts)
        edit = planned(self.name, wish, (change,), model, settings)
        return replace(edit, settings={**edit.settings, **_audit(model, edit, asked, k, target, value)})

    def _keys(self, model: Model, found: Sequence[Lookup]) -> tuple[Tensor, Tensor, Tensor]:
        """The key that gives the direction, and the key and value that are rewritten."""
        keys, values = keys_and_values(model, self.layer, [x for x in found if x.nth == 0])  # no answer in sight yet
        own, mean = (keys[0], values[0]), (keys.mean(0), values.mean(0))
        if self.preset == "rome":
            return mean[0], *own
        return (own[0], *own) if self.preset == "p-rome" else (mean[0], *mean)

    def _direction(self, model: Model, key: Tensor) -> Tensor:
        """C⁻¹k, of length 1."""
        c = usable(model, self.layer, self.covariance)
        if c is None:
            plain: Tensor = key / key.norm()
            return plain
        u = c.solve(key, ridge=self.ridge)
        unit: Tensor = u / u.norm()
        return unit

    def _settings(self, model: Model, texts: tuple[str, ...]) -> dict[str, Any]:
        more = {} if model.blank_last else {"experimental": "ROME was published for causal models"}
        return {
            "layer": self.layer, "token": self.token, "preset": self.preset, "search": asdict(self.search),
            "ridge": self.ridge, "seed": self.seed, "covariance": source(self.covariance), "contexts": list(texts),
            **more,
        }  # fmt: skip


def _audit(model: Model, edit: Edit, asked: Prompt, key: Tensor, target: Tensor, value: Wanted) -> Mapping[str, Any]:
    """What became of it: does the weight map the key to the value, how far did it move, and the answer with it?"""
    layer = edit.layers[0]
    slots, down = slots_of(model, layer), model.layers[layer].down
    before, norm = ask(model, asked)[0].probability, float(slots.double().norm())
    with holding(edit, model), torch.no_grad():
        mapped = down.forward(key.to(slots)[None])[0].double().cpu()
        after = ask(model, asked)[0].probability
    (patch,) = edit.patches
    size = np.linalg.norm(patch.keys) * np.linalg.norm(patch.values)  # type: ignore[union-attr]
    return {
        "residual": float((mapped - target).norm() / target.norm()), "size": float(size / norm),
        "probability": {"before": before, "after": after}, "losses": [list(x) for x in value.losses],
        "undone": undone(model, edit),
    }  # fmt: skip
