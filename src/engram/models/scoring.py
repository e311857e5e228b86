"""How likely are answers, each asked under an edit of its own, and are they what the model would say first?

What is asked twice is run once: the same sentence with the true and with the new answer is one row, of which the
answers' tokens are read; an answer of several tokens is read from the pass over all of it; and below the first layer
that any edit changes, a sentence is run once for all the edits it is asked under.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..edits import Edit
from ..errors import BadSetting, HookDidNotFire
from ..facts import Prompt
from . import detours, hooks
from .batching import Progress, by_shape, in_batches, rows_within
from .below import running_on
from .many import Under, each_under, lowest
from .model import Model
from .questions import Batch, Row


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer: `nll` is the mean of −ln P over its tokens, in nats, each given the gold tokens before it.

    Meng et al. (2022) judge by this mean, not by the sum, so that answers of several tokens are not at a loss. `hits`
    is the share of its tokens that are the likeliest where they stand, `tokens` how many it has.

    >>> said = Scored(nll=0.5, hits=0.5, tokens=2)
    >>> round(said.probability, 3), round(said.joint, 3), said.correct
    (0.607, 0.368, False)
    """

    nll: float
    hits: float
    tokens: int

    @property
    def probability(self) -> float:
        """The geometric mean of the tokens' probabilities."""
        return math.exp(-self.nll)

    @property
    def joint(self) -> float:
        """The probability of the whole answer."""
        return math.exp(-self.nll * self.tokens)

    @property
    def correct(self) -> bool:
        """Is every token the likeliest where it stands, given the gold tokens before it?"""
        return self.hits == 1


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """One row to be run under one edit, and what is read from it.

    `at` are positions in the stack that answers, `targets` the tokens asked for there, each with the numbers of the
    question and of its token.
    """

    row: Row
    edit: int
    at: tuple[int, ...]
    targets: tuple[tuple[tuple[int, int, int], ...], ...]  # of each position: (token, question, its number there)


_Read = list[tuple[int, int, float, bool]]  # question, number of its token, −ln P, is it the likeliest?


