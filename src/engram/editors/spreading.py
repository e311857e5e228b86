"""Many facts by one edit: what is to leave a block at each of them is spread over several layers.

What MEMIT (Meng et al. 2023, section 4) and AlphaEdit (Fang et al. 2024) share; they differ in how a layer's change is
solved for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..edits import Edit, LowRank, Wish
from ..errors import BadSetting
from ..facts import Prompt
from ..models import Model, ask, holding
from ..models.editing import low_rank, planned, slots_of
from ..results import Floats
from .base import Together, undone
from .contexts import Contexts, openings
from .covariance import source, usable
from .lookup import Token, known, looked_up, whole
from .wanted import Search, Wanted, wanted
from .wished import Wished, wished

LENGTHS = ((10, 5),)  # tokens, and how many openings of that length, as MEMIT's code has them


def gently() -> Search:
    """ROME's search, held closer to what is there, as MEMIT's settings for GPT-2 XL have it."""
    return Search(clamp=0.75)


@dataclass(frozen=True, slots=True)
class Spreading(Together):
    """An editor of many facts and several layers. A subclass says in `directions` what a layer's change goes along.

    For each fact z = h + δ is what is to leave the block of the last layer, at the token looked up; δ is found by
    `search`, read from the model's own logits. Then layer after layer, with the changes below it in force, gets an even
    share of what is missing: its slots become W + Dᵀ·R, R = (z − h now) / layers left [fact, hidden], and D [fact,
    neuron] from the keys of all facts. A key is the mean of the sentence's own and the mean behind the `contexts`.
    """

    layers: tuple[int, ...]
    covariances: Mapping[int, Any] | None = field(repr=False, hash=False, compare=False)
    contexts: Contexts = LENGTHS
    search: Search = field(default_factory=gently)
    token: Token = "subject"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise BadSetting(f"layers are one or more, from 0 up, in order and each once, not {self.layers}")
        if self.covariances is not None and (lacking := [x for x in self.layers if x not in self.covariances]):
            raise BadSetting(f"covariances are None or {{layer: second moments}} of all layers; missing are {lacking}")
        if self.seed < 0:
            raise BadSetting(f"seed is not negative: {self.seed}")
        known(self.token)

    @abstractmethod
    def directions(self, model: Model, layer: int, keys: Tensor) -> Tensor:
        """D: along which keys the facts' shares are written in this layer. [fact, neuron] -> the same, float64."""

    @abstractmethod
    def own_settings(self, model: Model) -> dict[str, Any]:
        """The settings that are the subclass's own, and what was found of them, in plain values."""

    def plan(self, model: Model, wish: Wish, prompt: Prompt | tuple[Prompt, ...] | None = None) -> Edit:
        facts, texts = self._facts(model, wish, prompt)
        last, search = self.layers[-1], self.search
        ends = [whole(model, f.subject, self.token, last) for f in facts]
        goals = [wanted(model, last, f.found, end, search, "block") for f, end in zip(facts, ends, strict=True)]
        z = torch.stack([g.written + g.change for g in goals])
        with ExitStack() as stack:  # the layers below are in force when a layer is planned
            patches: list[LowRank] = []
            for left, layer in zip(range(len(self.layers), 0, -1), self.layers, strict=True):
                keys, states = self._seen(model, facts, layer)
                patches.append(low_rank(model, layer, self.directions(model, layer, keys), (z - states) / left))
                stack.enter_context(holding(planned(self.name, wish, patches[-1:], model), model))
        settings = {**self._settings(texts), **self.own_settings(model)}
        settings |= {} if model.blank_last else {"experimental": f"{self.name} was published for causal models"}
        edit = planned(self.name, wish, patches, model, settings)
        return replace(edit, settings={**edit.settings, **self._audit(model, edit, facts, z, goals)})

    def keys_of(self, model: Model, wish: Wish, prompt: Prompt | tuple[Prompt, ...] | None = None) -> dict[int, Floats]:
        """The keys of these facts in each layer as the model is now, [fact, neuron] float64.

        Of many facts that are to stay, keysᵀ · keys / facts is a covariance by which those are disturbed least.
        """
        facts, _ = self._facts(model, wish, prompt)
        return {layer: self._seen(model, facts, layer)[0].numpy() for layer in self.layers}

    def _facts(
        self, model: Model, wish: Wish, prompt: Prompt | tuple[Prompt, ...] | None
    ) -> tuple[list[Wished], tuple[str, ...]]:
        """What is wished for, and the openings. Raises BadSetting where these layers cannot be changed together."""
        for layer in self.layers:
            slots_of(model, layer)  # is there such a layer, and can it be edited?
        chosen = [model.layers[i] for i in self.layers]
        if len({x.side for x in chosen}) > 1:
            raise BadSetting(
                f"layers {self.layers} of {model.name} are of the encoder and the decoder: take one of them"
            )
        if len({id(x.down) for x in chosen}) < len(chosen):
            raise BadSetting(f"several of layers {self.layers} of {model.name} share one weight: name one of them")
        texts = openings(model, self.contexts, self.seed)
        return wished(self, model, wish, prompt, texts, self.token, self.layers[-1]), texts

    def _seen(self, model: Model, facts: Sequence[Wished], layer: int) -> tuple[Tensor, Tensor]:
        """The facts' keys in this layer, [fact, neuron], and what leaves the last block at them, [fact, hidden]."""
        keys, states = looked_up(
            model, [x for f in facts for x in f.first], ((layer, "neurons"), (self.layers[-1], "block"))
        )
        parts, begin = [], 0
        for f in facts:
            parts.append(slice(begin, begin := begin + len(f.first)))
        means = [(keys[i][0] + keys[i][1:].mean(0)) / 2 if len(keys[i]) > 1 else keys[i][0] for i in parts]
        return torch.stack(means), torch.stack([states[i.start] for i in parts])

    def _settings(self, texts: Sequence[str]) -> dict[str, Any]:
        given = self.covariances
        made = source(None) if given is None else {str(x): source(given[x]) for x in self.layers}
        return {
            "layers": list(self.layers), "token": self.token, "search": asdict(self.search), "seed": self.seed,
            "covariances": made, "contexts": list(texts),
        }  # fmt: skip

    def _audit(
        self, model: Model, edit: Edit, facts: Sequence[Wished], z: Tensor, goals: Sequence[Wanted]
    ) -> dict[str, Any]:
        """What became of it: how far is each fact from its z, its answer's probability, how far did a layer move?"""
        asked = [f.asked for f in facts]
        before = ask(model, asked)
        moved = [_moved(model, p) for p in edit.patches if isinstance(p, LowRank)]
        with holding(edit, model):
            after, (_, states) = ask(model, asked), self._seen(model, facts, self.layers[-1])
        residuals = (z - states).norm(dim=1) / z.norm(dim=1)
        requests = [
            {
                "z": float(goal.norm()), "residual": float(residual), "loss": list(found.losses[-1]),
                "steps": len(found.losses), "probability": {"before": b.probability, "after": a.probability},
            }
            for goal, residual, found, b, a in zip(z, residuals, goals, before, after, strict=True)
        ]  # fmt: skip
        return {
            "facts": len(facts),
            "requests": requests,
            "sizes": dict(zip(map(str, self.layers), moved, strict=True)),
            "undone": undone(model, edit),
        }


def moments(editor: Spreading, model: Model, layer: int) -> Any:
    """The layer's second moments, None for the identity. Raises BadSetting."""
    return usable(model, layer, None if editor.covariances is None else editor.covariances[layer])


def solved(gram: Tensor, x: Tensor, otherwise: str) -> Tensor:
    """gram⁻¹ x, for a symmetric gram [n, n] and x [n, m] in float64. Raises BadSetting where it cannot be inverted."""
    root, failed = torch.linalg.cholesky_ex(gram)
    size = root.diagonal()
    if int(failed) or not float(size.min() / size.max()) ** 2 > len(gram) * torch.finfo(torch.float64).eps:
        raise BadSetting(otherwise)
    found: Tensor = torch.cholesky_solve(x, root)
    return found


def _moved(model: Model, patch: LowRank) -> float:
    """‖keysᵀ·values‖ as part of the layer's weights."""
    keys, values = (torch.tensor(x).double() for x in (patch.keys, patch.values))
    size = ((keys @ keys.T) * (values @ values.T)).sum().clamp(min=0).sqrt()
    return float(size / slots_of(model, patch.layer).double().norm())
