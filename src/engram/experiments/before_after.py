"""What does a model say before an edit and after it: to the fact, in other words, about its neighbours, elsewhere?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..cases import Case
from ..data import case_of
from ..edits import Edit
from ..errors import BadSetting, UnaskablePrompt
from ..facts import Fact, FactSet, Prompt, Rewrite
from ..metrics import absolute
from ..metrics.intervals import bootstrap
from ..models import Model, ask, holding
from ..models.batching import Progress
from ..models.editing import slots_of
from ..results import Answer
from .base import halves
from .judging import Sentence, sentences

SAME, ELSEWHERE = "same relation", "other relations"
MEANT = {  # each group of sentences, in order, and what it is; all but the first want the same words as a data set
    "rewrite": "the sentence that is edited", "paraphrase": "the fact in its other templates",
    "neighbour": "other subjects with the old answer", SAME: "other subjects with other answers",
    "attribute": "other subjects that have the new answer", ELSEWHERE: "facts of other relations",
    "reverse": "from the new answer back to the subject", "reverse of the old": "from the old answer back",
    "synonym": "the fact in a word of the same meaning", "onward": "what follows from the fact",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence before and after: P of the new and of the old answer, the rank of the right one, the first word.

    `new`, `old` (None where there is none) and `wanted` are the answers; pairs are (before, after).
    """

    group: str
    prompt: Prompt
    new: str
    old: str | None
    wanted: str
    p_new: tuple[float, float]
    p_old: tuple[float, float] | None
    rank: tuple[int, int]
    first: tuple[str, str]

    @property
    def p_wanted(self) -> tuple[float, float]:
        """Of the answer that is right once the wish is fulfilled, in probability."""
        return self.p_new if self.wanted == self.new or self.p_old is None else self.p_old


@dataclass(frozen=True, slots=True)
class Together:
    """The sentences of one group: in how many (`n`) the right answer is said first, and its mean P; before and after.

    `interval` is of the mean's change, in probability, 95 %, over sentences; None of one sentence.
    """

    group: str
    n: int
    right: tuple[int, int]
    p: tuple[float, float]
    interval: tuple[float, float] | None


def before_after(
    model: Model, edit: Edit, prompt: Prompt, data: FactSet, *, same: int = 8, elsewhere: int = 12, seed: int = 0,
    progress: Progress | None = None,
) -> list[Told]:  # fmt: skip
    """What does the model say to `prompt`, and to what else the data have on its fact, without the edit and with it?

    Of a fact that the data do not have: the sentence, and `elsewhere` facts that it is not about. Of one that they
    have, its other templates too, what `data.case_of` makes of the wish, and `same` other facts of its relation; drawn
    by `seed`. What this model cannot be asked is left out. Changes nothing. Raises BadSetting for an edit of anything
    but one fact, UnaskablePrompt, OtherWeights.

    >>> import engram as eg
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")
    >>> neurons = eg.select(eg.locate(model, prompt, by=eg.IntegratedGradients(steps=20)), by=eg.Top(5))
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming("Dante")
    >>> edit = eg.rewrite(model, wish, by=eg.KnowledgeSurgery(neurons))
    >>> first = before_after(model, edit, prompt, eg.data.shipped())[0]
    >>> first.group, first.first
    ('rewrite', ('Shakespeare', 'Dante'))
    """
    wish = edit.wish
    if not isinstance(wish, Rewrite) or wish.answer is None:
        raise BadSetting("before and after are told of one fact that is to have another answer")
    own = [*_own(model, wish, prompt, data), *_drawn(model, wish, data, same, elsewhere, seed)]
    asked = [s.prompt.asking_for(a) for s in own for a in (s.new, s.old) if a is not None]
    first, second = halves(progress)
    before = iter(ask(model, asked, top=1, progress=first))
    after = iter(ask(model, asked, under=edit, top=1, progress=second))
    found = [_told(s, before, after) for s in own]
    order = list(MEANT)
    return sorted(found, key=lambda x: order.index(x.group))


def _told(s: Sentence, before: Iterator[Answer], after: Iterator[Answer]) -> Told:
    new = next(before), next(after)
    old = (next(before), next(after)) if s.old is not None else None
    right = new if s.wanted == s.new or old is None else old
    return Told(
        s.group, s.prompt, s.new, s.old, s.wanted, (new[0].probability, new[1].probability),
        None if old is None else (old[0].probability, old[1].probability), (right[0].rank, right[1].rank),
        (right[0].top[0][0], right[1].top[0][0]),
    )  # fmt: skip


