"""What does a neuron write, and where is it active? What the page says of one neuron."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from ...errors import UnsupportedModel
from ...facts import Prompt
from ...metrics import bootstrap
from ...metrics.changes import average
from ...models import Model, holding, value_slots
from ...models.activations import Values, activations
from ...models.batching import Progress
from ...neurons import Neuron, NeuronSet
from ..kept import kept
from ..pooling import short
from ..serving import serving
from .base import KeptIds, View, views

MOST_ACTIVE = 12  # prompts that are shown


class OfOne(View):
    """A question about one neuron, written `L3.17`, under the edits kept by these ids."""

    neuron: Annotated[str, Field(max_length=20)]
    under: KeptIds = Field(default_factory=list)

    def only(self, model: Model) -> Neuron:
        """The neuron. Raises BadSetting where there is none of that name."""
        neuron = Neuron.parse(self.neuron)
        model.check(NeuronSet.of([neuron]))
        return neuron


@views("slot")
class Slot(OfOne):
    """The words that a neuron's value slot raises and lowers most: its row times the unembedding.

    In logits per unit of the neuron's activation, were nothing between the slot and the unembedding: the last
    normalisation, and in BERT the head's own layer, are passed by (Geva et al. 2021, section 4). Raises
    UnsupportedModel where the two have no common width.
    """

    words: Annotated[int, Field(ge=1, le=50)] = 10

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        neuron = self.only(model)
        progress(0, 1)
        with torch.no_grad(), holding(kept.under(self.under, model.name), model):
            slot = value_slots(model.layers[neuron.layer].down)[neuron.index]
            weight = model.net.get_output_embeddings().weight  # type: ignore[operator]
            if weight.shape[-1] != len(slot):
                raise UnsupportedModel(
                    f"the slots of {model.name} are {len(slot)} wide and its unembedding {weight.shape[-1]}: "
                    "what a slot says cannot be read off directly"
                )
            said = (weight.to(model.precise) @ slot.to(weight.device, model.precise)).float().cpu()
        return {"neuron": str(neuron), **{k: self._words(model, sign * said, sign) for k, sign in _ENDS.items()}}

    def _words(self, model: Model, said: torch.Tensor, sign: int) -> list[list[Any]]:
        best = said.topk(min(self.words, len(model.tokenizer), len(said)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [[model.tokenizer.decode([i]).strip() or repr(model.tokenizer.decode([i])), sign * x] for i, x in pairs]

    def python(self, model: str) -> str:
        neuron = Neuron.parse(self.neuron)
        return (
            "import engram as eg\nfrom engram.models import value_slots\n\n"
            f"model = {serving.model_python(model)}\n{kept.python(self.under, model)}"
            "with eg.holding(under, model):\n"
            f"    slot = value_slots(model.layers[{neuron.layer}].down)[{neuron.index}].clone()\n"
            "said = model.net.get_output_embeddings().weight.detach() @ slot  # logits per unit of activation\n"
            f"raises, lowers = said.topk({self.words}), (-said).topk({self.words})\n"
            "top, bottom = ([model.tokenizer.decode([i]) for i in end.indices.tolist()] for end in (raises, lowers))\n"
            'print(top, bottom, sep="\\n")\n'
        )


_ENDS = {"top": 1, "bottom": -1}


@views("activating")
class Activating(OfOne):
    """The prompts of the data set in which a neuron is most active at the blank, and its mean in each relation."""

    each: Annotated[int, Field(ge=2, le=20)] = 10  # facts of a relation

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        neuron = self.only(model)
        prompts = self.prompts(model)
        with holding(kept.under(self.under, model.name), model):
            read = activations(model, prompts, [NeuronSet.of([neuron])] * len(prompts), progress=progress)
        values = np.concatenate(read)
        best = np.argsort(-values, kind="stable")[:MOST_ACTIVE]
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        return {
            "neuron": str(neuron),
            "n": len(prompts),
            "data": serving.data,
            "quantiles": {"0.05": short(low), "0.5": short(middle), "0.95": short(high)},
            "prompts": [
                {
                    "text": prompts[i].text, "answer": prompts[i].answer, "relation": _relation(prompts[i]),
                    "value": float(values[i]),
                }
                for i in best
            ],
            "relations": _relations(prompts, values),
        }  # fmt: skip

    def prompts(self, model: Model) -> list[Prompt]:
        """The first facts of each relation, one prompt for a fact, each in its turn in another template."""
        facts = serving.facts()
        return [
            own[i % len(own)]
            for relation in facts.relations
            for i, fact in enumerate(facts.facts(relation.id)[: self.each])
            if (own := facts.prompts(fact, blank_last=model.blank_last))
        ]

    def python(self, model: str) -> str:
        return (
            "import engram as eg\nfrom engram.models.activations import activations\n\n"
            f"model = {serving.model_python(model)}\n{kept.python(self.under, model)}"
            f"facts = {serving.facts_python}\nprompts = [\n"
            "    own[i % len(own)]\n    for relation in facts.relations\n"
            f"    for i, fact in enumerate(facts.facts(relation.id)[:{self.each}])\n"
            "    if (own := facts.prompts(fact, blank_last=model.blank_last))\n]\n"
            f"neurons = eg.NeuronSet.parse({self.neuron!r})\n"
            "with eg.holding(under, model):\n"
            "    values = [float(x[0]) for x in activations(model, prompts, [neurons] * len(prompts))]\n"
            f"best = sorted(zip(values, prompts), key=lambda pair: -pair[0])[:{MOST_ACTIVE}]\n"
            "rows = [(value, prompt.text, prompt.answer) for value, prompt in best]\n"
            'print(*rows, sep="\\n")\n'
        )


def _relation(prompt: Prompt) -> str:
    return prompt.fact.relation if prompt.fact is not None else ""


def _relations(prompts: list[Prompt], values: Values) -> list[dict[str, Any]]:
    """The mean activation in each relation, largest first, with its 95 % interval over facts."""
    groups: dict[str, list[tuple[Any, float]]] = {}
    for prompt, value in zip(prompts, values, strict=True):
        groups.setdefault(_relation(prompt), []).append((prompt.fact, float(value)))
    rows = []
    for relation, own in groups.items():
        facts, x = [fact for fact, _ in own], [value for _, value in own]
        interval = bootstrap(average, ([*x],), facts)
        rows.append({"relation": relation, "mean": float(np.mean(x)), "n": len(x), "interval": interval})
    return sorted(rows, key=lambda row: -row["mean"])
