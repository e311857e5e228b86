"""How well does a model know its facts, and do few neurons carry them?

The examination of a saved checkpoint, loaded as float32: accuracy and P(gold) in the templates in which it never saw
the fact; knowledge neurons found in the discovery templates and tested in the others; agreement and perplexity on
plain sentences that were never uttered.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from training import asking, sentences
from training.asking import Questions
from training.corpus import Prompt, Relation, prompts
from training.neurons import Neurons, coarse, refine, scaled
from training.pairs import minimal_pairs

BOOTSTRAP = 1000
Figure = dict[str, object]


@dataclass(frozen=True)
class Gold:
    """P(gold) and rank of the gold answer (1 is best), each [n]."""

    p: np.ndarray
    rank: np.ndarray


def gold(
    net: PreTrainedModel, questions: Questions, change: Callable[[slice], asking.Change] | None = None, size: int = 256
) -> Gold:
    """Ask all questions; ``change(rows)`` gives the change of a batch's activations."""
    p, rank = [], []
    for start in range(0, len(questions), size):
        rows = slice(start, min(start + size, len(questions)))
        with torch.no_grad():
            table = asking.probabilities(net, questions[rows], change(rows) if change else None)
        mine = table.gather(1, questions.gold[rows, None])
        p.append(mine.squeeze(1))
        rank.append((table > mine).sum(1) + 1)
    return Gold(torch.cat(p).double().numpy(), torch.cat(rank).numpy())


def ratio(before: np.ndarray, after: np.ndarray) -> float:
    """Change as a ratio of means."""
    return float((after.sum() - before.sum()) / before.sum())


