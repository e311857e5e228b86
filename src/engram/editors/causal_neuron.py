"""Wen & Bai's causal neuron edit: find where the answer comes back, and change the model there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..edits import Edit, Slot, Wish
from ..errors import AnswerNotWritable, BadSetting, UnknownName
from ..facts import Prompt, Rewrite
from ..interventions.steered import Steered
from ..models import Model, ask
from ..models.editing import slots_of
from ..models.questions import Batch
from ..neurons import Neuron, NeuronSet
from ..tracers import CausalTracing, UnitMediation, mediate, trace
from ..tracers.base import Corrupting
from ..traces import Trace, turned
from .base import Editor, edited, editors, question
from .knowledge_surgery import KnowledgeSurgery
from .rome import ROME
from .vectors import Embedding, embedding, token

Reading = Literal["cma_kn", "site_steer", "rome_at_cma", "published"]
_FIELD = CausalTracing(kind="ffn", window=1)
_PUBLISHED = CausalTracing(kind="block", samples=10, noise=0.1, rng="rome", answers="argmax")


@dataclass(frozen=True, slots=True)
class Site:
    """A token of the prompt's first row and a layer; the trace that found it, None where it was given."""

    token: int
    layer: int
    trace: Trace | None = None

    @property
    def said(self) -> dict[str, Any]:
        """For an edit's settings; the effect in the unit of the trace's metric."""
        where: dict[str, Any] = {"token": self.token, "layer": self.layer}
        if self.trace is None:
            return {**where, "found": "given"}
        t = self.trace
        written = t.tokens[self.token]
        about = {"effect": float(t.effect[self.token, self.layer]), "total": t.total, "of": t.answer}
        return {**where, "found": "traced", "written": written, **about, "tracing": dict(t.settings)}