def known(data: FactSet, fact: Fact) -> Fact | None:
    """The fact of the data with this subject and answer, of the same relation if there is one; None: they have none."""
    about = [f for f in data if f.subject == fact.subject and f.answer.strip() == fact.answer.strip()]
    return next((f for f in about if f.relation == fact.relation), about[0] if about else None)


def _own(model: Model, wish: Rewrite, prompt: Prompt, data: FactSet) -> list[Sentence]:
    """The sentences about the fact, the one that is edited first."""
    fact, new = wish.fact, str(wish.answer)
    alone = Case("0", fact, new, prompt)
    if (there := known(data, fact)) is None:
        return sentences(model, alone)
    templates = data.prompts(there, blank_last=model.blank_last)
    others = tuple(p for p in templates if p.finished.text != prompt.finished.text)
    try:
        made = case_of(data, there.becoming(new), masked=not model.blank_last)
    except BadSetting:  # too few sentences for a case of its own
        return sentences(model, replace(alone, paraphrase=others))
    made = made if model.blank_last else made.finished
    return sentences(model, replace(made, fact=there, new=new, prompt=prompt, paraphrase=others))


def _drawn(model: Model, wish: Rewrite, data: FactSet, same: int, elsewhere: int, seed: int) -> Iterator[Sentence]:
    """Facts that should stay as they are: of the same relation, and of others."""
    new, there = str(wish.answer), known(data, wish.fact)
    answers = {new.strip(), wish.fact.answer.strip()}
    free = [f for f in data if f.subject != wish.fact.subject and f.answer.strip() not in answers]
    for group, most in ((SAME, same), (ELSEWHERE, elsewhere)):
        inside = group == SAME
        own = [f for f in free if (there is not None and f.relation == there.relation) == inside]
        order = np.random.default_rng(seed).permutation(len(own))
        yield from _first(model, (own[int(i)] for i in order), data, group, new, most)


def _first(
    model: Model, facts: Iterable[Fact], data: FactSet, group: str, new: str, most: int
) -> Iterator[Sentence]:  # fmt: skip
    """Of so many facts the first sentence that can be asked for both answers."""
    left = most
    for fact in facts:
        if not left:
            return
        for prompt in data.prompts(fact, blank_last=model.blank_last):
            try:
                model.rows(prompt), model.rows(prompt.asking_for(new))
            except UnaskablePrompt:
                continue
            left -= 1
            yield Sentence(group, prompt, new, fact.answer, fact.answer)
            break


def together(found: Sequence[Told]) -> list[Together]:
    """Each group's sentences together, in the order of `MEANT`.

    >>> one = Told("rewrite", Prompt("The capital of Ireland is [Y].", "Dublin"), "Cork", "Dublin", "Cork", (0.1, 0.8),
    ...     (0.9, 0.1), (2, 1), ("Dublin", "Cork"))
    >>> together([one])
    [Together(group='rewrite', n=1, right=(0, 1), p=(0.1, 0.8), interval=None)]
    """
    groups: dict[str, list[Told]] = {}
    for one in found:
        groups.setdefault(one.group, []).append(one)
    return [_together(name, groups[name]) for name in MEANT if name in groups]


def _together(group: str, own: Sequence[Told]) -> Together:
    p = np.array([x.p_wanted for x in own])
    right = sum(x.rank[0] == 1 for x in own), sum(x.rank[1] == 1 for x in own)
    around = bootstrap(absolute, (p[:, 0], p[:, 1]), range(len(p)))
    return Together(group, len(own), right, (float(p[:, 0].mean()), float(p[:, 1].mean())), around)


def sizes(model: Model, edit: Edit) -> Mapping[int, float]:
    """How large is the change? ‖change‖ / ‖value slots‖ of each layer that changes, as it is stored.

    >>> import engram as eg
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> model, neurons = eg.load(), eg.NeuronSet.parse("L0.1")
    >>> 0 < sizes(model, eg.rewrite(model, wish, by=eg.Erasure(neurons)))[0] < 1
    True
    """
    before = {i: slots_of(model, i).double().clone() for i in edit.layers}
    with holding(edit, model):
        return {i: float((slots_of(model, i).double() - x).norm() / x.norm()) for i, x in before.items()}
