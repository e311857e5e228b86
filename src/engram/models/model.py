"""A Hugging Face network with names for its places. Holds no hooks and no edits of its own."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadSetting, HookDidNotFire, NotFinite, UnsupportedModel
from ..facts import Prompt
from ..neurons import NeuronSet
from . import hooks
from .family import Family, Stack, family_of
from .hooks import Layer
from .questions import Batch, Masks, Row, rows_of

GIB = 2**30


@dataclass(frozen=True, eq=False)
class Model:
    """A network, its tokenizer, and the family that knows its places. Made by `engram.load`.

    `net` and `tokenizer` are the user's own, untouched. `masks` says how a masked model is asked for an answer of
    several tokens; `budget` how many bytes a batch may take beside the weights.

    Raises BadSetting, and UnsupportedModel where the family's places are not there.

    >>> import engram as eg
    >>> model = eg.load()
    >>> model
    Model('engram:masked', bert, 4 layers × 256 neurons)
    >>> model.widths, model.blank_last  # of a causal model, the blank must be last
    ((256, 256, 256, 256), False)
    """

    net: nn.Module
    tokenizer: Any
    family: Family
    name: str = ""
    masks: Masks = "left_to_right"
    budget: int = GIB

    def __post_init__(self) -> None:
        if self.masks not in ("left_to_right", "together"):
            raise BadSetting(f"masks is 'left_to_right' or 'together', not {self.masks!r}")
        if self.budget <= 0:
            raise BadSetting(f"budget is a number of bytes above 0, not {self.budget}")
        if not self.layers:
            raise UnsupportedModel(f"{type(self.net).__name__} has no layers")
        _ = self.head  # a table that names what is not there is told here, not in the middle of a run

    @classmethod
    def wrap(cls, net: nn.Module, tokenizer: Any, *, name: str = "", **options: Any) -> Model:
        """A live network and tokenizer as a Model. Raises UnsupportedModel."""
        return cls(net, tokenizer, family_of(net.config), name or type(net).__name__, **options)

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, bottom to top; of two stacks, the encoder's first."""
        found: list[Layer] = []
        for stack in self.family.stacks:
            for path in _block_paths(self.net, stack):
                block, down = find(self.net, path), find(self.net, f"{path}.{stack.ffn_down}")
                attention = tuple(find(self.net, f"{path}.{part}") for part in stack.attention)
                adds = (
                    find(self.net, f"{path}.{stack.attended}")
                    if stack.attended
                    else attention[0]
                    if attention
                    else None
                )
                found.append(Layer(len(found), block, down, stack.side, f"{path}.{stack.ffn_down}", attention, adds))
        return tuple(found)

    @functools.cached_property
    def widths(self) -> tuple[int, ...]:
        """How many neurons each layer has."""
        return tuple(value_slots(layer.down).shape[0] for layer in self.layers)

    @functools.cached_property
    def head(self) -> nn.Module:
        """The first module behind the stack that works on each position by itself."""
        paths = (self.family.head,) if isinstance(self.family.head, str) else self.family.head
        there = {path for path, _ in self.net.named_modules()}
        return find(self.net, next((path for path in paths if path in there), paths[0]))

    @property
    def config(self) -> Any:
        """The network's configuration; of a network that also sees or hears, that of the part that reads and writes."""
        return self.net.config.get_text_config()  # type: ignore[union-attr, operator]

    @property
    def blank_last(self) -> bool:
        """Must the blank be the last thing in a prompt?"""
        return self.family.asks == "next"

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        device: torch.device = self.net.get_input_embeddings().weight.device  # type: ignore[operator]
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        dtype: torch.dtype = self.net.dtype  # type: ignore[assignment]
        return dtype

    @property
    def precise(self) -> torch.dtype:
        """What is computed beside the network is computed in: float32, or the network's own type if that is wider."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def uncached(self) -> dict[str, Any]:
        """The arguments that tell the network to keep no keys and values."""
        return {} if self.family.asks == "mask" else {"use_cache": False}

    def rows(self, prompt: Prompt) -> list[Row]:
        """One row of tokens per token of the prompt's answer. Raises UnaskablePrompt."""
        return rows_of(prompt, self.tokenizer, self.config, self.family, self.masks)

    def logits(self, batch: Batch, **extra: Any) -> Tensor:
        """What the network says at the asked position of each row. [row, vocabulary], at least float32; may hold NaN.

        `extra` are further arguments for the network.
        """
        given = {**batch.inputs, **self.uncached, **extra}
        with hooks.asking(batch.asked), hooks.at_rows(self.head, batch.answered_at):
            out = self.net(**given).logits
        if out.shape[1] != 1:
            raise HookDidNotFire(f"{self.family.head} of {type(self.net).__name__} was passed by")
        logits: Tensor = out.squeeze(1).to(self.precise)
        return logits

    def finite(self, logits: Tensor) -> Tensor:
        """The same logits, seen to be numbers. Raises NotFinite."""
        if not bool(logits.detach().amax(-1).isfinite().all()):  # of a row with NaN or infinity, that is the largest
            advice = "" if self.dtype == torch.float32 else " Try dtype='float32'."
            raise NotFinite(
                f"{self.name} answers with NaN or infinity at the asked position. Are the weights whole, and is "
                f"{self.dtype} wide enough for this model?{advice}"
            )
        return logits

    def check(self, neurons: NeuronSet) -> None:
        """Do all these neurons exist here? Raises BadSetting."""
        for n in neurons:
            if not (0 <= n.layer < len(self.layers) and 0 <= n.index < self.widths[n.layer]):
                width = self.widths[min(max(n.layer, 0), len(self.layers) - 1)]
                raise BadSetting(
                    f"{self.name} has no neuron {n}: it has layers 0 to {len(self.layers) - 1} of {width} neurons"
                )

    def __repr__(self) -> str:
        width = sorted(set(self.widths))
        return (
            f"Model({self.name!r}, {self.family.name}, {len(self.layers)} layers × {'/'.join(map(str, width))} neurons)"
        )


def find(root: nn.Module, path: str) -> nn.Module:
    """The module at this path. Raises UnsupportedModel."""
    try:
        return root.get_submodule(path)
    except AttributeError as error:
        raise UnsupportedModel(
            f"{type(root).__name__} has no module {path!r} ({error}). Either the family's table is wrong, or this is "
            "not the network with its language-model head (AutoModelForMaskedLM, AutoModelForCausalLM …)"
        ) from None


def value_slots(down: nn.Module) -> Tensor:
    """The weight of an FFN's second map as [neuron, hidden], whichever way the module keeps it.

    A view: writing to it writes to the model.

    Raises UnsupportedModel for a module that keeps no plain matrix.

    >>> import engram as eg
    >>> model = eg.load()
    >>> value_slots(model.layers[3].down).shape
    torch.Size([256, 128])
    """
    down = getattr(down, "base_layer", down)  # a PEFT adapter wraps the map
    weight = down.weight
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise UnsupportedModel(f"{type(down).__name__} keeps no plain matrix (quantised or fused weights?)")
    return weight.data if type(down).__name__ == "Conv1D" else weight.data.T


def _block_paths(net: nn.Module, stack: Stack) -> list[str]:
    entries = [f"{stack.blocks}.{name}" for name, _ in find(net, stack.blocks).named_children()]
    if stack.repeats:
        n = int(net.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        entries = [entries[int(i / (n / len(entries)))] for i in range(n)]
    if not stack.per_block:
        return entries
    return [
        f"{e}.{stack.per_block}.{name}"
        for e in entries
        for name, _ in find(net, f"{e}.{stack.per_block}").named_children()
    ]