@editors("causal_neuron")
@dataclass(frozen=True, slots=True)
class CausalNeuron(Editor):
    """Rewrite a fact at the one site that brings its answer back: the argmax of a causal trace over tokens × layers.

    `site` is (token of the prompt's row, layer), or None to find it by `tracing` the fact's own answer with its subject
    corrupted (None: `CausalTracing(kind="ffn", window=1)`). The paper changes the hidden state there and its code a row
    of weights, of another place; each reading has a name:

    "cma_kn": the `units` neurons of the site's layer with the largest effects of their own at the site's token (exact,
    `eg.mediate`; fewer where fewer have one above 0) get the new answer into their value slots, as in
    `KnowledgeSurgery`: each slot loses `remove` and gains `add` times its own length of the two answers' embeddings.
    "rome_at_cma": `ROME` whose layer and token are the site; `rome` has its other settings, and its `covariance` may be
    a mapping from layers. "site_steer": no weight changes; `steer` plans an intervention. "published": what the
    committed code does, see `_as_published`; known to fail.

    An edit under which the new answer is to the last bit as probable as before is refused ("published": told in its
    settings). Answers must be one token each, but for ROME. Raises BadSetting, UnknownName, NoSubject, UnaskablePrompt,
    AnswerNotWritable, UnsupportedModel, NotFinite.

    >>> CausalNeuron().remove, CausalNeuron().add
    (1.0, 8.0)
    """

    name: ClassVar[str] = "causal_neuron"
    reading: Reading = "cma_kn"
    site: tuple[int, int] | None = None
    units: int = 5
    remove: float = 1.0
    add: float = 8.0
    embedding: Embedding = "input"
    tracing: CausalTracing | None = None
    rome: ROME | None = None

    def __post_init__(self) -> None:
        if self.reading not in get_args(Reading):
            raise UnknownName("reading of CausalNeuron", str(self.reading), get_args(Reading))
        if self.embedding not in get_args(Embedding):
            raise UnknownName("embedding", self.embedding, get_args(Embedding))
        if self.units < 1 or not all(map(math.isfinite, (self.remove, self.add))):
            raise BadSetting(
                f"units is from 1 up, remove and add finite, not {self.units}, {self.remove} and {self.add}"
            )
        if self.site is not None and (len(self.site) != 2 or min(self.site) < 0):
            raise BadSetting(f"a site is (token, layer), both from 0 up, not {self.site}")
        if (self.reading == "rome_at_cma") != (self.rome is not None):
            raise BadSetting(
                "rome_at_cma takes ROME's settings, the covariance among them, and no other reading does: "
                "CausalNeuron('rome_at_cma', rome=ROME(layer=0, covariance=…)); its layer is found"
            )
        if self.tracing is not None and (self.reading == "published" or self.tracing.kind != "ffn"):
            raise BadSetting("a causal neuron is looked for with kind='ffn'; 'published' has a tracing of its own")

    def plan(self, model: Model, wish: Wish, prompt: Prompt | None = None) -> Edit:
        if self.reading == "site_steer":
            raise BadSetting("site_steer changes no weights, so it is no edit: CausalNeuron('site_steer').steer(…)")
        new, where = question(self, wish, prompt)
        site = self._site(model, new, where)
        if self.reading == "published":
            return self._as_published(model, new, where, site)
        edit, units = self._planned(model, new, where, site)
        audit = _audit(model, edit, where.asking_for(str(new.answer)))
        _moved(audit["probability"], f"this edit at {site.token, site.layer}")
        return self._named(edit, site, units, audit)

    def steer(self, model: Model, wish: Wish, prompt: Prompt | None = None) -> Steered:
        """What would the FFN at the site have to write more? An intervention at the site's token; no weight changes.

        The new answer's embedding `add` times, less the old one's `remove` times, each of length 1, in lengths of what
        the FFN writes there by itself. Where the site is the asked position it holds for every prompt, else for prompts
        whose token of that number is the one that was meant. Raises as `rewrite` does.

        >>> import engram as eg
        >>> wish = eg.Fact("Ireland", "capital", "Dublin").becoming("Paris")
        >>> prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
        >>> CausalNeuron("site_steer", site=(5, 3)).steer(eg.load("engram:causal"), wish, prompt).at
        'blank'
        """
        if self.reading != "site_steer":
            raise BadSetting(f"{self.reading} plans an edit, with eg.rewrite; CausalNeuron('site_steer') steers")
        new, where = question(self, wish, prompt)
        old_new = [embedding(model, t, self.embedding) for t in _tokens(model, new, where)]
        site = self._site(model, new, where)
        out, into = (e / e.norm() for e in old_new)
        asked = where.asking_for(str(new.answer))
        at: str | int = "blank" if site.token == model.rows(asked)[0].at else site.token
        steer = Steered(site.layer, tuple((self.add * into - self.remove * out).tolist()), at)
        probability = dict(zip(("before", "after"), _probable(model, asked, None, steer), strict=True))
        _moved(probability, f"steering at {site.token, site.layer}")
        return steer

    def _site(self, model: Model, new: Rewrite, where: Prompt) -> Site:
        if self.site is not None:
            slots_of(model, self.site[1])  # is there such a layer?
            return Site(*self.site)
        by = _PUBLISHED if self.reading == "published" else self.tracing or _FIELD
        found = trace(model, where.asking_for(new.fact.answer), subject=new.fact.subject, by=by)
        if self.reading != "published" and not turned(found.metric) * found.effect[found.peak] > 0:
            raise BadSetting(
                f"no site of {model.name} brings {found.answer!r} back when {new.fact.subject!r} is corrupted (total "
                f"effect {found.total:.3g}), so there is no causal neuron: give a site, or another prompt"
            )
        return Site(*found.peak, found)

    def _planned(self, model: Model, new: Rewrite, where: Prompt, site: Site) -> tuple[Edit, list[tuple[int, float]]]:
        """The edit, and the neurons that it changes with their effects, best first (ROME's changes no single ones)."""
        if self.reading == "rome_at_cma" and self.rome is not None:
            given = self.rome.covariance
            if isinstance(given, Mapping) and site.layer not in given:
                raise BadSetting(f"the site is in layer {site.layer}, and covariances are of layers {sorted(given)}")
            covariance = given[site.layer] if isinstance(given, Mapping) else given
            by = replace(self.rome, layer=site.layer, token=site.token, covariance=covariance)
            return by.plan(model, new, where), []
        _tokens(model, new, where)  # dear work only where the answers can be written into slots
        units = self._units(model, new, where, site)
        neurons = NeuronSet.of((site.layer, i) for i, _ in units)
        surgery = KnowledgeSurgery(neurons, self.remove, self.add, scaled=True, embedding=self.embedding)
        return surgery.plan(model, new, where), units

    def _units(self, model: Model, new: Rewrite, where: Prompt, site: Site) -> list[tuple[int, float]]:
        """The neurons of the site's layer that alone bring most of the answer back, best first, and how much."""
        own = self.tracing or _FIELD
        same = {name: getattr(own, name) for name in Corrupting.__dataclass_fields__}
        by = UnitMediation(**same, layer=site.layer, token=site.token, first_order=False, best=(), draws=0)
        found = mediate(model, where.asking_for(new.fact.answer), subject=new.fact.subject, by=by)
        back = turned(found.metric) * found.scores
        best = [int(i) for i in np.argsort(-back, kind="stable")[: self.units] if back[i] > 0]
        if not best:
            raise BadSetting(f"no neuron of layer {site.layer} brings the answer back alone, at token {site.token}")
        return [(i, float(found.scores[i])) for i in best]

    def _as_published(self, model: Model, new: Rewrite, where: Prompt, site: Site) -> Edit:
        """The edit that Wen & Bai's committed code makes, as far as it can be known.

        What it traces is what leaves whole blocks, for the word that the model says first (which may be neither
        answer), with noise of 0.1 from RandomState(1). The peak, [token, layer], goes to a function that takes
        [layer, neuron]: so the row is that of block *token*, and its number is the *layer*. From this value slot
        2 · e(what the model says first) is taken, and e is added once for each piece of the new answer, written without
        the space before it. Not reproduced: that the code as committed stops before it edits (a missing comma, a list
        for a text); that its subject may be found by letters. Raises BadSetting where the token is no block's number,
        at which that code stops too.
        """
        if site.token >= len(model.layers):
            raise BadSetting(
                f"as published, token {site.token} is taken for a layer and layer {site.layer} for a neuron: "
                f"{model.name} has no layer {site.token}, and the published code stops there"
            )
        (row, *_) = model.rows(where.asking_for(new.fact.answer))
        with torch.no_grad():
            first = int(model.finite(model.logits(Batch.of([row], model.device)))[0].argmax())
        pieces = model.tokenizer(str(new.answer).strip(), add_special_tokens=False)["input_ids"]
        if not pieces:
            raise AnswerNotWritable(f"the tokenizer writes no token for {new.answer!r}")
        out, into = embedding(model, first, "input"), sum(embedding(model, int(i), "input") for i in pieces)

        def change(_neuron: Neuron, v: Tensor) -> Tensor:
            return v - 2 * out + into

        confused = Neuron(site.token, site.layer)
        edit = edited(self, model, new, NeuronSet.of([confused]), change)
        audit = _audit(model, edit, where.asking_for(str(new.answer)))
        words = model.tokenizer.convert_ids_to_tokens([first, *pieces])
        about = {"removed": words[0], "added": words[1:], "as_published": f"{confused} for {site.token, site.layer}; "
                 "as published, and known to fail"}  # fmt: skip
        return self._named(edit, site, [], {**about, **audit})

    def _named(self, edit: Edit, site: Site, units: list[tuple[int, float]], audit: Mapping[str, Any]) -> Edit:
        own: dict[str, Any] = {"reading": self.reading, "site": site.said}
        if self.reading == "cma_kn":
            factors = {"remove": self.remove, "add": self.add, "embedding": self.embedding}
            own |= {**factors, "units": [list(x) for x in units]}
        if self.reading == "rome_at_cma":
            own = {**edit.settings, **own}
        if "rounding" in edit.settings:
            own["rounding"] = edit.settings["rounding"]
        return replace(edit, method=self.name, settings={**own, **audit})


