"""How active are given neurons at the blank of given prompts?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UnaskablePrompt
from ..facts import BLANK, Prompt
from ..neurons import NeuronSet
from . import hooks
from .batching import Progress, by_shape, in_batches, rows_within
from .hooks import Change, Layer
from .model import Model
from .questions import Batch, Row

Values = NDArray[np.float32]


def slot_row(model: Model, prompt: Prompt) -> Row:
    """What the network reads when the whole blank is one slot, whatever stood there and in however many tokens.

    A masked model gets one mask. A causal one gets the text before the blank, and is asked at its last token; what
    stands behind the blank it does not see. Of two stacks, the encoder gets one mask or sentinel, and the decoder is
    asked for the first token of the blank. Raises UnaskablePrompt.

    >>> import engram as eg
    >>> from engram.models.activations import slot_row
    >>> model = eg.load()
    >>> row = slot_row(model, eg.Prompt("The [Y] sings in the garden.", "old nightingale"))
    >>> model.tokenizer.convert_ids_to_tokens(row.ids[:4]), row.at
    (['[CLS]', 'The', '[MASK]', 'sings'], 2)
    """
    if model.blank_last:
        before = prompt.text.split(BLANK)[0]
        if not before.strip():
            raise UnaskablePrompt(f"there is nothing before the blank to read: {prompt.text!r}")
        return model.rows(replace(prompt, text=before + BLANK))[0]
    words = model.tokenizer
    stand_in = words.eos_token if model.family.asks == "sentinel" else words.mask_token
    return model.rows(replace(prompt, answer=stand_in or prompt.answer, against=None))[0]


def activations(
    model: Model, prompts: Iterable[Prompt], neurons: Iterable[NeuronSet], *, progress: Progress | None = None
) -> list[Values]:
    """The activation of neurons at the blank: for each prompt an array with a value for each neuron of its set.

    The value is what goes into the FFN's second map at that position (see `slot_row`); the order is that of the set.
    Prompts of equal length go through the network together, without padding. Leaves the model as it was. Raises
    UnaskablePrompt, NotFinite, OutOfMemory, and BadSetting for a neuron that is not there.

    >>> import engram as eg
    >>> from engram.models.activations import activations
    >>> (values,) = activations(eg.load(), [eg.Prompt("It is [Y].", "late")], [eg.NeuronSet.parse("L0.1 L3.7")])
    >>> values.shape
    (2,)
    """
    rows = [slot_row(model, p) for p in prompts]
    wanted = list(neurons)
    for distinct in dict.fromkeys(wanted):
        model.check(distinct)
    found: list[Values] = [np.zeros(0, np.float32)] * len(rows)
    done = 0
    with torch.no_grad(), hooks.quiet(model.net):
        for group in by_shape([row.shape for row in rows]):
            size = rows_within(model, sum(rows[group[0]].shape), gradient=False)
            pairs = [(rows[i], wanted[i]) for i in group]
            for i, values in zip(group, in_batches(model, pairs, size, lambda part: _read(model, part)), strict=True):
                found[i] = values
            done += len(group)
            if progress is not None:
                progress(done, len(rows))
    return found


def _read(model: Model, pairs: Sequence[tuple[Row, NeuronSet]]) -> list[Values]:
    batch = Batch.of([row for row, _ in pairs], model.device)
    layers = {n.layer for _, neurons in pairs for n in neurons}
    seen: dict[int, Tensor] = {}

    def keeping(layer: Layer) -> Change:
        def keep(x: Tensor) -> Tensor:
            at = batch.asked.at[layer.side].to(x.device)
            seen[layer.index] = x[torch.arange(len(at), device=x.device), at].float().cpu()
            return x

        return keep

    with hooks.rewriting(model.net, model.layers, {i: keeping(model.layers[i]) for i in layers}):
        model.finite(model.logits(batch))
    return [
        np.array([seen[n.layer][row, n.index].item() for n in neurons], np.float32)
        for row, (_, neurons) in enumerate(pairs)
    ]
