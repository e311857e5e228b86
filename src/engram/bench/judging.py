"""Judging edits as one does it without the engine: one after the other, written to the weights, to be measured against.

Both take a rewritten fact at a time: write the edit, ask all its sentences for the true and the new answer, put the
weights back, and ask again for what was said before. That is the published way (Meng et al. 2022, their evaluation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..cases import Case
from ..edits import Edit, LowRank
from ..facts import BLANK, Prompt
from ..models import Model, hooks
from ..models.editing import slots_of
from ..results import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Mean −ln P of an answer's tokens, in nats, before the edit and under it. [case, question]

    A case's questions are its sentences, each with the true and with the new answer.
    """

    before: Floats
    after: Floats

    def apart(self, other: Judged) -> float:
        """The largest difference of any of these numbers.

        >>> one, two = Judged(np.array([[1.0]]), np.array([[2.0]])), Judged(np.array([[1.5]]), np.array([[2.25]]))
        >>> one.apart(two)
        0.5
        """
        return max(float(np.abs(a - b).max()) for a, b in ((self.before, other.before), (self.after, other.after)))


class Peer(Protocol):
    """A loop over cases, each with its edit."""

    def __call__(self, model: Model, cases: Sequence[Case], edits: Sequence[Edit]) -> Judged: ...


def sentences(case: Case) -> tuple[Prompt, ...]:
    """The sentence that is edited, its paraphrases and its neighbours."""
    return (*case.asked("rewrite"), *case.asked("paraphrase"), *case.asked("neighbour"))


def questions(case: Case) -> list[Prompt]:
    """Each sentence with the true and with the new answer."""
    return [p.asking_for(answer) for p in sentences(case) for answer in (p.answer, case.new)]


def straightforward(model: Model, cases: Sequence[Case], edits: Sequence[Edit]) -> Judged:
    """The published code's calls: every sentence twice, with both answers, in one batch filled up on the right.

    The network's plain call, the vocabulary at every position.
    """

    def asked(case: Case) -> list[float]:
        prefixes = [p.text.split(BLANK)[0].rstrip() for p in questions(case)]
        texts = [f"{x} {p.answer}" for x, p in zip(prefixes, questions(case), strict=True)]
        given = model.tokenizer(texts, padding=True, return_tensors="pt").to(model.device)
        begun = [len(ids) for ids in model.tokenizer(prefixes)["input_ids"]]
        answers = [model.tokenizer(p.answer)["input_ids"] for p in questions(case)]
        logits = model.net(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits
        return [
            sum(-float(logits[i, n + j - 1].log_softmax(0)[t]) for j, t in enumerate(own)) / len(own)
            for i, (n, own) in enumerate(zip(begun, answers, strict=True))
        ]

    return _each(model, cases, edits, asked)


def written_well(model: Model, cases: Sequence[Case], edits: Sequence[Edit]) -> Judged:
    """The loop written well, for answers of one token: a sentence is one row, the vocabulary where it is asked only."""

    def asked(case: Case) -> list[float]:
        rows = [row for p in questions(case) for row in model.rows(p)]
        own = list(dict.fromkeys(row.ids for row in rows))
        said = _at_the_end(model, own)
        return [-float(said[own.index(row.ids), row.target]) for row in rows]

    return _each(model, cases, edits, asked)


PEERS: dict[str, Peer] = {"straightforward": straightforward, "written well": written_well}


def _each(model: Model, cases: Sequence[Case], edits: Sequence[Edit], asked: Callable[[Case], list[float]]) -> Judged:
    """One case after the other: under its edit, then with the weights put back."""
    before, after = [], []
    with torch.no_grad():
        for case, edit in zip(cases, edits, strict=True):
            with _written(model, edit):
                after.append(asked(case))
            before.append(asked(case))
    return Judged(np.array(before), np.array(after))


@contextmanager
def _written(model: Model, edit: Edit) -> Iterator[None]:
    """Within the block the weights are those of the edit; they are put back from copies."""
    patches = [p for p in edit.patches if isinstance(p, LowRank)]
    copies = [slots_of(model, p.layer).clone() for p in patches]
    for p in patches:
        slots = slots_of(model, p.layer)
        keys, values = (torch.tensor(x).to(slots) for x in (p.keys, p.values))
        slots += keys.T @ values
    try:
        yield
    finally:
        for p, copy in zip(patches, copies, strict=True):
            slots_of(model, p.layer).copy_(copy)


def _at_the_end(model: Model, rows: Sequence[tuple[int, ...]]) -> Tensor:
    """ln P behind each row, filled up on the right. [row, vocabulary]"""
    most = max(map(len, rows))
    ids = torch.tensor([[*x, *[0] * (most - len(x))] for x in rows], device=model.device)
    there = torch.tensor([[1] * len(x) + [0] * (most - len(x)) for x in rows], device=model.device)
    with hooks.at_rows(model.head, there.sum(1) - 1):
        logits: Tensor = model.net(input_ids=ids, attention_mask=there, **model.uncached).logits
    return logits[:, 0].to(model.precise).log_softmax(-1)
