"""What `engram locate` found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _show
from ._show import NUMBER, TEXT, WORD, number

if TYPE_CHECKING:
    from ..models import Model
    from ..neurons import Neuron, NeuronSet
    from ..results import Answer, Attribution
    from ..selectors import Shared

TARGET_UNITS = {"probability": "probability", "logprob": "nats", "logit": "logits", "logit_difference": "logits"}


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
        columns = [("layer", NUMBER), ("scores add up to", NUMBER), ("silence costs", NUMBER), ("gap", NUMBER)]
        _show.table(
            columns, [(f"L{x['layer']}", *(number(x[k]) for k in ("sum", "change", "gap"))) for x in _layers(found)]
        )

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
            },
            fact=str(self.answers[0].prompt.fact) if self.kept is not None else None,
            prompts=list(self._prompts()),
            selection=None if self.kept is None else selection,
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


def _share(found: Attribution, neuron: Neuron) -> float:
    """Which part of its layer's scores, all taken as positive, is this neuron's?"""
    layer = np.abs(found.scores[neuron.layer])
    return float(layer[neuron.index] / layer.sum()) if layer.any() else 0.0


def _layers(found: Attribution) -> list[dict[str, Any]]:
    return [
        {"layer": i, "sum": float(found.scores[i].sum(dtype=float)), "change": float(change), "gap": float(gap)}
        for i, (change, gap) in enumerate(zip(found.change, found.gap, strict=True))
    ]