def score(
    model: Model,
    asked: Sequence[Prompt],
    *,
    edits: Sequence[Edit | None] = (None,),
    of: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[Scored]:
    """How likely is each prompt's answer, under `edits[of[i]]` (None: the model as it is)? In order.

    Without `of`, all are asked under the one edit that is given. Ask for before and after in one call, for what an edit
    leaves as it is is then run once for both. Rows of equal length go together, without padding, so a number does not
    depend on what else is asked. Leaves the model as it was. Raises UnaskablePrompt, OtherWeights, BadSetting,
    NotFinite, OutOfMemory.

    >>> import engram as eg
    >>> from engram.models.scoring import score
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The author of Hamlet is [Y]", "Shakespeare")
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> edit = eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1 L1.2")))
    >>> before, after = score(model, [prompt, prompt], edits=[None, edit], of=[0, 1])
    >>> before.tokens, before.probability != after.probability
    (1, True)
    """
    under = whose(asked, edits, of)
    known = {p: model.rows(p) for p in dict.fromkeys(asked)}
    rows = [known[p] for p in asked]
    passes = _passes(model, rows, under)
    nats: list[list[float]] = [[math.nan] * len(mine) for mine in rows]
    first = [[False] * len(mine) for mine in rows]
    done = 0
    with torch.no_grad(), hooks.quiet(model.net), detours.fused(model.net), each_under(model, edits) as holding:
        starts = [lowest(model, e) for e in edits]
        for group in by_shape([(*p.row.shape, len(p.at)) for p in passes]):
            mine = sorted((passes[i] for i in group), key=lambda p: (p.row.ids, p.row.decoder, p.edit))
            size = max(1, rows_within(model, sum(mine[0].row.shape), gradient=False) // len(mine[0].at))
            for read in in_batches(model, mine, size, lambda part: _read(model, part, holding, starts)):
                for question, number, nat, best in read:
                    nats[question][number], first[question][number] = nat, best
            done += len(group)
            if progress is not None:
                progress(done, len(passes))
    return [Scored(sum(n) / len(n), sum(f) / len(f), len(n)) for n, f in zip(nats, first, strict=True)]


def whose(asked: Sequence[object], edits: Sequence[Edit | None], of: Sequence[int] | None) -> list[int]:
    """The number of the edit that each question is asked under. Raises BadSetting."""
    if of is None and len(edits) == 1:
        return [0] * len(asked)
    if of is None or len(of) != len(asked) or not all(0 <= e < len(edits) for e in of):
        said = "nothing" if of is None else f"{len(of)} numbers up to {max(of, default=0)}"
        raise BadSetting(
            f"of says of each of the {len(asked)} questions under which of the {len(edits)} edits it is asked, "
            f"0 to {len(edits) - 1}, not {said}"
        )
    return list(of)


def _passes(model: Model, rows: Sequence[Sequence[Row]], under: Sequence[int]) -> list[_Pass]:
    """Every row once for each edit it is asked under; where later tokens cannot be seen, with those it begins."""
    wanted: dict[tuple[int, Row], dict[int, list[tuple[int, int, int]]]] = {}
    longest: dict[tuple[int, tuple[int, ...], tuple[int, ...]], tuple[int, Row]] = {}
    every = [(e, row, i, j) for i, (e, mine) in enumerate(zip(under, rows, strict=True)) for j, row in enumerate(mine)]
    for e, row, i, j in sorted(every, key=lambda x: -sum(x[1].shape)):
        at = row.at if not row.decoder else len(row.decoder) - 1
        key = e, row.ids, row.decoder
        if key not in longest:
            longest[key] = e, row
            for end in range(at, 0, -1) if row.decoder or model.blank_last else ():
                begun = (e, row.ids, row.decoder[:end]) if row.decoder else (e, row.ids[:end], ())
                if begun in longest:
                    break
                longest[begun] = e, row
        wanted.setdefault(longest[key], {}).setdefault(at, []).append((row.target, i, j))
    return [
        _Pass(row, e, tuple(sorted(at)), tuple(tuple(at[k]) for k in sorted(at))) for (e, row), at in wanted.items()
    ]


def _read(model: Model, part: Sequence[_Pass], holding: Under, starts: Sequence[int]) -> list[_Read]:
    """What the passes say; below the layer of `starts` from which an edit differs, the same sentence once."""
    batch = Batch.of([p.row for p in part], model.device)
    found: list[_Read] = [[] for _ in part]
    for rows, beginning in running_on(model, batch, [starts[p.edit] for p in part]):
        mine = [part[i] for i in rows]
        at = torch.tensor([p.at for p in mine], device=model.device)
        with beginning, holding([p.edit for p in mine]):
            said = _logits(model, batch.take(torch.tensor(rows, device=model.device)), at)
        for i, read in zip(rows, _said(model, mine, said), strict=True):
            found[i] = read
    return found


def _said(model: Model, part: Sequence[_Pass], logits: Tensor) -> list[_Read]:
    """What each pass was asked, from its logits [row, position, vocabulary]."""
    largest, total = logits.max(-1), logits.logsumexp(-1)
    model.finite(largest.values[..., None])
    best = largest.indices.tolist()
    own = [(r, k, t) for r, p in enumerate(part) for k, ts in enumerate(p.targets) for t in ts]
    where = tuple(torch.tensor([(r, k, t[0]) for r, k, t in own], device=logits.device).T)
    nats = (total[where[:2]] - logits[where]).tolist()
    found: list[_Read] = [[] for _ in part]
    for (r, k, (token, i, j)), nat in zip(own, nats, strict=True):
        found[r].append((i, j, nat, best[r][k] == token))
    return found


def _logits(model: Model, batch: Batch, at: Tensor) -> Tensor:
    """What the network says at these positions [row, k] of the stack that answers, at least float32."""
    with hooks.asking(batch.asked), hooks.at_rows(model.head, at):
        said: Tensor = model.net(**batch.inputs, **model.uncached).logits
    if said.shape[1] != at.shape[1]:
        raise HookDidNotFire(f"{model.family.head} of {type(model.net).__name__} was passed by")
    return said.to(model.precise)