def interval(keys: np.ndarray, value: Callable[[np.ndarray], float], seed: int = 0) -> list[float]:
    """95 % bootstrap interval of ``value(rows)``, drawing whole facts (``keys``: the fact of each row)."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(keys == k) for k in np.unique(keys)]
    values = []
    for _ in range(BOOTSTRAP):
        chosen = rng.integers(len(groups), size=len(groups))
        values.append(value(np.concatenate([groups[i] for i in chosen])))
    low, high = np.percentile(values, [2.5, 97.5])
    return [round(float(low), 4), round(float(high), 4)]


def _figure(value: float, n: int, spread: list[float], **more: object) -> Figure:
    return {"value": round(value, 4), "n": n, "interval": spread, **more}


def known(found: Sequence[Prompt], answers: Gold) -> set[tuple[int, int]]:
    """Facts answered rightly in at least half of these prompts."""
    right: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for prompt, rank in zip(found, answers.rank, strict=True):
        right[prompt.relation, prompt.fact].append(bool(rank == 1))
    return {fact for fact, hits in right.items() if np.mean(hits) >= 0.5}


def recall(net: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, all_relations: tuple[Relation, ...]) -> Figure:
    """Accuracy and P(gold) on the test templates, and on the discovery templates for comparison."""
    final = not asking.is_masked(net)
    out: Figure = {}
    for name, back in (("test", True), ("discovery", False)):
        found = list(prompts(all_relations, back, final))
        answers = gold(net, asking.encode(tokenizer, found))
        right = answers.rank == 1
        keys = np.array([p.relation * 100_000 + p.fact for p in found])
        relation = np.array([p.relation for p in found])
        each = {r.id: float(right[relation == i].mean()) for i, r in enumerate(all_relations)}
        p = answers.p[right]
        spread = interval(keys, lambda rows, hit=right: float(hit[rows].mean()))
        out[f"{name} accuracy"] = _figure(float(right.mean()), len(right), spread, relations=_round(each))
        spread = interval(keys[right], lambda rows, p=p: float(p[rows].mean()))
        share = float(((p >= 0.4) & (p <= 0.85)).mean())
        out[f"{name} P(gold) of known"] = _figure(float(p.mean()), len(p), spread, within_0_4_to_0_85=round(share, 4))
    return out


def _round(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in values.items()}


def silence(
    net: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    all_relations: tuple[Relation, ...],
    facts: int | None = None,
    seed: int = 0,
    on: tuple[bool, bool] = (False, True),
) -> Figure:
    """Find the neurons of the known facts in their discovery templates, silence and amplify them in the others.

    ``facts`` asks for so many known facts a relation, drawn at random; None for all. ``on`` says which templates
    neurons are found in and tested in (True: the kept-back ones).
    """
    rng = np.random.default_rng(seed)
    final = not asking.is_masked(net)
    test = list(prompts(all_relations, on[1], final))
    knows = known(test, gold(net, asking.encode(tokenizer, test)))
    chosen: set[tuple[int, int]] = set()
    for r in range(len(all_relations)):
        mine = sorted(fact for fact in knows if fact[0] == r)
        chosen |= {mine[i] for i in rng.permutation(len(mine))[:facts]}
    finding = [p for p in prompts(all_relations, on[0], final) if (p.relation, p.fact) in chosen]
    sets = coarse(net, asking.encode(tokenizer, finding))
    by_fact: dict[tuple[int, int], list[list[tuple[int, int]]]] = defaultdict(list)
    for prompt, found in zip(finding, sets, strict=True):
        by_fact[prompt.relation, prompt.fact].append(found)
    neurons: dict[tuple[int, int], Neurons] = {}
    shares: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for r, relation in enumerate(all_relations):
        mine = sorted(fact for fact in by_fact if fact[0] == r)
        refined, share = refine([by_fact[fact] for fact in mine])
        shares[relation.id] = share
        sizes[relation.id] = float(np.mean([len(found) for found in refined])) if refined else 0.0
        neurons |= dict(zip(mine, refined, strict=True))
    asked = [p for p in test if (p.relation, p.fact) in chosen]
    return _examine(net, tokenizer, all_relations, asked, neurons, rng) | {
        "known facts": len(knows), "facts asked": len(chosen), "shares": _round(shares),
        "sizes": _round(sizes),
        "neurons per coarse set": round(float(np.mean([len(s) for s in sets])), 2),
    }  # fmt: skip


def _examine(
    net: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    all_relations: tuple[Relation, ...],
    test: list[Prompt],
    neurons: dict[tuple[int, int], Neurons],
    rng: np.random.Generator,
) -> Figure:
    """Silence, amplify, silence at random, and silence while other relations are asked."""
    width = asking.activations(net, asking.encode(tokenizer, test[:1])).shape[1:]
    shape = (int(width[0]), int(width[1]))
    own = [neurons[p.relation, p.fact] for p in test]
    chance = {
        fact: frozenset((layer, int(rng.integers(shape[1]))) for layer, _ in members)
        for fact, members in neurons.items()
    }
    lot = [chance[p.relation, p.fact] for p in test]
    others = [_other(test, p.relation, rng) for p in test]
    questions = asking.encode(tokenizer, test)
    foreign = questions[torch.tensor(others)]
    before, elsewhere = gold(net, questions), gold(net, foreign)
    measured = {
        "suppressed": (before, gold(net, questions, scaled(own, shape, 0.0))),
        "amplified": (before, gold(net, questions, scaled(own, shape, 2.0))),
        "random suppressed": (before, gold(net, questions, scaled(lot, shape, 0.0))),
        "other relations, suppressed": (elsewhere, gold(net, foreign, scaled(own, shape, 0.0))),
        "other relations, amplified": (elsewhere, gold(net, foreign, scaled(own, shape, 2.0))),
    }
    relation = np.array([p.relation for p in test])
    keys = np.array([p.relation * 100_000 + p.fact for p in test])
    out: Figure = {}
    for name, (first, then) in measured.items():
        each = {all_relations[r].id: ratio(first.p[relation == r], then.p[relation == r]) for r in np.unique(relation)}
        spread = interval(keys, lambda rows, a=first.p, b=then.p: ratio(a[rows], b[rows]))
        mean = round(float(np.mean(list(each.values()))), 4)
        lost = round(float(((first.rank == 1) & (then.rank > 1)).sum() / (first.rank == 1).sum()), 4)
        out[name] = _figure(
            ratio(first.p, then.p),
            len(keys),
            spread,
            mean_of_relations=mean,
            no_longer_first=lost,
            relations=_round(each),
        )
    per_layer = Counter(layer for members in neurons.values() for layer, _ in members)
    out["neurons per fact"] = round(float(np.mean([len(m) for m in neurons.values()])), 3)
    out["facts without neurons"] = sum(not m for m in neurons.values())
    out["neurons of each layer"] = [per_layer[i] for i in range(shape[0])]
    return out


def _other(test: list[Prompt], relation: int, rng: np.random.Generator) -> int:
    """The place of a random question of another relation."""
    while True:
        i = int(rng.integers(len(test)))
        if test[i].relation != relation:
            return i


def log_likelihoods(net: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[np.ndarray]:
    """ln P of every token of every text: of the next token, or of each token masked alone."""
    out: list[np.ndarray] = []
    for text in texts:
        ids = torch.tensor(tokenizer(text).input_ids)
        inner = torch.arange(1, len(ids) - 1 if asking.is_masked(net) else len(ids))
        if asking.is_masked(net):
            rows = ids.repeat(len(inner), 1)
            rows[torch.arange(len(inner)), inner] = tokenizer.mask_token_id
            places, lines = inner, torch.arange(len(inner))
        else:
            rows, places, lines = ids[None], inner - 1, torch.zeros(len(inner), dtype=torch.long)
        with torch.no_grad():
            states = asking.hidden(net, rows, torch.ones_like(rows))
            table = asking.head(net, states[lines, places]).log_softmax(-1)
        out.append(table.gather(1, ids[inner, None]).squeeze(1).double().numpy())
    return out


def grammar(
    net: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    heard: frozenset[str] = frozenset(),
    each: int = 200,
    texts: int = 500,
) -> Figure:
    """Agreement on pairs never uttered (is the good sentence likelier?), and perplexity on sentences not heard."""
    couples = list(minimal_pairs(11, each))
    good = [float(x.sum()) for x in log_likelihoods(net, tokenizer, [p.good for p in couples])]
    bad = [float(x.sum()) for x in log_likelihoods(net, tokenizer, [p.bad for p in couples])]
    better = np.array(good) > np.array(bad)
    out: Figure = {}
    for name in dict.fromkeys(p.phenomenon for p in couples):
        mine = better[[p.phenomenon == name for p in couples]]
        out[name] = _figure(
            float(mine.mean()), len(mine), interval(np.arange(len(mine)), lambda r, m=mine: m[r].mean())
        )
    spread = interval(np.arange(len(better)), lambda rows: better[rows].mean())
    out["agreement"] = _figure(float(better.mean()), len(better), spread)
    new = (text for text in sentences.plain(1_000_003) if text not in heard)
    lines = list(itertools.islice(new, texts))
    nats = log_likelihoods(net, tokenizer, lines)
    sums, tokens = np.array([x.sum() for x in nats]), np.array([len(x) for x in nats])

    def perplexity(rows: np.ndarray) -> float:
        return float(np.exp(-sums[rows].sum() / tokens[rows].sum()))

    every = np.arange(texts)
    out["perplexity"] = _figure(perplexity(every), texts, interval(every, perplexity), tokens=int(tokens.sum()))
    return out
