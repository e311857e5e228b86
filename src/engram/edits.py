"""What an editor plans: a change of a model's weights as a frozen value. No torch, no model, no open file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BadSetting
from .facts import Relation, Rewrite
from .neurons import Neuron, NeuronSet
from .results import Floats

if TYPE_CHECKING:
    from .models import Model

Wish = Rewrite | Relation | tuple[Rewrite, ...]  # a fact with another answer (or several), or a relation to be erased
"""A fact with another answer (or several such), or a relation to be erased."""
Wishes = Wish | tuple[Rewrite | Relation, ...]  # what edits that were put together were to achieve


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """The value slot of one neuron, `before` and `after` the edit, [hidden] each.

    `dtype` is what the model keeps it in. numpy has no bfloat16, so such numbers are kept as float32, which holds each
    of them exactly: written back, they are the same to the last bit. The arrays are copies, and read-only. Two slots
    are equal where they agree to the last bit. Raises BadSetting where the two are not vectors of one length.
    """

    neuron: Neuron
    before: Floats
    after: Floats
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            kept = np.array(getattr(self, name))
            kept.setflags(write=False)
            object.__setattr__(self, name, kept)
        if self.before.ndim != 1 or self.before.shape != self.after.shape or self.before.dtype != self.after.dtype:
            said = " and ".join(f"{x.dtype} {x.shape}" for x in (self.before, self.after))
            raise BadSetting(f"a value slot is a vector before and one of the same form after, not {said}")

    @property
    def layer(self) -> int:
        """Of the neuron."""
        return self.neuron.layer

    @property
    def index(self) -> int:
        """Of the neuron in its layer."""
        return self.neuron.index

    def _bits(self) -> tuple[object, ...]:
        return self.neuron, self.dtype, self.before.dtype.str, self.before.tobytes(), self.after.tobytes()

    def __eq__(self, other: object) -> bool:
        return self._bits() == other._bits() if isinstance(other, Slot) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._bits())

    def __reduce__(self) -> tuple[object, ...]:  # so that the copy's arrays are read-only too
        return type(self), (self.neuron, self.before, self.after, self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """A change of low rank of all value slots of one layer: `keys` [rank, neuron] and `values` [rank, hidden].

    The slots, [neuron, hidden], become `slots + keysᵀ · values`, computed in float32 or wider and rounded to `dtype`,
    what the model keeps them in. `before` is the SHA-256 of the slots' numbers as they were, row after row. The arrays
    are copies, and read-only. Raises BadSetting where keys and values are not of one rank.
    """

    layer: int
    keys: Floats
    values: Floats
    before: str
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("keys", "values"):
            kept = np.array(getattr(self, name), np.float32)
            kept.setflags(write=False)
            object.__setattr__(self, name, kept)
        if self.keys.ndim != 2 or self.values.ndim != 2 or len(self.keys) != len(self.values) or not len(self.keys):
            raise BadSetting(
                "keys are [rank, neuron] and values [rank, hidden] with one rank, not "
                f"{self.keys.shape} and {self.values.shape}"
            )

    @property
    def rank(self) -> int:
        """At most, of the change."""
        return len(self.keys)

    def _bits(self) -> tuple[object, ...]:
        arrays = (self.keys, self.values)
        return self.layer, self.before, self.dtype, *(x.shape for x in arrays), *(x.tobytes() for x in arrays)

    def __eq__(self, other: object) -> bool:
        return self._bits() == other._bits() if isinstance(other, LowRank) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._bits())

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.layer, self.keys, self.values, self.before, self.dtype)


Patch = Slot | LowRank


@dataclass(frozen=True, slots=True)
class Place:
    """Where does a network keep a layer's value slots?

    In the weight of the map at `path`, a module of this `kind` ("Linear", "Conv1D" …); they are `neurons` vectors of
    `hidden` numbers. `tied` are the paths of other maps that have the same weight.
    """

    layer: int
    path: str
    kind: str
    neurons: int
    hidden: int
    tied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """Which network was an edit planned on, and where are the layers that it changes?

    `kind` is its class and `library` the module of that; `source` is the path or hub id from which it was loaded and
    `revision` its commit there, where they are known; `asks` is how its family is asked ("mask", "next" …).
    """

    kind: str
    library: str
    source: str | None
    revision: str | None
    asks: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """A planned change of some weights, made from exactly those weights. Nothing has changed yet.

    `method` is the editor's name and `settings` are its settings, `wish` what it was to achieve, `model` the model it
    was planned on, and `patches` which value slots become what, one by one or a layer's together. An edit is held like
    an intervention: `eg.ask(…, under=edit)`, `with eg.holding(edit, model):`. It is undone from copies, to the last
    bit, and refused (OtherWeights) where a slot is not bit for bit what the edit was made from.

    >>> import engram as eg
    >>> model, prompt = eg.load(), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> edit = eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1 L1.2")))
    >>> print(edit)
    erasure of ⟨Hamlet, author, Shakespeare⟩: {L0.1, L1.2}
    >>> answer, = eg.ask(model, prompt, under=edit)
    """

    method: str
    wish: Wishes
    patches: tuple[Patch, ...]
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    network: Network | None = field(default=None, repr=False)

    @property
    def neurons(self) -> NeuronSet:
        """Whose value slots it changes one by one."""
        return NeuronSet(frozenset(p.neuron for p in self.patches if isinstance(p, Slot)))

    @property
    def layers(self) -> tuple[int, ...]:
        """In which layers it changes something, in order."""
        return tuple(sorted({p.layer for p in self.patches}))

    def save(self, folder: str | Path) -> None:
        """Keep the edit in a folder, as a plain LoRA adapter that PEFT and transformers load without engram.

        The folder is whole or not there; one that holds an edit already is replaced. Raises BadSetting, BadData, and
        UnsupportedModel where the network's maps are not such that PEFT can adapt them.

        >>> import engram as eg, tempfile
        >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
        >>> edit = eg.rewrite(eg.load(), wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1 L1.2")))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     edit.save(f"{folder}/hamlet")
        ...     eg.Edit.load(f"{folder}/hamlet") == edit
        True
        """
        from .models.adapters import save  # heavy: torch

        save(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Edit:
        """The edit that was saved in this folder, the same to the last bit. Raises BrokenCheckpoint."""
        from .models.adapters import load  # heavy: torch

        return load(folder)

    def scaled(self, by: float) -> Edit:
        """The same change `by` times as large: 0 is none at all, 1 the edit itself, −1 goes the other way.

        A slot becomes before + by · (after − before), rounded to what it is kept in. `settings` say `scaled`, and have
        the settings and the audit of the edit as it was planned under `of`. Raises BadSetting, and EditConflict where
        one of its changes was made from what another of them leaves.

        >>> import engram as eg
        >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
        >>> edit = eg.rewrite(eg.load(), wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1")))
        >>> half = edit.scaled(0.5)
        >>> bool((half.patches[0].after == edit.patches[0].before / 2).all()), half.settings["scaled"]
        (True, 0.5)
        """
        from .models.merging import scaled  # heavy: torch, which knows bfloat16

        return scaled(self, by)

    def export(self, folder: str | Path, model: Model | str | Path | None = None) -> None:
        """Write a whole checkpoint with this change in its weights, and the tokenizer, into a new folder.

        `model` is what it was planned on, or where that lies; None: where the edit says it lies. The model itself stays
        as it is. What transformers loads from there is bit for bit the model with the edit held. The folder is whole or
        not there. Raises BadSetting, OtherWeights, BadData, UnsupportedModel, and what `load` raises.

        >>> import engram as eg, tempfile
        >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
        >>> edit = eg.rewrite(eg.load(), wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1 L1.2")))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     edit.export(f"{folder}/without")
        ...     eg.load(f"{folder}/without").family.name
        'bert'
        """
        from .models.adapters import exported  # heavy: torch

        exported(self, folder, model)

    def push_to_hub(self, repo_id: str, *, base_model: str | None = None, **how: Any) -> str:
        """Put the adapter, `edit.json` and a model card into a repository of the Hugging Face hub; says where it is.

        `base_model` is the hub id of the model that it is for; left out, it is what the edit knows, but for a path of
        this machine. `private` and `token` are for creating the repository, the rest of `how` (`revision`,
        `commit_message`, `create_pr` …) goes to `huggingface_hub.upload_folder`. Raises as `save`, BadSetting for a
        name that no repository can have, and BadData where the hub cannot be reached or refuses.
        """
        from .models.hub import push  # heavy: torch

        return push(self, repo_id, base_model=base_model, **how)

    def __str__(self) -> str:
        whole = [f"rank {p.rank} in layer {p.layer}" for p in self.patches if isinstance(p, LowRank)]
        return (
            f"{self.method} of {said(self.wish)}: {', '.join([*([str(self.neurons)] if self.neurons else []), *whole])}"
        )


def said(wish: Wishes) -> str:
    """The wish in a few words.

    >>> from engram.facts import Fact
    >>> said(Fact("Ireland", "P36", "Dublin").becoming("Cork"))
    '⟨Ireland, P36, Dublin⟩ → Cork'
    """
    if isinstance(wish, Relation):
        return f"the relation {wish.id}"
    if isinstance(wish, Rewrite):
        return str(wish.fact) + (f" → {wish.answer}" if wish.answer is not None else "")
    return ", ".join(map(said, wish))