def _tokens(model: Model, new: Rewrite, where: Prompt) -> list[int]:
    """The one token of the old answer, and that of the new one. Raises AnswerNotWritable."""
    return [token(model, where.asking_for(str(x))) for x in (new.fact.answer, new.answer)]


def _probable(model: Model, asked: Prompt, *under: object) -> list[float]:
    return [ask(model, asked, under=x)[0].probability for x in under]


def _moved(probability: Mapping[str, float], what: str) -> None:
    if probability["before"] == probability["after"]:
        raise BadSetting(
            f"{what} changes nothing: the new answer is to the last bit as probable as before "
            f"({probability['before']:.6g}). Is there a path from this site to the answer?"
        )


def _audit(model: Model, edit: Edit, asked: Prompt) -> dict[str, Any]:
    """How far did the layer's slots move, as part of their length, and the new answer with them?"""
    before, after = _probable(model, asked, None, edit)
    found: dict[str, Any] = {"probability": {"before": before, "after": after}}
    slots = [p for p in edit.patches if isinstance(p, Slot)]
    if slots:
        moved = math.fsum(float(np.square(p.after.astype(float) - p.before).sum()) for p in slots)
        whole = float(slots_of(model, edit.layers[0]).double().norm())
        found["size"] = math.sqrt(moved) / whole if whole else math.inf
    return found
