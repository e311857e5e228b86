"""Where does a trace of one sentence point: in which layer, and at which token, should its fact be edited?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadSetting, UnknownName
from ..facts import Prompt
from ..models import Model
from ..models.batching import Progress
from ..tracers import CausalTracing, trace
from ..traces import Trace

BELOW = 2  # layers below the one that is pointed at, which an editor of several layers changes too


def with_below(layer: int) -> tuple[int, ...]:
    """The layers that an editor of several changes where this one is pointed at, itself the last.

    >>> with_below(5), with_below(1)
    ((3, 4, 5), (0, 1))
    """
    return tuple(range(max(0, layer - BELOW), layer + 1))


@dataclass(frozen=True, slots=True)
class Pointed:
    """The place of the largest effect of restoring one FFN: `token` as an editor takes it, `effect` as `trace` has it.

    `effect` is in probability, and the mean of the trace's samples.
    """

    layer: int
    token: str | int
    effect: float
    trace: Trace

    @property
    def layers(self) -> tuple[int, ...]:
        """For an editor of several layers: its own and those below it."""
        return with_below(self.layer)


def pointed(
    model: Model, prompt: Prompt, subject: str | None = None, *, layers: Sequence[int] | None = None,
    token: str | int | None = None, progress: Progress | None = None,
) -> Pointed:  # fmt: skip
    """Where is the largest effect of a causal trace (Meng et al. 2022) with one FFN restored?

    Looked for at the subject's last token and at the one that is asked, or at the one that was named ("subject",
    "subject_first", "asked" or a token's number); in all layers, or in those named. Raises BadSetting, UnknownName, and
    what `trace` raises.

    >>> import engram as eg
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> found = pointed(model, prompt, "Ireland")
    >>> found.layer, found.token
    (0, 'asked')
    """
    found = trace(model, prompt, subject=subject, by=CausalTracing(kind="ffn", window=1), progress=progress)
    places = {"subject": found.subject[1] - 1, "subject_first": found.subject[0], "asked": found.at}
    if isinstance(token, str) and token not in places:
        raise UnknownName("token to look up", token, places)
    if isinstance(token, int) and not 0 <= token < len(found.tokens):
        raise BadSetting(f"the prompt has the tokens 0 to {len(found.tokens) - 1}, and not {token}")
    named: list[str | int] = ["subject", "asked"] if token is None else [token]
    searched = range(found.effect.shape[1]) if layers is None else layers
    if beyond := [i for i in searched if not 0 <= i < found.effect.shape[1]]:
        raise BadSetting(f"{model.name} has layers 0 to {found.effect.shape[1] - 1}, and not {beyond[0]}")

    def effect(at: str | int, layer: int) -> float:
        return float(found.effect[places[at] if isinstance(at, str) else at, layer])

    best, layer = max(((t, i) for t in named for i in searched), key=lambda x: effect(*x))
    return Pointed(layer, best, effect(best, layer), found)
