"""The second moments of a layer's keys: which directions of its neurons does ordinary text use, and how much?

A key is what goes into an FFN's second map at one token: the values of all neurons of the layer. C is the mean of
k·kᵀ over the tokens of ordinary text. Whoever writes a new value at a key k writes along C⁻¹k, which disturbs what is
said of other text least (Meng et al. 2022, section 3.1; Meng et al. 2023, section 4.2). They count articles; here
tokens are counted.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadSetting, UnsupportedModel
from ..facts import Prompt
from ..results import Floats
from .batching import Progress
from .identity import tokenizer_of, weights_of
from .keys import STRIP, Sums
from .model import GIB, Model
from .windows import LONGEST, Window, longest_window, windows

FORM = 1  # of how keys are drawn and summed: another number, other moments


@dataclass(frozen=True, eq=False)
class Moments:
    """C = mean of k·kᵀ over `count` keys of one layer: `matrix` [neuron, neuron], float64, symmetric.

    `source` says where they are from: checksums of texts, weights and tokenizer, how many tokens were asked for, the
    seed. The matrix is not copied (it is large); it is seen here read-only. Two are equal where they agree to the last
    bit. Raises BadSetting where it is not square or no key was counted.

    >>> import numpy as np
    >>> Moments(0, np.diag([1.0, 4.0]), count=8).solve(torch.tensor([1.0, 8.0]), ridge=0)
    tensor([1., 2.], dtype=torch.float64)
    """

    layer: int
    matrix: Floats
    count: int
    source: Mapping[str, Any] = field(default_factory=dict)
    _factor: dict[float, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        kept = np.asarray(self.matrix, np.float64).view()
        kept.setflags(write=False)
        object.__setattr__(self, "matrix", kept)
        if kept.ndim != 2 or kept.shape[0] != kept.shape[1] or not len(kept) or self.count < 1:
            raise BadSetting(f"second moments are [neuron, neuron] of at least 1 key, not {kept.shape} of {self.count}")

    @property
    def neurons(self) -> int:
        """How many the layer has."""
        return len(self.matrix)

    @functools.cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """The eigenvalues from the smallest up, [neuron], and their vectors in columns, [neuron, neuron]: float64.

        Found once: it takes long where there are many neurons, and is as large as C. Raises BadSetting.

        >>> import numpy as np
        >>> Moments(0, np.diag([4.0, 1.0]), count=8).spectrum[0]
        tensor([1., 4.], dtype=torch.float64)
        """
        if not np.isfinite(self.matrix).all():
            raise BadSetting(f"C of layer {self.layer} holds NaN or infinity")
        sizes, vectors = torch.linalg.eigh(torch.tensor(self.matrix))
        return sizes, vectors

    def added(self, ridge: float) -> float:
        """How much a ridge adds to each number of the diagonal: this share of the diagonal's mean."""
        return ridge * float(np.trace(self.matrix)) / self.neurons

    def solve(self, x: Tensor | Floats, ridge: float = 1e-3) -> Tensor:
        """(C + `ridge` · mean of the diagonal)⁻¹ x by Cholesky, for x [..., neuron]: float64, on the CPU.

        The ridge stands for what so few keys leave open; `added` says how large it is. Warns where there are fewer
        keys than neurons, for then C alone cannot be inverted. Raises BadSetting where the sum is not positive
        definite to float64's accuracy, or anything is not a number.
        """
        given = (x.detach() if isinstance(x, Tensor) else torch.tensor(x)).to("cpu", torch.float64)
        if given.shape[-1:] != (self.neurons,) or not bool(given.isfinite().all()):
            raise BadSetting(
                f"layer {self.layer} has {self.neurons} neurons: x is [..., {self.neurons}] of finite numbers, "
                f"not {tuple(given.shape)}{'' if bool(given.isfinite().all()) else ' with NaN or infinity'}"
            )
        if ridge not in self._factor:
            root = self._root(ridge)
            self._factor.clear()  # one is as large as C
            self._factor[ridge] = root
        found: Tensor = torch.cholesky_solve(given.reshape(-1, self.neurons).T, self._factor[ridge]).T
        return found.reshape(given.shape)

    def _root(self, ridge: float) -> Tensor:
        """[neuron, neuron], lower."""
        if not 0 <= ridge < float("inf"):
            raise BadSetting(f"ridge is a share of the mean of the diagonal, 0 or more, not {ridge}")
        said = f"C of layer {self.layer}, of {self.count} keys of {self.neurons} neurons, with {self.added(ridge):.3g}"
        said += f" on its diagonal (a ridge of {ridge:g})"
        if not np.isfinite(self.matrix).all():
            raise BadSetting(f"{said} holds NaN or infinity")
        if self.count < self.neurons:
            warnings.warn(f"{said}: fewer keys than neurons, so the ridge decides", RuntimeWarning, stacklevel=3)
        whole = torch.tensor(self.matrix)
        whole.diagonal().add_(self.added(ridge))
        root: Tensor
        root, failed = torch.linalg.cholesky_ex(whole)
        size = root.diagonal()
        worst = float(size.min() / size.max()) ** 2  # at least as large as the smallest share of an eigenvalue
        if int(failed) or not worst > self.neurons * float(np.finfo(np.float64).eps):
            raise BadSetting(f"{said} is not positive definite: take a larger ridge, or more tokens")
        return root

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Moments):
            return NotImplemented
        same = (self.layer, self.count, dict(self.source)) == (other.layer, other.count, dict(other.source))
        return same and self.matrix.shape == other.matrix.shape and self.matrix.tobytes() == other.matrix.tobytes()

    def __hash__(self) -> int:
        return hash((self.layer, self.count, self.matrix.shape))

    def __reduce__(self) -> tuple[object, ...]:  # so that the copy's matrix is read-only too
        return type(self), (self.layer, self.matrix, self.count, dict(self.source))


