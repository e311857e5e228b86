"""What `engram locate` found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _show
from ._show import NUMBER, TEXT, WORD, number

if TYPE_CHECKING:
    from ..models import Model
    from ..neurons import Neuron, NeuronSet
    from ..results import Answer, Attribution, Floats
    from ..selectors import Shared

TARGET_UNITS = {"probability": "probability", "logprob": "nats", "logit": "logits", "logit_difference": "logits"}


@dataclass(frozen=True)
class Beside:
    """Is the same found when the network computes in another type?

    `difference` is the largest of a score, as part of its prompt's largest; `prompts_alike` the mean Jaccard index of
    the sets above the threshold in each prompt, `kept_alike` that of the sets kept of all prompts.
    """

    dtype: str
    prompts: int
    difference: float
    prompts_alike: float
    kept_alike: float

    @classmethod
    def of(cls, found: Sequence[Attribution], other: Sequence[Attribution], selector: Shared, dtype: str) -> Beside:
        """What was found in both types."""
        apart = [np.abs(a.scores - b.scores).max() / np.abs(b.scores).max() for a, b in zip(found, other, strict=True)]
        each = [_alike(*(frozenset(selector.votes([x])) for x in both)) for both in zip(found, other, strict=True)]
        kept = _alike(frozenset(selector.select(found)), frozenset(selector.select(other)))
        return cls(dtype, len(found), float(max(apart)), float(np.mean(each)), kept)

    def __str__(self) -> str:
        return (
            f"beside {self.dtype}: scores differ by up to {self.difference:.1e} of the largest; the same neurons above "
            f"the threshold (Jaccard index): {self.prompts_alike:.3f} in a prompt (mean of {self.prompts}), "
            f"{self.kept_alike:.3f} kept of all"
        )


def _alike(a: frozenset[Neuron], b: frozenset[Neuron]) -> float:
    return len(a & b) / len(a | b) if a | b else 1.0


@dataclass(frozen=True)
class Located:
    """One answer and one attribution for each prompt; for a fact, also its votes and the neurons that were kept."""

    model: Model
    answers: tuple[Answer, ...]
    found: tuple[Attribution, ...]
    best: int
    selector: Shared
    votes: Mapping[Neuron, int]
    kept: NeuronSet | None
    beside: Beside | None = None

    @property
    def unit(self) -> str:
        """Of the scores."""
        first = self.found[0]
        return TARGET_UNITS.get(first.settings.get("target", ""), first.method)

    def lines(self) -> None:
        """Print it for people."""
        self._prompt() if self.kept is None else self._fact()
        _show.line()
        settings = {k: v for k, v in self.found[0].settings.items() if v is not None}
        _show.entries([(self.found[0].method, ", ".join(f"{k} {v}" for k, v in settings.items()))])
        if loose := sorted({layer for a in self.found for layer in _loose(a)}):
            _show.line()
            _show.line(
                f"note: in {', '.join(f'L{i}' for i in loose)} the estimated error stays above the tolerance; where an "
                "FFN has kinks, as ReLU has, points are no cure: see the gap, or name --steps"
            )
        if self.beside is not None:
            _show.line()
            _show.line(str(self.beside))

    def _prompt(self) -> None:
        answer, found = self.answers[0], self.found[0]
        _show.line(answer.prompt.text)
        _show.line(f"asked of {self.model.name}")
        _show.line()
        columns = [("answer", WORD), ("tokens", TEXT), ("P", NUMBER), ("rank", NUMBER)]
        _show.table(columns, [(answer.prompt.answer, " ".join(answer.tokens), number(answer.probability), answer.rank)])
        _show.line()
        columns = [("neuron", WORD), (f"score ({self.unit})", NUMBER), ("share of its layer", NUMBER)]
        _show.table(columns, [(n, number(s), f"{_share(found, n):.1%}") for n, s in found.best(self.best)])
        _show.line()
        if np.isnan(found.gap).all():
            _show.line(f"{found.method} promises no sum: its scores have no gap to show.")
            return
        names = {"sum": "scores add up to", "change": "silence costs", "gap": "gap", "error": "estimated error"}
        layers = _layers(found)
        shown = [k for k in names if layers[0][k] is not None]
        columns = [("layer", NUMBER), *((names[k], NUMBER) for k in shown), ("points", NUMBER)]
        _show.table(columns, [(f"L{x['layer']}", *(number(x[k]) for k in shown), x["points"] or "") for x in layers])

    def _fact(self) -> None:
        kept = self.kept or ()
        n = len(self.found)
        _show.line(f"{self.answers[0].prompt.fact} in {n} templates, asked of {self.model.name}")
        _show.line()
        columns = [
            ("prompt", TEXT),
            ("P", NUMBER),
            ("rank", NUMBER),
            ("best neuron", WORD),
            ("score", NUMBER),
            ("worst gap", NUMBER),
        ]
        rows = []
        for answer, found in zip(self.answers, self.found, strict=True):
            ((neuron, score),) = found.best(1)
            gap = max(np.abs(found.gap), default=np.nan)
            rows.append(
                (answer.prompt.text, number(answer.probability), answer.rank, neuron, number(score), number(gap))
            )
        _show.table(columns, rows)
        _show.line()
        least, neurons = self.selector.least(n), sum(self.model.widths)
        _show.line(
            f"above {self.selector.threshold:g} of the largest score in at least {least} of {n} templates: "
            f"{len(kept)} of {neurons} neurons"
        )
        if kept:
            columns = [("neuron", WORD), ("templates", NUMBER), (f"mean score ({self.unit})", NUMBER)]
            _show.table(columns, [(x["neuron"], x["votes"], number(x["mean_score"])) for x in self._kept()])

    def _kept(self) -> list[dict[str, Any]]:
        rows = [
            {
                "neuron": str(neuron), "layer": neuron.layer, "index": neuron.index, "votes": self.votes[neuron],
                "of": len(self.found), "mean_score": float(np.mean([a.scores[neuron] for a in self.found])),
            }
            for neuron in self.kept or ()
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (-row["votes"], -row["mean_score"]))

    def document(self) -> None:
        """Print it as JSON."""
        selection = {
            "threshold": self.selector.threshold, "share": float(self.selector.exact_share),
            "least_votes": self.selector.least(len(self.found)), "neurons": self._kept(),
        }  # fmt: skip
        _show.document(
            "locate",
            model=_show.about(self.model),
            method=self.found[0].method,
            settings=self.found[0].settings,
            units={
                "score": f"{self.unit} (of several tokens: the mean over them)",
                "share_of_layer": "|score| / sum of |score| over the layer",
                "change": "target(clean) - target(layer silent at the blank): what sum must be",
                "gap": "sum - change",
                "error": "estimate of |sum - the sum asked for|; null where none is made",
                "points": "where on the path the gradient was taken, both ends included",
            },
            fact=str(self.answers[0].prompt.fact) if self.kept is not None else None,
            prompts=list(self._prompts()),
            selection=None if self.kept is None else selection,
            beside=None if self.beside is None else asdict(self.beside),
        )

    def _prompts(self) -> Iterator[dict[str, Any]]:
        for answer, found in zip(self.answers, self.found, strict=True):
            yield {
                "prompt": answer.prompt.text,
                "answer": answer.prompt.answer,
                "template": answer.prompt.template,
                **_show.answered(answer),
                "peak": found.peak,
                "neurons": [
                    {
                        "neuron": str(n),
                        "layer": n.layer,
                        "index": n.index,
                        "score": s,
                        "share_of_layer": _share(found, n),
                    }
                    for n, s in found.best(self.best)
                ],
                "layers": _layers(found),
            }


def _loose(found: Attribution) -> list[int]:
    """The layers in which the points ran out before the estimated error was as small as was asked for."""
    tolerance = found.settings.get("tolerance")
    if found.error is None or tolerance is None:
        return []
    return [int(i) for i in np.flatnonzero(found.error > tolerance * np.abs(found.scores).max())]


def _share(found: Attribution, neuron: Neuron) -> float:
    """Which part of its layer's scores, all taken as positive, is this neuron's?"""
    layer = np.abs(found.scores[neuron.layer])
    return float(layer[neuron.index] / layer.sum()) if layer.any() else 0.0


def _layers(found: Attribution) -> list[dict[str, Any]]:
    def known(values: Floats | None, i: int) -> float | None:
        return None if values is None or np.isnan(values[i]) else float(values[i])

    return [
        {
            "layer": i, "sum": float(scores.sum(dtype=float)), "change": float(found.change[i]),
            "gap": float(found.gap[i]), "error": known(found.error, i),
            "points": None if (points := known(found.points, i)) is None else int(points),
        }
        for i, scores in enumerate(found.scores)
    ]  # fmt: skip
