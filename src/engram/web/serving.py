"""What was `engram serve` told? How models are opened, and which facts the page knows: the same for every request."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from .. import data
from ..facts import FactSet
from ..models import Model, load
from ..models.loading import device_of, dtype_of


@dataclass
class Serving:
    """`dtype` and `device` as `engram.load` takes them, `data` as `engram.data.read` does.

    >>> Serving(dtype="bfloat16").model_python("gpt2")
    "eg.load('gpt2', dtype='bfloat16')"
    """

    dtype: str = "float32"
    device: str | None = None
    data: str = "shipped"

    def model(self, name: str) -> Model:
        """The model of this name. Raises what `engram.load` raises."""
        return load(name, dtype=self.dtype, device=self.device)

    def model_python(self, name: str) -> str:
        """The same, as Python has it after `import engram as eg`."""
        given = {"dtype": self.dtype if self.dtype != "float32" else None, "device": self.device}
        return f"eg.load({', '.join([repr(name), *(f'{k}={v!r}' for k, v in given.items() if v is not None)])})"

    def facts(self) -> FactSet:
        """The facts of the data set, read once. Raises UnknownName, BadData."""
        return _read(self.data)

    def check(self) -> None:
        """Is all this to be had? Raises UnknownName, BadSetting, BadData."""
        dtype_of(self.dtype)
        if self.device is not None:
            device_of(self.device)
        self.facts()

    @property
    def facts_python(self) -> str:
        """The same, as Python has it."""
        return "eg.data.shipped()" if self.data == "shipped" else f"eg.data.read({self.data!r})"

    @property
    def facts_words(self) -> str:
        """What a reader calls these facts."""
        return "the facts shipped with engram" if self.data == "shipped" else f"the facts of {self.data}"


@functools.lru_cache(maxsize=2)
def _read(name: str) -> FactSet:
    return data.read(name)


serving = Serving()  # of this process: one page, one user
