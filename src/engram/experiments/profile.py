"""Niu et al. (2024), figures 3, 10 and 11: which words does a model say less, and which more, without a number neuron?

Their claim that what moves is what co-occurs with the number (figure 4) is tested here, where a corpus is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

from ..data.counts import Counts, Side, counts
from ..errors import BadSetting, UnknownName
from ..facts import FactSet
from ..interventions import suppressed
from ..metrics.cooccurrence import Shift
from ..metrics.profiles import CHANCE, GROUPS, SUPPRESSED, scores_of, slope_scores, slopes, tables, word_changes
from ..models import Model
from ..models.batching import Progress
from ..models.words import Choice, choice, logprobs
from ..neurons import NeuronSet
from ..results import Floats, Report, Score
from .base import Case, Result, experiments, halves
from .drawn import Rows, Skipped
from .numbered import Carrier, Numbered, Pair


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a profile by how they are marked, and which word is asked for: "determiner", "verb" …"""

    kind: str
    plural: tuple[str, ...]
    singular: tuple[str, ...]
    neutral: tuple[str, ...] = ()

    @property
    def groups(self) -> dict[str, str]:
        """How each word is marked, in the order of the paper."""
        return {word: group for group in GROUPS for word in getattr(self, group)}


WORDS = {
    "determiners": Words(
        "determiner",
        ("these", "those", "two", "both", "multiple", "several", "various"),
        ("this", "that", "one", "a", "an", "every", "unique", "single", "sole"),
        ("the", "any", "all", "some", "my", "our", "unified", "scattered"),
    ),
    "verbs": Words(
        "verb",
        ("are", "were", "have", "run", "fight", "throw", "see"),
        ("is", "was", "has", "runs", "fights", "throws", "sees"),
    ),
}


