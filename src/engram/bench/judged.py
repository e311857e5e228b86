"""How much faster are edits judged here than by the loops one writes without it, and does it say the same?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..cases import Case
from ..edits import Edit
from ..errors import BadSetting
from ..facts import Fact, Prompt
from ..models import Model
from ..models.editing import low_rank, planned
from ..models.model import GIB
from ..models.scoring import score
from ..results import Floats
from .cost import Counted, counted, timed
from .judging import PEERS, Judged, Peer, questions
from .measure import Progress, chosen, counter, in_turn
from .results import Passed, machine, plain, ratios, spread, versions
from .shapes import SPECIAL, network

ENGINE, KEPT = "engram", "engram, before kept"
PARAPHRASES, NEIGHBOURS = 2, 10  # sentences of a CounterFact record beside the one that is edited
AROUND = 4  # sentences are by so many tokens shorter or longer than was asked for
LARGE = 10  # the Frobenius norm of an edit in that of the weight, whose rows are next to nothing at random


@dataclass(frozen=True, slots=True)
class JudgingSide(Passed):
    """One way of judging all edits.

    Seconds and operations are of one edit; calls, rows and positions those of all edits. `difference` is the largest of
    any answer's mean −ln P, before or after, from those of the first side, in nats.
    """

    difference: float


@dataclass(frozen=True, slots=True)
class JudgingBench:
    """All sides in turn, in one process, on the same random network, edits and cases.

    Each of the `edits` has one rank, changes `layer` and is judged by a case of its own: `questions` of about `tokens`
    tokens each, half of them with the true and half with the new answer. `moved` is by how many nats an edit moves an
    answer, in the mean.
    """

    shape: str
    layers: int
    layer: int
    edits: int
    questions: int
    tokens: int
    runs: int
    device: str
    budget: int
    moved: float
    sides: tuple[JudgingSide, ...]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def peers(self) -> tuple[str, ...]:
        """What the engine is compared with."""
        return tuple(s.name for s in self.sides if not s.engine)

    @property
    def engines(self) -> tuple[str, ...]:
        """The engine with all to do, and with what was said before kept from an earlier time."""
        return tuple(s.name for s in self.sides if s.engine)

    def ratios(self, peer: str, engine: str = ENGINE) -> list[float]:
        """How many times as fast as this peer is the engine, in each run?"""
        own = {s.name: s for s in self.sides}
        return ratios(own[peer], own[engine])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; beside them how many times as fast as each peer the engine is."""
        found = {p: {e: spread(self.ratios(p, e)) for e in self.engines} for p in self.peers}
        return {**asdict(self), "sides": plain(self.sides), "ratios": found}


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What all sides judge: edits, each with its case. `before` is what the network said before, once it is known."""

    model: Model
    cases: tuple[Case, ...]
    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, model: Model, edits: int, tokens: int, layer: int) -> Bench:
        """Edits of random direction, and cases of random words."""
        return cls(model, tuple(_cases(model, edits, tokens)), tuple(_edits(model, edits, layer)))

    def by_hand(self, loop: Peer) -> Judged:
        """By one of the loops."""
        return loop(self.model, self.cases, self.edits)

    def judged(self) -> Judged:
        """By the engine, before and after in one call."""
        asked = [p for case in self.cases for p in questions(case)]
        own = [1 + i for i, case in enumerate(self.cases) for _ in questions(case)]
        said = score(self.model, asked * 2, edits=(None, *self.edits), of=[0] * len(asked) + own)
        before, after = np.array([s.nll for s in said]).reshape(2, len(self.cases), -1)
        return Judged(before, after)

    def judged_again(self, before: Floats) -> Judged:
        """By the engine, with what was said before known from an earlier time: of other edits of the same cases."""
        asked = [p for case in self.cases for p in questions(case)]
        own = [i for i, case in enumerate(self.cases) for _ in questions(case)]
        said = score(self.model, asked, edits=self.edits, of=own)
        return Judged(before, np.array([s.nll for s in said]).reshape(len(self.cases), -1))


def bench_judging(
    shape: str = "gpt2",
    *,
    edits: int = 100,
    tokens: int = 9,
    layer: int | None = None,
    runs: int = 3,
    against: Iterable[str] = tuple(PEERS),
    device: str = "cpu",
    budget: int = GIB,
    progress: Progress | None = None,
) -> JudgingBench:
    """All sides in turn, `runs` times, on the same random network, edits and cases, in float32.

    An edit has rank one, as ROME's, in `layer`; None: at five twelfths of the layers, which is ROME's place in GPT-2.
    A case is like a record of CounterFact: the sentence that is edited, 2 paraphrases and 10 neighbours, each with the
    true and the new answer, before and after. Sentences have `tokens` tokens, up to 4 more or less, and answers have
    one: in GPT-2's tokens all answers of CounterFact's 21,919 records have one, and 90 % of their sentences have 5 to
    13 (in the median 8). Memory is measured and operations are counted once before, apart from the timing. Raises
    BadSetting, UnknownName.
    """
    if min(edits, runs) < 1 or tokens <= AROUND:
        raise BadSetting(f"a benchmark takes at least 1 edit and run, and {AROUND + 1} tokens")
    peers = chosen(against, "peer", PEERS)
    model = network(shape, device=device, budget=budget)
    at = len(model.layers) * 5 // 12 if layer is None else layer
    if not model.blank_last:
        raise BadSetting(f"the published way is of causal models, such as gpt2, not {shape}")
    asked = Bench.of(model, edits, tokens, at)
    first = asked.judged()  # the first passes of a process are not typical
    ways: dict[str, Callable[[], Judged]] = {name: functools.partial(asked.by_hand, PEERS[name]) for name in peers}
    ways |= {ENGINE: asked.judged, KEPT: functools.partial(asked.judged_again, first.before)}
    done = counter(progress, len(ways) * (runs + 1))
    costs = [done(counted(model, way)) for way in ways.values()]
    seconds = in_turn([*ways.values()], runs, lambda way: done(timed(way, model.device)[1]) / edits)
    sides = tuple(
        _side(name, each, one, costs[0].found, edits) for name, each, one in zip(ways, seconds, costs, strict=True)
    )
    moved = float(np.abs(first.after - first.before).mean())
    about = machine(model.device), versions()
    return JudgingBench(
        shape, len(model.layers), at, edits, first.before.shape[1], tokens, runs, device, budget, moved, sides, *about
    )  # fmt: skip


def _side(name: str, seconds: tuple[float, ...], one: Counted[Judged], first: Judged, edits: int) -> JudgingSide:
    passes = one.passes.calls, one.passes.rows, one.passes.positions
    return JudgingSide(
        name, name not in PEERS, seconds, one.memory, one.flops // edits, *passes, one.found.apart(first)
    )  # fmt: skip


def _cases(model: Model, cases: int, tokens: int) -> Iterable[Case]:
    """Always the same ones."""
    rng = np.random.default_rng(0)
    known = min(10_000, int(model.config.vocab_size) - len(SPECIAL))

    def words(n: int) -> str:
        return " ".join(f"w{i}" for i in rng.integers(0, known, n))

    for i in range(cases):
        true, new = words(1), words(1)
        lengths = rng.integers(tokens - AROUND, tokens + AROUND + 1, 1 + PARAPHRASES + NEIGHBOURS)
        first, *others = (Prompt(f"{words(n)} [Y]", true) for n in lengths)
        paraphrases, neighbours = tuple(others[:PARAPHRASES]), tuple(others[PARAPHRASES:])
        yield Case(str(i), Fact(words(1), "random", true), new, first, paraphrases, neighbours)


def _edits(model: Model, edits: int, layer: int) -> Iterable[Edit]:
    """Changes of rank one, so large that they move what a network of random weights says."""
    draw = torch.Generator().manual_seed(0)
    weight = next(x.down.weight for x in model.layers if x.index == layer) if 0 <= layer < len(model.layers) else None
    if not isinstance(weight, torch.Tensor):
        raise BadSetting(f"the network has layers 0 to {len(model.layers) - 1}, not {layer}")
    for i in range(edits):
        keys, values = (torch.randn(1, n, generator=draw) for n in (model.widths[layer], int(min(weight.shape))))
        values *= LARGE * float(weight.norm()) / float(keys.norm() * values.norm())
        wish = Fact(f"subject {i}", "random", "true").becoming("new")
        yield planned("random", wish, [low_rank(model, layer, keys, values)], model)