@dataclass(frozen=True, slots=True)
class Cost:
    """What second moments will take: `gflop` of network and products, `seconds` as measured, `gib` for the sums.

    `probe` is how many tokens were run to measure it.

    >>> print(Cost(100_000, (5,), 40_000.0, 840.0, 0.25, 512))
    100,000 tokens, layer 5: 40,000 GFLOP, about 14 min here (measured on 512 tokens), 0.25 GiB for the sums
    """

    tokens: int
    layers: tuple[int, ...]
    gflop: float
    seconds: float
    gib: float
    probe: int

    def __str__(self) -> str:
        where = f"layer{'s' * (len(self.layers) > 1)} {', '.join(map(str, self.layers))}"
        if len(self.layers) > 3:
            where = f"{len(self.layers)} layers"
        took = f"{self.seconds / 60:,.0f} min" if self.seconds >= 90 else f"{self.seconds:.2g} s"
        work = f"{self.gflop:,.0f}" if self.gflop >= 10 else f"{self.gflop:.2g}"
        return (
            f"{self.tokens:,} tokens, {where}: {work} GFLOP, about {took} here (measured on {self.probe} tokens), "
            f"{self.gib:.2g} GiB for the sums"
        )


def asked_moments(
    model: Model, prompts: Iterable[Prompt], layers: Sequence[int] | None = None, *, progress: Progress | None = None
) -> dict[int, Moments]:
    """The second moments of the keys where these prompts are asked, one key each: what an edit there disturbs.

    Keys at which answers are told are much alike, and unlike those of ordinary text. So an edit at the asked token that
    is to leave other facts alone wants their keys, not those of text. Raises as `second_moments`, and UnaskablePrompt.

    >>> import engram as eg
    >>> facts = eg.data.shipped()
    >>> prompts = [p for f in facts.facts("capital")[:3] for p in facts.prompts(f, blank_last=True, limit=2)]
    >>> asked_moments(eg.load("engram:causal"), prompts, [0])[0].count
    6
    """
    wanted, rows = checked(model, layers), [model.rows(p)[0] for p in prompts]
    if not rows:
        raise BadSetting("second moments of keys that are asked take at least one prompt")
    if any(row.decoder for row in rows):
        raise UnsupportedModel(f"{model.name} has two stacks: second moments where it is asked are not summed there")
    sums = Sums(model, wanted)
    sums.read([Window(row.ids, (row.at,)) for row in rows], progress)
    said = json.dumps([list(row.ids) for row in rows]).encode()
    source = {
        "form": FORM, "asked": hashlib.sha256(said).hexdigest(), "prompts": len(rows), "weights": weights_of(model),
        "tokenizer": tokenizer_of(model), "family": model.family.name, "dtype": str(model.dtype).removeprefix("torch."),
    }  # fmt: skip
    return {i: Moments(i, sums.mean(i, len(rows)), len(rows), {**source, "layer": i}) for i in wanted}


