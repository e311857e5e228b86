"""How well does a model know its facts, and do few neurons carry them?

The examination of a saved checkpoint, by the library's own means: accuracy and P(gold) in the templates in which it
never saw the fact, and beside them in the others; knowledge neurons found in the one sort and tried in the other;
agreement and perplexity on plain sentences that were never uttered.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engram.experiments import Neurons, Suppression
from engram.facts import FactSet, Split
from engram.locators import IntegratedGradients
from engram.metrics import accuracy, average, bootstrap
from engram.metrics.changes import Mean
from engram.models import Model, ask
from engram.models.perplexity import surprise
from engram.neurons import Neuron
from engram.results import Floats
from training import sentences
from training.pairs import minimal_pairs

Figures = dict[str, Any]
LOCATOR = IntegratedGradients(rule="gauss")
SPLITS: tuple[Split, Split] = ("test", "discovery")


def _figure(value: float, n: int, interval: tuple[float, float] | None, **more: object) -> Figures:
    return {"value": round(value, 4), "n": n, "interval": interval and [round(x, 4) for x in interval], **more}


def _measured(of: Callable[..., Floats], values: Sequence[ArrayLike], clusters: Sequence[Hashable]) -> Figures:
    return _figure(float(of(*values)), len(clusters), bootstrap(of, values, clusters))


def recall(model: Model, facts: FactSet) -> Figures:
    """Accuracy and P(gold) on the test templates, and on the discovery templates for comparison."""
    out: Figures = {}
    for split in SPLITS:
        asked = [(f, p) for f in facts for p in facts.prompts(f, split=split, blank_last=model.blank_last)]
        said = list(zip([f for f, _ in asked], ask(model, [p for _, p in asked], top=1), strict=True))
        each = {r.id: float(accuracy([a.rank for f, a in said if f.relation == r.id])) for r in facts.relations}
        out[f"{split} accuracy"] = _measured(accuracy, [[a.rank for _, a in said]], [f for f, _ in said])
        out[f"{split} accuracy"]["relations"] = {r: round(value, 4) for r, value in each.items()}
        known = [(f, a.probability) for f, a in said if a.knows]
        out[f"{split} P(gold) of known"] = _measured(average, [[p for _, p in known]], [f for f, _ in known])
    return out


def experiment(facts: int) -> Suppression:
    """How neurons are sought and tried, in so many facts of each relation (0: all)."""
    return Suppression(Neurons(LOCATOR, facts=facts or None, known_only=True))


def silence(model: Model, facts: FactSet, by: Suppression) -> Figures:
    """Every score of the experiment; of each relation its share and its change; where the neurons are."""
    results = [by.run(model, facts, case) for case in by.cases(facts)]
    report, relations = by.judged(results)
    out: Figures = {s.name: _figure(s.value, s.n, s.interval) for s in report.scores}
    for condition, change in relations.items():
        out[condition]["relations"] = {row.relation: round(row.change.value, 4) for row in change.rows}
    own = [row for r in results for row in r["rows"] if row["condition"] == "suppressed"]
    layers = Counter(Neuron.parse(n).layer for row in own for n in row["neurons"])
    return out | {
        "facts drawn": sum(r["drawn"] for r in results),
        "shares": {r["relation"]: r["shares"]["attribution"]["share"] for r in results if r["rows"]},
        "neurons of each layer": [layers[i] for i in range(len(model.layers))],
        "settings": report.settings,
        "notes": report.notes,
    }


def log_likelihoods(model: Model, text: str) -> Floats:
    """ln P of every token of a text: of the next token, or of each token masked alone."""
    (nats,) = surprise(model, [text])
    return -np.array(nats)


def grammar(model: Model, heard: frozenset[str] = frozenset(), each: int = 200, texts: int = 500) -> Figures:
    """Agreement on pairs never uttered (is the good sentence likelier?), and perplexity on sentences not heard."""
    better: dict[str, list[bool]] = {}
    for pair in minimal_pairs(11, each):
        good, bad = (log_likelihoods(model, text).sum() for text in (pair.good, pair.bad))
        better.setdefault(pair.phenomenon, []).append(bool(good > bad))
    better["agreement"] = [hit for hits in better.values() for hit in hits]
    out = {name: _measured(average, [hits], range(len(hits))) for name, hits in better.items()}
    new = (text for text in sentences.plain(1_000_003) if text not in heard)
    nats = [log_likelihoods(model, text) for text in itertools.islice(new, texts)]
    sums, tokens = [x.sum() for x in nats], [len(x) for x in nats]
    out["perplexity"] = _measured(_perplexity, [sums, tokens], range(texts)) | {"tokens": sum(tokens)}
    return out


def _perplexity(nats: ArrayLike, tokens: ArrayLike, mean: Mean = np.mean) -> Floats:
    return np.exp(-mean(np.asarray(nats, float)) / mean(np.asarray(tokens, float)))
