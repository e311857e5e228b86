"""What becomes of the subject's embeddings: noise of several kinds, other words, or nothing at all."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import BadSetting, UnaskablePrompt, UnknownName
from ..facts import Prompt
from ..models import Model
from ..models.passes import Corrupt
from ..models.spans import Span, exchanged, span_of
from ..results import Floats

Rng = Literal["numpy", "rome"]
ADDED = ("gaussian", "uniform", "covariance", "student")
PUT = ("zero", "mean", "resample", "replace")
AT_ONCE = 512  # embeddings
CHI_SEED = 2  # of the factors of Student's t in ROME's code


@dataclass(frozen=True, slots=True)
class Corruption:
    """What is done, parsed: `kind`, its `size` (in standard deviations of the embeddings where `relative`), `words`."""

    kind: str
    size: float = 0.0
    relative: bool = False
    words: str = ""

    @property
    def random(self) -> bool:
        """Does each sample differ?"""
        return self.kind not in ("zero", "mean", "replace") and not self.nothing

    @property
    def nothing(self) -> bool:
        """Is the corrupted run the clean one?"""
        return self.kind in ("gaussian", "uniform", "covariance") and self.size == 0


def corruption(noise: float | str) -> Corruption:
    """What a setting means. Raises BadSetting, UnknownName.

    >>> corruption("3s")
    Corruption(kind='gaussian', size=3.0, relative=True, words='')
    >>> corruption("uniform:0.1").kind, corruption("replace:Italy").words, corruption("student:5").size
    ('uniform', 'Italy', 5.0)
    """
    if isinstance(noise, (int, float)) and not isinstance(noise, bool):
        return _sized("gaussian", float(noise), False, noise)
    kind, _, rest = str(noise).partition(":")
    if re.match(r"[-+.\d]", kind):
        kind, rest = "gaussian", kind
    if kind not in (*ADDED, *PUT):
        raise UnknownName("noise", str(noise), (*ADDED, *PUT), 'Or a number, or "3s" for three standard deviations.')
    if kind in ("zero", "mean", "resample"):
        return Corruption(kind)
    if kind == "replace":
        if not rest.strip():
            raise BadSetting('a replacement names another subject, as in noise="replace:Italy"')
        return Corruption(kind, words=rest.strip())
    if not (
        m := re.fullmatch(r"\s*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)\s*(s?)\s*", rest or ("3s" if kind != "student" else ""))
    ):
        raise BadSetting(f'noise is a number, "3s", "uniform:3s", "covariance:3" or "student:5", not {noise!r}')
    return _sized(kind, float(m[1]), m[2] == "s", noise)


def _sized(kind: str, size: float, relative: bool, given: object) -> Corruption:
    if not np.isfinite(size) or size < 0:
        raise BadSetting(f"noise has a standard deviation from 0 up, not {given!r}")
    if kind == "student" and (size <= 2 or relative):
        raise BadSetting(f"Student's t needs more than 2 degrees of freedom to have a variance, not {given!r}")
    return Corruption(kind, size, relative and kind in ("gaussian", "uniform"))  # the others have the spread in them


def drawn(
    model: Model, prompt: Prompt, subject: str, span: Span, what: Corruption, *, samples: int, rng: Rng, seed: int,
    spread: Spread,
) -> Corrupt:  # fmt: skip
    """The corruption of this prompt's subject: every sample, drawn once, the same in whatever is run with it.

    `rng="rome"` draws as ROME's code does, `RandomState(seed)` for every prompt alike; else every prompt has a draw of
    its own, told by `seed` and its text. Raises UnaskablePrompt where a replacement does not fit.
    """
    luck: Any = np.random.RandomState(seed) if rng == "rome" else np.random.default_rng(_seed(seed, prompt))
    shape = (samples, len(span), spread.width)
    new: Tensor | None = None
    if what.kind == "replace":
        new = spread.of(_others(model, prompt, span, subject, what.words)).expand(samples, -1, -1)
    elif what.kind == "resample":
        ids = luck.randint(0, spread.size, shape[:2]) if rng == "rome" else luck.integers(0, spread.size, shape[:2])
        new = spread.of(torch.as_tensor(ids, device=model.device))
    elif what.kind in ("zero", "mean"):
        new = (spread.mean if what.kind == "mean" else torch.zeros(spread.width)).expand(shape)
    noise = None if new is not None else torch.as_tensor(_noise(luck, what, shape, spread))

    def corrupt(x: Tensor) -> Tensor:
        x = x.clone()
        if noise is not None:
            x[:, span.first : span.end] += noise.to(x)
        elif new is not None:
            x[:, span.first : span.end] = new.to(x)
        return x

    return corrupt


def _seed(seed: int, prompt: Prompt) -> list[int]:
    return [seed, zlib.crc32(prompt.text.encode())]


def _noise(luck: Any, what: Corruption, shape: tuple[int, int, int], spread: Spread) -> Floats:
    """[sample, token, width], float64."""
    size = what.size * (spread.sigma if what.relative else 1.0)
    if what.kind == "uniform":
        found: Floats = luck.uniform(-1, 1, shape) * size
        return found
    normal = luck.randn(*shape) if isinstance(luck, np.random.RandomState) else luck.standard_normal(shape)
    if what.kind == "gaussian":
        return np.asarray(normal * size)
    correlated: Floats = normal @ spread.root
    if what.kind == "covariance":
        return correlated * what.size
    chi: Any = np.random.RandomState(CHI_SEED) if isinstance(luck, np.random.RandomState) else luck
    factor = np.sqrt((what.size - 2) / chi.chisquare(what.size, shape[:2]))
    return np.asarray(correlated * factor[..., None])


def _others(model: Model, prompt: Prompt, span: Span, subject: str, words: str) -> Tensor:
    """The tokens of another subject in the same sentence, which must be as many. [token]"""
    other = exchanged(model, prompt, subject, words)
    theirs = model.rows(other)[0]
    place = span_of(model, other, words, theirs)
    if (place.first, place.end) != (span.first, span.end):
        raise UnaskablePrompt(
            f"{words!r} has {len(place)} tokens where {subject!r} has {len(span)}: a replacement is as long"
        )
    return torch.tensor(theirs.ids[place.first : place.end], device=model.device)


class Spread:
    """How a model's word embeddings lie: of the whole table, or of the tokens of some texts. Read when first asked."""

    def __init__(self, model: Model, texts: tuple[str, ...] = ()) -> None:
        self.texts, self.table = texts, model.net.get_input_embeddings()  # type: ignore[operator]
        every = [i for t in texts for i in model.tokenizer(t, add_special_tokens=False)["input_ids"]]
        if texts and not every:
            raise BadSetting("the texts that the size of the noise is to be read from have no token")
        self.size = int(self.table.weight.shape[0])
        self.ids = torch.tensor(every, device=model.device) if texts else torch.arange(self.size, device=model.device)
        self._sigma: float | None = None
        self._root: Floats | None = None

    def of(self, ids: Tensor) -> Tensor:
        """What the table gives out for these tokens, as the network would have it: [..., width]."""
        with torch.no_grad():
            found: Tensor = self.table.forward(ids)
        return found

    @property
    def width(self) -> int:
        """Of an embedding."""
        return int(self.of(self.ids[:1]).shape[-1])

    @property
    def mean(self) -> Tensor:
        """[width], float64."""
        return torch.stack([x.sum(0) for x in self._parts()]).sum(0) / len(self.ids)

    @property
    def sigma(self) -> float:
        """The standard deviation of all their numbers together, as ROME's code takes it."""
        if self._sigma is None:
            total = square = count = 0.0
            for x in self._parts():
                flat = x.reshape(-1)
                total, square, count = total + float(flat.sum()), square + float(flat @ flat), count + len(flat)
            self._sigma = float(np.sqrt(max(square - total * total / count, 0.0) / max(count - 1, 1)))
        return self._sigma

    @property
    def root(self) -> Floats:
        """A matrix whose product with standard normal rows has the embeddings' covariance: [width, width]."""
        if self._root is None:
            mean = self.mean
            around = torch.zeros(len(mean), len(mean), dtype=torch.float64)
            for x in self._parts():
                around += (x - mean).T @ (x - mean)
            values, vectors = np.linalg.eigh((around / max(len(self.ids) - 1, 1)).numpy())
            self._root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
        return self._root

    def _parts(self) -> Iterator[Tensor]:
        """Some embeddings at a time, float64: so few that they stay in the cache."""
        for part in torch.split(self.ids, AT_ONCE):
            yield self.of(part).double().cpu()
