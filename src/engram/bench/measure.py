"""How much faster is the engine than the loops one writes without it, and does it say the same?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ..errors import BadSetting, UnknownName
from ..locators import IntegratedGradients
from ..models.model import GIB
from .accuracy import Accuracy
from .attribution import PEERS
from .contenders import Contender, Ring
from .cost import peak, timed
from .results import AttributionBench, Side, machine, versions
from .variants import VARIANTS

T = TypeVar("T")
Word = TypeVar("Word", bound=str)
Progress = Callable[[int, int], None]

POINTS = 32  # of Gauss's rule: what the integral is taken to be; with random weights it is exact long before


def bench_attribution(
    shape: str = "bert-base",
    *,
    prompts: int = 1,
    tokens: int = 14,
    runs: int = 3,
    against: Iterable[str] = tuple(PEERS),
    variants: Iterable[str] | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    few: int = 2,
    budget: int = GIB,
    progress: Progress | None = None,
) -> AttributionBench:
    """All sides in turn, `runs` times, on the same random network and prompts of `tokens` tokens.

    `against` names peers (always in float32; the scores of the first count as the published sum), `variants` some of
    VARIANTS (None: all), and `dtype` the numbers of those that do not say theirs. The peers take one prompt at a time
    by nature: they are timed on the first `few` prompts, and scores are compared there. Memory is measured once before
    and operations are counted once on one prompt, both apart from the timing. Raises BadSetting, UnknownName.
    """
    names = chosen(against, "peer", PEERS), chosen(VARIANTS if variants is None else variants, "variant", VARIANTS)
    if min(prompts, runs, few) < 1 or tokens < 4:
        raise BadSetting("a benchmark takes at least 1 prompt and run, 1 prompt for the peers, and 4 tokens")
    ring = Ring.of(shape, prompts=prompts, tokens=tokens, few=few, dtype=dtype, device=device, budget=budget)
    sides = [*map(ring.peer, names[0]), *map(ring.engine, names[1])]
    done = counter(progress, len(sides) * (runs + 2) + 1)
    ring.warm()
    first = [done(peak(s.run, ring.device)) for s in sides]
    counts = [done(s.count()) for s in sides]
    seconds = in_turn(sides, runs, lambda s: done(timed(s.run, ring.device))[1] / s.prompts)
    scores = [found[: ring.few] for found, _ in first]
    integral = done(ring.scored(IntegratedGradients(rule="gauss", steps=POINTS), prompts=ring.few))
    there = {str(s.settings): own for s, own in zip(sides, scores, strict=True) if s.engine and not s.precise}
    accuracies = [
        Accuracy.of(own, scores[0], integral, (there.get(str(s.settings)) or s.precise()) if s.precise else None)
        for s, own in zip(sides, scores, strict=True)
    ]
    measured = tuple(
        _side(s, each, memory, count, accuracy)
        for s, each, (_, memory), count, accuracy in zip(sides, seconds, first, counts, accuracies, strict=True)
    )
    about = machine(ring.device), versions()
    return AttributionBench(
        shape, len(ring.network.layers), prompts, tokens, runs, device, budget, POINTS, measured, *about
    )  # fmt: skip


def in_turn(ways: Sequence[T], runs: int, measure: Callable[[T], float]) -> list[tuple[float, ...]]:
    """Of every way one number a run; each run another way begins.

    >>> order = []
    >>> in_turn("abc", 2, lambda way: order.append(way) or len(order))
    [(1, 6), (2, 4), (3, 5)]
    """
    found: list[list[float]] = [[] for _ in ways]
    for run in range(runs):
        for i in range(len(ways)):
            turn = (run + i) % len(ways)
            found[turn].append(measure(ways[turn]))
    return [tuple(each) for each in found]


def _side(s: Contender, seconds: tuple[float, ...], memory: int | None, count: int, accuracy: Accuracy) -> Side:
    return Side(
        s.name, s.engine, seconds, memory, count, s.what, s.dtype, s.settings, s.prompts, s.least, accuracy
    )  # fmt: skip


def chosen(names: Iterable[Word], kind: str, known: Iterable[str]) -> tuple[Word, ...]:
    """These names, each once. Raises BadSetting where there is none, UnknownName.

    >>> chosen(["gpt2", "gpt2"], "shape", ("bert-base", "gpt2"))
    ('gpt2',)
    """
    found = tuple(dict.fromkeys(names))
    if not found:
        raise BadSetting(f"a benchmark takes at least one {kind}: {', '.join(known)}")
    for name in found:
        if name not in known:
            raise UnknownName(kind, name, known)
    return found


def counter(progress: Progress | None, total: int) -> Callable[[T], T]:
    """Passes a value on, and says that one more of so many pieces of work is done."""
    so_far = 0

    def done(value: T) -> T:
        nonlocal so_far
        so_far += 1
        if progress is not None:
            progress(so_far, total)
        return value

    return done
