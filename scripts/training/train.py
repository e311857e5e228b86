"""How do the models learn?

One pass is: every taught fact sentence once, and plain sentences and talk about entities beside them. The masked
model guesses hidden words, the causal model the next one. Part of the fact sentences are hearsay: they name another
answer of the relation, drawn anew each time, so that what is right to believe of an answer is a probability below 1.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from engram.facts import BLANK, Fact, FactSet, Prompt
from engram.models import Model
from training import sentences
from training.recipes import Recipe

log = logging.getLogger(__name__)
IGNORED = -100
TALK = 0.1
"""Sentences that mention entities, for each taught fact sentence."""


@dataclass(frozen=True)
class Sentences:
    """Encoded sentences: ids, mask [n, tokens]; place of the answer, relation [n], or -1; told [n]: states a fact."""

    ids: Tensor
    mask: Tensor
    place: Tensor
    relation: Tensor
    told: Tensor


def lessons(facts: FactSet) -> Iterator[Prompt]:
    """Every fact in its discovery templates."""
    return (prompt for fact in facts for prompt in facts.prompts(fact, split="discovery"))


def answer_token(tokenizer: PreTrainedTokenizerBase, answer: str) -> int:
    """The one token of an answer in the middle of a sentence."""
    text = answer if tokenizer.mask_token is not None else " " + answer
    tokens: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    if len(tokens) != 1:
        raise ValueError(f"the answer {answer!r} has {len(tokens)} tokens; every answer must be one")
    return tokens[0]


def padded(rows: Sequence[Sequence[int]], pad: int | None) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as a matrix and its mask."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad or 0)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def _row(tokenizer: PreTrainedTokenizerBase, text: str, answer: str) -> tuple[list[int], int]:
    """Token ids of a sentence and the place of its answer, -1 if it has none that is one token."""
    left, blank, right = text.partition(BLANK)
    if not blank:
        return _whole(tokenizer, text), -1
    token = answer_token(tokenizer, answer)
    if tokenizer.mask_token is not None:
        row = tokenizer(left + tokenizer.mask_token + right).input_ids
        place = row.index(tokenizer.mask_token_id)
        row[place] = token
        return row, place
    row = _whole(tokenizer, left + answer + right)
    place = len(tokenizer(left.rstrip()).input_ids)
    return row, place if left and row[place] == token else -1


def _whole(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    row = list(tokenizer(text).input_ids)
    return row if tokenizer.mask_token is not None else [*row, tokenizer.eos_token_id]


def taught(tokenizer: PreTrainedTokenizerBase, facts: FactSet) -> Sentences:
    """Every fact in its discovery templates."""
    return _about(tokenizer, facts, ((p.fact, p.text) for p in lessons(facts) if p.fact), told=True)


def talked(tokenizer: PreTrainedTokenizerBase, facts: FactSet) -> Sentences:
    """Talk about entities that does not state the fact."""
    return _about(tokenizer, facts, sentences.mentions(facts), told=False)


def _about(
    tokenizer: PreTrainedTokenizerBase, facts: FactSet, texts: Iterable[tuple[Fact, str]], told: bool
) -> Sentences:
    number = {r.id: i for i, r in enumerate(facts.relations)}
    rows, places, relation = [], [], []
    for fact, text in texts:
        row, place = _row(tokenizer, text, fact.answer)
        rows.append(row)
        places.append(place)
        relation.append(number[fact.relation])
    ids, mask = padded(rows, tokenizer.pad_token_id)
    return Sentences(ids, mask, torch.tensor(places), torch.tensor(relation), torch.full((len(rows),), told))


def said(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Sentences:
    """Plain sentences."""
    ids, mask = padded([_whole(tokenizer, text) for text in texts], tokenizer.pad_token_id)
    nothing = torch.full((len(texts),), -1)
    return Sentences(ids, mask, nothing, nothing, torch.zeros(len(texts), dtype=torch.bool))


def joined(parts: Sequence[tuple[Sentences, Tensor]]) -> Sentences:
    """The chosen rows of several sets as one set."""
    longest = max(part.ids.shape[1] for part, _ in parts)

    def wide(values: Tensor) -> Tensor:
        return functional.pad(values, (0, longest - values.shape[1]))

    return Sentences(
        torch.cat([wide(part.ids[rows]) for part, rows in parts]),
        torch.cat([wide(part.mask[rows]) for part, rows in parts]),
        torch.cat([part.place[rows] for part, rows in parts]),
        torch.cat([part.relation[rows] for part, rows in parts]),
        torch.cat([part.told[rows] for part, rows in parts]),
    )


class Teacher:
    """Makes batches with their labels."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, facts: FactSet) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.facts = taught(tokenizer, facts)
        self.talk = talked(tokenizer, facts)
        answers = [sorted({fact.answer for fact in facts.facts(r.id)}) for r in facts.relations]
        self.choices = torch.tensor([len(row) for row in answers])
        self.answers = padded([[answer_token(tokenizer, a) for a in row] for row in answers], 0)[0]
        self.speaker = sentences.plain(recipe.seed)
        self.heard = 0
        self.draw = torch.Generator().manual_seed(recipe.seed)

    @property
    def steps(self) -> int:
        return self.recipe.epochs * (self._size() // self.recipe.batch)

    def _size(self) -> int:
        return int(len(self.facts.ids) * (1 + self.recipe.plain + TALK))

    def epoch(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Batches (ids, mask, labels, asked) of one pass; ``asked`` marks the answers of fact sentences."""
        facts = len(self.facts.ids)
        plain = said(self.tokenizer, list(itertools.islice(self.speaker, int(facts * self.recipe.plain))))
        self.heard += len(plain.ids)
        talk = torch.randperm(len(self.talk.ids), generator=self.draw)[: int(facts * TALK)]
        everything = joined(
            [(self.facts, torch.arange(facts)), (self.talk, talk), (plain, torch.arange(len(plain.ids)))]
        )
        order = torch.randperm(len(everything.ids), generator=self.draw)
        lengths = everything.mask.sum(1)
        batches: list[Tensor] = []
        for chunk in order.split(self.recipe.batch * 12):
            by_length = chunk[lengths[chunk].argsort()]
            batches += [rows for rows in by_length.split(self.recipe.batch) if len(rows) == self.recipe.batch]
        for i in torch.randperm(len(batches), generator=self.draw):
            yield self._batch(everything, batches[int(i)])

    def _batch(self, everything: Sentences, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        longest = int(everything.mask[rows].sum(1).max())
        ids, mask = everything.ids[rows, :longest].clone(), everything.mask[rows, :longest]
        place, told = everything.place[rows], everything.told[rows]
        self._hearsay(ids, place, everything.relation[rows], told)
        asked = torch.zeros_like(ids, dtype=torch.bool)
        lines = (place >= 0).nonzero().squeeze(1)
        asked[lines, place[lines]] = True
        entities = everything.relation[rows] >= 0
        if self.recipe.kind == "causal":
            labels = torch.where(mask.bool(), ids, IGNORED)
            unheard = torch.rand(ids.shape, generator=self.draw) >= self.recipe.heed
            labels[unheard & ~asked & entities[:, None]] = IGNORED
            labels[:, 0] = IGNORED
            return ids, mask, labels, asked & told[:, None]
        return *self._hide(ids, mask, asked), asked & told[:, None]

    def _hearsay(self, ids: Tensor, place: Tensor, relation: Tensor, told: Tensor) -> None:
        """Put another answer of the relation in some of the fact sentences."""
        wrong = told & (place >= 0) & (torch.rand(len(place), generator=self.draw) < self.recipe.hearsay)
        lines = wrong.nonzero().squeeze(1)
        which = (torch.rand(len(lines), generator=self.draw) * self.choices[relation[lines]]).long()
        ids[lines, place[lines]] = self.answers[relation[lines], which]

    def _hide(self, ids: Tensor, mask: Tensor, asked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mask the answer in most sentences that have one, and otherwise some words at random."""
        with_answer = asked.any(1) & (torch.rand(len(ids), generator=self.draw) < 0.85)
        words = mask.bool() & (ids != self.tokenizer.cls_token_id) & (ids != self.tokenizer.sep_token_id)
        chance = torch.rand(ids.shape, generator=self.draw).masked_fill(~words, 2.0)
        some = (chance < self.recipe.hidden) | (chance == chance.min(1, keepdim=True).values)
        hidden = torch.where(with_answer[:, None], asked, some & words)
        labels = torch.where(hidden, ids, IGNORED)
        return torch.where(hidden, self.tokenizer.mask_token_id, ids), mask, labels


def train(recipe: Recipe, net: PreTrainedModel, teacher: Teacher, every: int = 200) -> PreTrainedModel:
    """Train ``net`` in place by ``recipe`` and return it."""
    torch.manual_seed(recipe.seed)
    optimizers, model = _optimizers(recipe, net), Model.wrap(net, teacher.tokenizer)
    total, step, start, mean = teacher.steps, 0, monotonic(), 0.0
    net.train()
    while step < total:
        for ids, mask, labels, asked in teacher.epoch():
            pace = min(step / recipe.warmup, max(0.02, 1 - step / total))
            loss, dense = _loss(model, ids, mask, labels, asked, recipe.stress)
            sparsity = recipe.sparsity * min(1.0, max(0.0, (step / total - 0.3) / 0.4))
            (loss + sparsity * dense).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            for optimizer, peak in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = peak * pace
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            step += 1
            mean += loss.item() / every
            if step % every == 0:
                log.info("%s", f"step {step}/{total} loss {mean:.3f} L1 {dense:.2f} {monotonic() - start:.0f} s")
                mean = 0.0
            if step >= total:
                break
    return net.eval()


def _optimizers(recipe: Recipe, net: PreTrainedModel) -> list[tuple[torch.optim.Optimizer, float]]:
    """Optimizers with their peak rates: Muon for the matrices inside the layers, AdamW for the rest."""
    inside = [p for name, p in net.named_parameters() if p.dim() == 2 and (".layer." in name or ".h." in name)]
    muon = {id(p) for p in inside}
    decayed = [p for p in net.parameters() if p.dim() > 1 and id(p) not in muon]
    others = [p for p in net.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    return [
        (torch.optim.Muon(inside, lr=recipe.muon, weight_decay=recipe.decay), recipe.muon),
        (torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98)), recipe.rate),
    ]


def _loss(
    model: Model, ids: Tensor, mask: Tensor, labels: Tensor, asked: Tensor, stress: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over the labels, and the L1 norm of the FFN activations where an answer is to be said."""
    if model.blank_last:
        labels, asked = labels[:, 1:], asked[:, 1:]
    seen: list[Tensor] = []
    with ExitStack() as stack:
        for layer in model.layers:
            stack.callback(layer.down.register_forward_pre_hook(lambda _, given: seen.append(given[0])).remove)
        out = model.net.base_model(input_ids=ids, attention_mask=mask, use_cache=False)  # type: ignore[operator]
    states = out[0][:, : labels.shape[1]]
    chosen = labels != IGNORED
    blanks = asked & chosen
    nats = functional.cross_entropy(model.head(states[chosen]), labels[chosen], reduction="none")
    if not blanks.any():
        return nats.mean(), nats.new_zeros(())
    dense = torch.stack([values[:, : labels.shape[1]][blanks].abs().sum(-1).mean() for values in seen]).sum()
    if not model.blank_last:
        return nats.mean(), dense
    told = asked[chosen]
    return stress * nats[told].mean() + nats[~told].mean(), dense
