"""What should an FFN write at a subject, so that the model says another answer? Found by gradient descent.

Meng et al. (2022), section 3.1 and appendix E.5, step for step as their code has it; and the same search over what
leaves a block (Meng et al. 2023, section 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import BadSetting, NotFinite
from ..models import Model, hooks
from .lookup import Lookup, adding, groups


@dataclass(frozen=True, slots=True)
class Search:
    """Adam from no change on, `steps` times forwards and one time less back, stopped at a loss below `enough`.

    loss = mean −ln P(new answer) over openings and tokens + `kl` · KL(now ‖ before) of what is said at the subject of
    "… is a" + `decay` · ‖δ‖ / ‖v‖², and after each step ‖δ‖ is at most `clamp` · ‖v‖, with v what the FFN writes (of
    MEMIT and AlphaEdit, what leaves the block).

    Raises BadSetting. Meng et al. (2022), section 3.1, equation 4.

    >>> Search(steps=5).clamp
    4.0
    """

    steps: int = 20
    rate: float = 0.5
    decay: float = 0.5
    kl: float = 0.0625
    clamp: float = 4.0
    enough: float = 0.05

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadSetting(f"a search takes at least 1 step, not {self.steps}")
        if not (self.rate > 0 and self.clamp > 0 and self.decay >= 0 and self.kl >= 0):
            raise BadSetting(f"rate and clamp are above 0, decay and kl from 0 up, not {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What the FFN writes, or leaves the block, as it is, and the change of it that was found, [hidden] each, float64.

    `losses` [step] are the three parts of each forward pass: −ln P(new answer), divergence, decay.
    """

    written: Tensor
    change: Tensor
    losses: tuple[tuple[float, float, float], ...]


class Loss:
    """The loss of a change of what the FFN writes at the lookups, or of what leaves the block there."""

    def __init__(
        self, model: Model, layer: int, found: Sequence[Lookup], essence: Lookup, search: Search, place: hooks.Place
    ) -> None:
        self.model, self.layer, self.search, self.place = model, layer, search, place
        self.batches, (self.essence,) = groups(model, found), groups(model, [essence])
        self.weights = [torch.tensor([found[i].weight for i in g.numbers], device=model.device) for g in self.batches]
        none = torch.zeros(1, dtype=model.precise, device=model.device)
        home = next(g for g in self.batches if 0 in g.numbers)
        with torch.no_grad():
            with adding(model, layer, home, none, place) as seen:
                model.finite(model.logits(home.batch))
            self.v = seen[0][home.numbers.index(0)].to(model.precise)
            self.before = model.finite(model.logits(self.essence.batch)).log_softmax(-1)

    def parts(self, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """−ln P(new answer), the divergence of what is said of the subject, and the decay."""
        nll = torch.zeros((), dtype=self.model.precise, device=self.model.device)
        for group, weight in zip(self.batches, self.weights, strict=True):
            with adding(self.model, self.layer, group, delta, self.place):
                said = self.model.logits(group.batch).log_softmax(-1)
            nll = nll - (weight.to(said) * said.gather(1, group.batch.target[:, None])[:, 0]).sum()
        with adding(self.model, self.layer, self.essence, delta, self.place):
            now = self.model.logits(self.essence.batch).log_softmax(-1)
        kl = self.search.kl * (now.exp() * (now - self.before)).sum()
        return nll, kl, self.search.decay * delta.norm() / self.v.norm() ** 2

    def check(self, nll: Tensor, delta: Tensor) -> None:
        """Raises BadSetting where nothing that is written there changes the answer."""
        (slope,) = torch.autograd.grad(nll, delta, retain_graph=True)
        if not slope.any():
            raise BadSetting(
                f"nothing that layer {self.layer} writes at the looked-up token reaches the answer in "
                f"{self.model.name} (the gradient is 0): behind its last attention only the asked position matters. "
                "Take a lower layer, or token='asked'."
            )


def wanted(
    model: Model, layer: int, found: Sequence[Lookup], essence: Lookup, search: Search, place: hooks.Place = "ffn"
) -> Wanted:
    """The change of what the FFN writes at the subject, by which the model says the new answer. Changes nothing.

    With `place="block"`, of what leaves the block. The loss is read from the model's own logits. `found` are the
    lookups of the sentence, its own first; `essence` asks what is said of the subject itself. Raises BadSetting where
    nothing written there can reach the answer, NotFinite.
    """
    losses: list[tuple[float, float, float]] = []
    with hooks.quiet(model.net), torch.enable_grad():
        loss = Loss(model, layer, found, essence, search, place)
        delta = torch.zeros_like(loss.v, requires_grad=True)
        adam = torch.optim.Adam([delta], lr=search.rate)
        for step in range(search.steps):
            parts = loss.parts(delta)
            whole = torch.stack(parts).sum()
            losses.append((float(parts[0].detach()), float(parts[1].detach()), float(parts[2].detach())))
            if not bool(torch.isfinite(whole)):
                raise NotFinite(f"{model.name}: the loss of the search is {float(whole.detach())} after {step} steps")
            if float(whole.detach()) < search.enough or step == search.steps - 1:
                break
            if step == 0:
                loss.check(parts[0], delta)
            (delta.grad,) = torch.autograd.grad(whole, delta)
            adam.step()
            with torch.no_grad():
                most = search.clamp * loss.v.norm()
                if delta.norm() > most:
                    delta.mul_(most / delta.norm())
    return Wanted(loss.v.double().cpu(), delta.detach().double().cpu(), tuple(losses))