@experiments("profile")
@dataclass(frozen=True, slots=True)
class Profile(Numbered):
    """The probability of each of some words at the blank, before and after the neurons of a number fall silent there.

    Asked are the pairs whose right word has the neurons' number. `words` is "determiners" (24 prenominal modifiers, for
    masked models, where a determiner is asked), "verbs" (14, where a verb is asked: for causal models too), or one's
    own `Words`. A word that is not one token in all of a relation's prompts is left out, and said. `corpus`, `nouns`
    and `within` are those of `data.counts`; or the corpus is a finished `Counts`. With one, the `shift` of each word
    ("log ratio", or the published "symmetric fold") is regressed on its log-odds of a plural noun, behind a determiner
    or before a verb. What finds and limits is a setting of `Numbered`. Raises BadSetting, BadData, UnknownName.

    >>> Profile().vocabulary.neutral[:3], Profile(words="verbs").vocabulary.kind
    (('the', 'any', 'all'), 'verb')
    """

    name: ClassVar[str] = "profile"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "label": "text", "word": "text", "group": "text", "condition": "text", "draw": "whole",
        "neurons": "texts", "numbers": "wholes", "before": "reals", "after": "reals",
    }  # fmt: skip
    words: str | Words = "determiners"
    corpus: Counts | str | Path | Sequence[str] | None = None
    nouns: str | Path | None = None
    within: int = 3
    shift: Shift = "log ratio"
    counted: Counts | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        Numbered.__post_init__(self)
        if isinstance(self.words, str) and self.words not in WORDS:
            raise UnknownName("list of words", self.words, WORDS)
        if self.shift not in get_args(Shift):
            raise UnknownName("measure of a word's shift", self.shift, get_args(Shift))
        if self.corpus is not None:
            object.__setattr__(self, "counted", self._counted(self.corpus))

    def _counted(self, corpus: Counts | str | Path | Sequence[str]) -> Counts:
        side: Side = "before" if self.vocabulary.kind == "verb" else "behind"
        if not isinstance(corpus, Counts):
            return counts(corpus, self.vocabulary.groups, nouns=self.nouns, side=side, within=self.within)
        if corpus.side != side:
            raise BadSetting(
                f"a {self.vocabulary.kind} has its noun {side} it; these counts are of nouns {corpus.side}"
            )
        return corpus

    @property
    def vocabulary(self) -> Words:
        """The words by how they are marked."""
        return WORDS[self.words] if isinstance(self.words, str) else self.words

    def asks(self, kind: str) -> bool:
        return kind == self.vocabulary.kind

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """Of each number's neurons a row for every word, and one for every word and draw of random neurons."""
        finding, trying = halves(progress)
        skipped: Skipped = []
        relation = case["relation"]
        pairs = self.pairs(model, facts, case, skipped)
        found, tried = self.carriers(model, relation, pairs, progress=finding)
        known = [(p, choice(model, p.prompt, self.vocabulary.groups)) for p in tried]
        out = {w: why for _, said in known for w, why in said.left_out.items()}
        rows: Rows = []
        for done, (label, carrier) in enumerate(found.items(), 1):
            own = [(p, said) for p, said in known if p.label == label]
            words = [w for w in self.vocabulary.groups if w not in out]
            if carrier.neurons and own and words:
                rows += list(self._rows(model, relation, label, carrier.neurons, own, words))
            trying(done, len(found))
        said = {label: shares(c) for label, c in found.items()}
        return {
            "relation": relation, "rows": rows, "skipped": skipped, "asked": len(pairs), "found": said,
            "left_out_words": out, "widths": list(model.widths),
        }  # fmt: skip

    def summary(self, results: Iterable[Result]) -> Report:
        """How far each word moves, which of it both tests call sure, and, with a corpus, the slopes on co-occurrence.

        Intervals are 95 % bootstraps over prompts, and for slopes over words too. Raises BadSetting where nothing was
        tried.
        """
        done = list(results)
        scores: list[Score] = []
        for table in tables(done):
            scores += scores_of(table, word_changes(table, seed=self.seed), seed=self.seed)
            if self.counted is not None:
                found = slopes(table, self.counted.of, by=self.shift, seed=self.seed)
                scores += slope_scores(table, found, self.shift)
        if not scores:
            raise BadSetting(nothing(done, f"a {self.vocabulary.kind} asked for"))
        return Report("profile", tuple(scores), self.settings(), tuple(self._notes(done)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        groups = {group: list(getattr(self.vocabulary, group)) for group in GROUPS}
        words = {"name": self.words if isinstance(self.words, str) else "own", "kind": self.vocabulary.kind, **groups}
        corpus = self.counted and self.counted.plain()
        return {"words": words, "corpus": corpus, "shift": self.shift, **Numbered.settings(self)}

    def _rows(
        self, model: Model, relation: str, label: str, neurons: NeuronSet, own: Sequence[tuple[Pair, Choice]],
        words: Sequence[str],
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        asked = [(said.row, [said.tokens[w] for w in words]) for _, said in own]

        def said_by(silent: NeuronSet | None) -> Floats:
            return np.stack(logprobs(model, asked, under=None if silent is None else suppressed(silent)))

        before = said_by(None)
        tried = [(SUPPRESSED, 0, neurons)]
        tried += [(CHANCE, draw, other) for draw, other in enumerate(self.chance(model, relation, neurons))]
        for condition, draw, silent in tried:
            after = said_by(silent)
            for i, word in enumerate(words):
                yield {
                    "relation": relation, "label": label, "word": word, "group": self.vocabulary.groups[word],
                    "condition": condition, "draw": draw, "neurons": [str(n) for n in silent],
                    "numbers": [p.number for p, _ in own], "before": before[:, i].tolist(),
                    "after": after[:, i].tolist(),
                }  # fmt: skip

    def _notes(self, done: Sequence[Result]) -> Iterator[str]:
        """What a reader of the numbers must know."""
        for result in done:
            for label, said in result["found"].items():
                if not said:
                    yield f"{result['relation']}: no neuron counts more often for the {label} than for the others"
            if out := result["left_out_words"]:
                said = ", ".join(f"{word} ({why})" for word, why in out.items())
                yield f"{result['relation']}: words that are not one token are left out: {said}"
        if self.counted is not None:
            never = [w for w, n in self.counted.of.items() if not sum(n)]
            if never:
                yield f"never beside a known noun in {self.counted.corpus}, so without log-odds: {', '.join(never)}"


def nothing(done: Sequence[Result], asked: str) -> str:
    """Why there is nothing to summarise."""
    if not done:
        return f"the data have no minimal pair with {asked}; BLiMP's have, and a causal model needs its blank last"
    why = next((s["reason"] for r in done for s in r["skipped"]), "no neuron was found, or no pair was left to try")
    return f"nothing was tried: {sum(r['asked'] for r in done)} pairs could be asked; {why}"


def shares(carrier: Carrier) -> list[list[Any]]:
    """Each neuron with the share of its label's prompts in which it counts, and the largest of another label's."""
    if not carrier.own:
        return [[str(n), None, None] for n in carrier.neurons]
    return [[str(n), *both] for n, *both in zip(carrier.neurons, carrier.own, carrier.others, strict=True)]
