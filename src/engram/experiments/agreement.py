"""Do knowledge neurons and causal tracing point to the same layers and the same neurons?

Dai et al. (2022) integrate gradients over the neurons at the asked position; Meng et al. (2022) corrupt the subject and
restore sites. Both are asked of the same prompts here, beside what they estimate: each neuron silenced by itself, and
each restored by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting
from ..facts import Fact, FactSet, Prompt
from ..locators import Ablation, Activation, GradientTimesActivation, IntegratedGradients, Locator, locate
from ..metrics.likeness import compared, likenesses
from ..models import Model
from ..models.batching import Progress
from ..models.targets import target_of
from ..results import Answer, Floats, Report, Score
from ..tracers import CausalTracing, UnitMediation, mediate
from ..tracers.base import Corrupting, trace_each
from ..tracers.noise import Spread
from ..traces import Trace
from .base import Case, Result, experiments
from .drawn import Drawn, LeftOut, Rows, Skipped, answered, askable, contrast

LOCATED = ("integrated gradients", "ablation", "gradient × activation", "activation")
MEDIATED = ("mediation", "mediation, first order")
TRACED = ("ffn, asked token", "ffn, any token", "block, asked token", "block, any token")


@experiments("agreement")
@dataclass(frozen=True, slots=True)
class Agreement(Drawn):
    """Locate and trace the same prompts, and compare every two methods, fact by fact.

    Scores of single neurons, all at the asked position: by `locator`, by silencing each alone (ablation), by gradient ×
    activation, by activation, and by restoring each alone in the corrupted run (mediation, exact and first order).
    Their profile over layers is the sum of the positive scores of each layer. Tracing has profiles only: the effect of
    the FFN (`by`) and of the block in each layer, at the asked token, and the largest at any token. Profiles are
    compared by Spearman's rank correlation and by the layer of their peaks, scores by rank correlation over all neurons
    of the model and by how many of the best `tops` both name. The first askable prompt of each fact is asked;
    `known_only` leaves out facts that the model does not answer first there. Of an answer of several tokens, located
    scores are means over its tokens, and traced effects of all of it. Which facts are drawn is a setting of `Drawn`.
    Raises BadSetting, UnknownName.

    >>> Agreement(facts=2).by.kind
    'ffn'
    """

    name: ClassVar[str] = "agreement"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "template": "whole",
        "prompt": "text", "clean": "real", "corrupted": "real", "a": "text", "b": "text", "layer_correlation": "real",
        "same_peak": "flag", "neuron_correlation": "real", "shared": "reals", "profile": "reals",
    }  # fmt: skip
    locator: Locator = field(default_factory=lambda: IntegratedGradients(rule="gauss"))
    by: CausalTracing = field(default_factory=lambda: CausalTracing(kind="ffn", window=1))
    tops: tuple[int, ...] = (10, 100)
    known_only: bool = True
    shard: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        target_of(self.by.metric)
        if (target := getattr(self.locator, "target", self.by.metric)) != self.by.metric:
            raise BadSetting(f"all methods explain one number: the locator's {target}, the tracer's {self.by.metric}")
        if self.by.kind != "ffn" or self.by.severed is not None:
            raise BadSetting(f"by traces FFNs, which neurons are part of: kind='ffn', not {self.by.kind!r}")
        if self.by.answers != "gold":
            raise BadSetting(f"all methods explain the fact's answer: answers='gold', not {self.by.answers!r}")
        if not self.tops or min(self.tops) < 1:
            raise BadSetting(f"tops are numbers of best neurons, from 1 up, not {self.tops}")

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every fact and two methods; that of a method with itself has its `profile` [layer]."""
        skipped: Skipped = []
        asked = list(askable(model, facts, case["facts"], skipped, limit=1))
        spread = Spread(model, self.by.spread_of)

        def likened(number: int, prompt: Prompt, answer: Answer) -> Rows:
            if self.by.metric == "logit_difference":
                contrast(facts, prompt, len(answer.tokens))
            return list(self._rows(model, number, prompt, spread))

        rows = answered(model, asked, likened, skipped, known_only=self.known_only, progress=progress)
        return {"rows": rows, "skipped": skipped, "asked": len(asked), "widths": list(model.widths)}

    def summary(self, results: Iterable[Result]) -> Report:
        """Means over facts for every two methods, 95 % bootstraps over facts. Raises BadSetting without facts."""
        done = list(results)
        pairs = [p for p in compared(done, self.tops, seed=self.seed) if p.a != p.b]
        if not pairs:
            why = next((s["reason"] for r in done for s in r["skipped"]), "nothing was drawn")
            raise BadSetting(f"no fact was compared: {sum(r['asked'] for r in done)} could be asked; {why}")
        n = len({row["number"] for r in done for row in r["rows"]})
        widths = next(r["widths"] for r in done)
        scores = [Score("facts", n, n, "facts"), LeftOut.of(done).score(n, "records")]
        scores += [Score(f"best {k} neurons: by chance", k / sum(widths), sum(widths), "fraction") for k in self.tops]
        for each in ((p.layers, p.same_peak, p.neurons, *p.shared) for p in pairs):
            scores += [s for s in each if s is not None]
        order = {name: i for i, name in enumerate(dict.fromkeys(s.name.partition(":")[0] for s in scores))}
        scores.sort(key=lambda s: order[s.name.partition(":")[0]])
        return Report("agreement", tuple(scores), self.settings(), tuple(_notes(len(widths))))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        locator: dict[str, Any] = {"name": self.locator.name, **asdict(self.locator)}  # type: ignore[call-overload]
        by = {"name": self.by.name, **asdict(self.by), "seed": self.by.luck}
        own = {"tops": list(self.tops), "known_only": self.known_only}
        return {"locator": locator, "by": by, **own, **self.drawing()}

    def _rows(self, model: Model, number: int, prompt: Prompt, spread: Spread) -> Iterator[dict[str, Any]]:
        ffn, block = trace_each(model, prompt, None, [self.by, self._as(CausalTracing, kind="block")], spread=spread)
        dense = {**self._located(model, prompt), **self._mediated(model, prompt, spread)}
        profiles = {name: np.array([np.clip(x, 0, None).sum() for x in each]) for name, each in dense.items()}
        profiles |= dict(zip(TRACED, (*_profiles(ffn), *_profiles(block)), strict=True))
        scores = {name: np.concatenate(each) for name, each in dense.items()}
        fact = prompt.fact or Fact("", "", prompt.answer)
        about = {
            "relation": fact.relation, "number": number, "subject": fact.subject, "answer": prompt.answer,
            "template": prompt.template, "prompt": prompt.text, "clean": ffn.clean, "corrupted": ffn.corrupted,
        }  # fmt: skip
        for a, b, alike in likenesses(profiles, scores, self.tops):
            yield {
                **about, "a": a, "b": b, "layer_correlation": alike.layers, "same_peak": alike.same_peak,
                "neuron_correlation": alike.neurons, "shared": list(alike.shared),
                "profile": profiles[a].tolist() if a == b else [],
            }  # fmt: skip

    def _located(self, model: Model, prompt: Prompt) -> dict[str, list[Floats]]:
        """The scores of each layer's neurons, by method."""
        target = self.by.metric
        methods = (self.locator, Ablation(target), GradientTimesActivation(target), Activation())
        found = {}
        for name, by in zip(LOCATED, methods, strict=True):
            (a,) = locate(model, prompt, by=by)
            found[name] = [np.asarray(x[:width], float) for x, width in zip(a.dense(), a.widths, strict=True)]
        return found

    def _mediated(self, model: Model, prompt: Prompt, spread: Spread) -> dict[str, list[Floats]]:
        found: dict[str, list[Floats]] = {name: [] for name in MEDIATED}
        for layer in range(len(model.layers)):
            by = self._as(UnitMediation, layer=layer, token="last", best=())
            m = mediate(model, prompt, by=by, spread=spread)
            for name, x in zip(MEDIATED, (m.effect, m.first_order), strict=True):
                found[name].append(np.asarray(x, float))
        return found

    def _as(self, method: Any, **settings: Any) -> Any:
        """Another method that corrupts and measures as `by` does."""
        return method(**{name: getattr(self.by, name) for name in Corrupting.__dataclass_fields__}, **settings)


def _profiles(trace: Trace) -> tuple[Floats, Floats]:
    """The effect in each layer: at the asked token, and the largest at any."""
    return trace.effect[trace.at], trace.effect.max(0)


def _notes(layers: int) -> Iterator[str]:
    """What a reader of the numbers must know."""
    if layers > 1:
        yield (
            f"profiles have {layers} layers: of one fact, the rank correlation of methods that do not agree at all has "
            f"a standard deviation of {(layers - 1) ** -0.5:.2f}; few layers make it coarse"
        )
    yield "facts of one model share its layers: intervals are over other facts, not over other models"
