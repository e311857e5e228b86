"""How much faster is causal tracing here than the loops one writes without it, and does it say the same?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadSetting
from ..facts import Prompt
from ..models import Model
from ..models.model import GIB
from ..models.questions import Batch
from ..tracers import CausalTracing, trace
from ..traces import KINDS, Kind
from .cost import Counted, counted, timed
from .measure import Progress, chosen, counter, in_turn
from .results import Passed, machine, plain, spread, versions
from .shapes import SPECIAL, network, questions
from .tracing import PEERS, Peer, Restored, Span

ENGINE = "engram"


@dataclass(frozen=True, slots=True)
class TracingSide(Passed):
    """One way of tracing one kind of site, on one prompt.

    `difference` is the largest of any cell's probability, the clean and the corrupted one, from those of the first side
    of its kind; `of_total` the same as part of that side's total effect.
    """

    kind: Kind
    clean: float
    corrupted: float
    difference: float
    of_total: float


@dataclass(frozen=True, slots=True)
class TracingBench:
    """All sides of all kinds in turn, in one process, on the same random network, prompt and noise.

    `subject` says which tokens were corrupted, from the first to behind the last; `noise` is its standard deviation in
    those of the word embeddings; `window` the layers restored together where the kind is not block.
    """

    shape: str
    layers: int
    tokens: int
    subject: Span
    samples: int
    window: int
    noise: float
    runs: int
    device: str
    budget: int
    sides: tuple[TracingSide, ...]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """In the order in which they were asked for."""
        return tuple(dict.fromkeys(s.kind for s in self.sides))

    @property
    def peers(self) -> tuple[str, ...]:
        """What the engine is compared with."""
        return tuple(dict.fromkeys(s.name for s in self.sides if not s.engine))

    def ratios(self, peer: str, kind: Kind | None = None) -> list[float]:
        """How many times as fast as this peer is the engine, in each run? None: all kinds together."""
        theirs, ours = self._seconds(peer, kind), self._seconds(ENGINE, kind)
        return [t / o for t, o in zip(theirs, ours, strict=True)]

    def _seconds(self, name: str, kind: Kind | None) -> list[float]:
        own = [s.seconds for s in self.sides if s.name == name and kind in (s.kind, None)]
        return [sum(run) for run in zip(*own, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; beside them how many times as fast as each peer the engine is."""
        found = {
            peer: {kind or "all": spread(self.ratios(peer, kind)) for kind in (*self.kinds, None)}
            for peer in self.peers
        }  # fmt: skip
        return {**asdict(self), "sides": plain(self.sides), "ratios": found}


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What all sides are asked. `noise` [sample, subject token, width]; `sd` its standard deviation."""

    model: Model
    prompt: Prompt
    subject: Span
    words: str
    noise: Tensor
    sd: float
    window: int

    @classmethod
    def of(
        cls, model: Model, tokens: int, subject: Span | None, *, samples: int, noise: float, window: int
    ) -> Question:
        """A prompt of random words, its answer the word that the network says first. Raises BadSetting."""
        (prompt,) = questions(model, 1, tokens)
        (row,) = model.rows(prompt)
        written = model.tokenizer.convert_ids_to_tokens(list(row.ids))
        ordinary = [not w.startswith("[") for w in written]
        start = ordinary.index(True)
        usual = start, min(start + tokens // 2, [*ordinary, False].index(False, start))
        first, end = subject or usual
        if not (0 <= first < end <= tokens and all(ordinary[first:end])):
            raise BadSetting(
                f"the subject is words of the {tokens} tokens, such as {usual[0]}:{usual[1]}, not {first}:{end}"
            )
        table = model.net.get_input_embeddings().weight  # type: ignore[operator]
        sd = noise * float(table.double().std())
        drawn = np.random.RandomState(1).randn(samples, end - first, table.shape[1]) * sd
        said = _first_word(model, Batch.of([row], model.device))
        return cls(
            model, replace(prompt, answer=said), (first, end), " ".join(written[first:end]),
            torch.as_tensor(drawn, dtype=table.dtype, device=model.device), sd, window,
        )  # fmt: skip

    def around(self, kind: Kind) -> int:
        """How many layers are restored together."""
        return 1 if kind == "block" else self.window

    def by_hand(self, loop: Peer, kind: Kind) -> Restored:
        """By one of the loops."""
        return loop(self.model, self.prompt, self.subject, self.noise, kind=kind, window=self.around(kind))

    def traced(self, kind: Kind) -> Restored:
        """By the engine. Raises BadSetting where it found the subject elsewhere."""
        by = CausalTracing(
            kind=kind, window=self.around(kind), samples=len(self.noise), noise=self.sd, rng="rome"
        )  # fmt: skip
        found = trace(self.model, self.prompt, subject=self.words, by=by)
        if found.subject != self.subject:
            raise BadSetting(f"{self.words!r} stands twice in {self.prompt.text!r}; name another subject")
        return Restored(found.clean, found.corrupted, found.restored)


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    name: str
    kind: Kind
    run: Callable[[], Restored]


def bench_tracing(
    shape: str = "gpt2",
    *,
    tokens: int = 12,
    subject: Span | None = None,
    kinds: Iterable[Kind] = KINDS,
    samples: int = 10,
    window: int = 10,
    noise: float = 3.0,
    runs: int = 3,
    against: Iterable[str] = tuple(PEERS),
    device: str = "cpu",
    budget: int = GIB,
    progress: Progress | None = None,
) -> TracingBench:
    """All sides of all kinds in turn, `runs` times, on the same random network, prompt and draw of noise, in float32.

    `subject` are the numbers of the tokens to corrupt, from the first to behind the last; None: the first half. Of the
    1,209 prompts of known_1000 in GPT-2's tokens, 83 % begin with their subject; in the median they have 9 tokens, of
    which 4 are the subject's, and it ends after half of them. The 73 prompts of 12 tokens have, in the median, none
    before it, 6 of it and 6 after it. Cells before the subject cost the engine nothing: a later place would flatter it.
    The answer is the word that the network says first, as in the published code; at GPT-2's shape noise takes 18 % off
    its probability.
    Memory is measured and operations are counted once before, apart from the timing. Raises BadSetting, UnknownName.
    """
    _check(tokens, samples, window, runs, noise)
    every, peers = chosen(kinds, "kind", KINDS), chosen(against, "peer", PEERS)
    model = network(shape, device=device, budget=budget)
    asked = Question.of(model, tokens, subject, samples=samples, noise=noise, window=window)
    ways = [way for kind in every for way in _ways(asked, kind, peers)]
    done = counter(progress, len(ways) * (runs + 1))
    asked.traced(every[0])  # the first passes of a process are not typical, and the network's blocks are tried in them
    costs = [done(counted(model, way.run)) for way in ways]
    seconds = in_turn(ways, runs, lambda way: done(timed(way.run, model.device)[1]))
    reference = {way.kind: one.found for way, one in reversed([*zip(ways, costs, strict=True)])}
    sides = tuple(
        _side(way, each, one, reference[way.kind]) for way, each, one in zip(ways, seconds, costs, strict=True)
    )
    about = machine(model.device), versions()
    return TracingBench(
        shape, len(model.layers), tokens, asked.subject, samples, window, noise, runs, device, budget, sides, *about
    )  # fmt: skip


def _ways(asked: Question, kind: Kind, peers: Iterable[str]) -> list[_Way]:
    loops = [_Way(name, kind, functools.partial(asked.by_hand, PEERS[name], kind)) for name in peers]
    return [*loops, _Way(ENGINE, kind, functools.partial(asked.traced, kind))]


def _side(way: _Way, seconds: tuple[float, ...], one: Counted[Restored], first: Restored) -> TracingSide:
    apart, passes = one.found.apart(first), one.passes
    return TracingSide(
        way.name, way.name == ENGINE, seconds, one.memory, one.flops, passes.calls, passes.rows, passes.positions,
        way.kind, one.found.clean, one.found.corrupted, apart, apart / abs(first.total) if first.total else 0.0,
    )  # fmt: skip


def _first_word(model: Model, batch: Batch) -> str:
    """The ordinary word that the network says first."""
    with torch.no_grad():
        logits = model.logits(batch)[0]
    logits[: len(SPECIAL)] = -torch.inf
    word: str = model.tokenizer.convert_ids_to_tokens(int(logits.argmax()))
    return word


def _check(tokens: int, samples: int, window: int, runs: int, noise: float) -> None:
    if min(samples, window, runs) < 1 or tokens < 4 or not noise > 0:
        raise BadSetting("a benchmark takes at least 1 sample, layer in a window and run, 4 tokens, and some noise")