def source_of(model: Model, corpus: Sequence[str], tokens: int, seed: int) -> dict[str, Any]:
    """What second moments depend on, but for the layer, in plain values."""
    said = json.dumps(list(corpus), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return {
        "form": FORM, "texts": hashlib.sha256(said).hexdigest(), "weights": weights_of(model),
        "tokenizer": tokenizer_of(model), "family": model.family.name, "tokens": tokens, "seed": seed,
        "longest": LONGEST, "dtype": str(model.dtype).removeprefix("torch."),
    }  # fmt: skip


def checked(model: Model, layers: Sequence[int] | None) -> tuple[int, ...]:
    """These layers, each once and in order; None: all. Raises BadSetting."""
    wanted = tuple(sorted(set(range(len(model.layers)) if layers is None else layers)))
    if not wanted or not 0 <= wanted[0] <= wanted[-1] < len(model.layers):
        raise BadSetting(f"{model.name} has layers 0 to {len(model.layers) - 1}: one or more of them, not {layers}")
    return wanted


def drawn(
    model: Model, corpus: Sequence[str], wanted: Sequence[int], source: Mapping[str, Any], progress: Progress | None
) -> dict[int, Moments]:
    """The second moments of these layers, from the texts and settings that `source` tells of."""
    cut = windows(model, corpus, source["tokens"], source["seed"])
    sums = Sums(model, wanted)
    sums.read(cut, progress)
    count = sum(len(w.counted) for w in cut)
    return {i: Moments(i, sums.mean(i, count), count, {**source, "layer": i}) for i in wanted}


def cost(model: Model, tokens: int = 100_000, layers: Sequence[int] | None = None) -> Cost:
    """What will `second_moments` take? Runs at most 512 random tokens of the model's vocabulary to measure it.

    A masked model is taken to read 32 tokens at a time. Raises as `second_moments` does.

    >>> import engram as eg
    >>> cost(eg.load("engram:causal"), 1000, [0, 1]).layers
    (0, 1)
    """
    wanted = checked(model, layers)
    length = min(longest_window(model), LONGEST if model.blank_last else 32)
    plain = sorted(set(range(int(model.config.vocab_size))) - set(model.tokenizer.all_special_ids))
    ids = np.random.default_rng(0).choice(plain, length)
    probe = [Window(tuple(map(int, ids)), tuple(range(length)))] * max(1, LONGEST // length)
    sums = Sums(model, wanted)
    sums.read(probe[:1], None)  # what is done for the first time takes longer
    begun = time.perf_counter()
    sums.read(probe, None)
    read = len(probe) * length
    seconds = (time.perf_counter() - begun) / read * tokens
    widths = [model.widths[i] for i in wanted]
    inside = sum(p.numel() for x in model.layers[: wanted[-1] + 1] for p in x.block.parameters())
    products = sum(w * (w + min(w, STRIP)) for w in widths)
    return Cost(
        tokens, wanted, tokens * (2 * inside + products) / 1e9, seconds, sum(w * w for w in widths) * 8 / GIB, read
    )
