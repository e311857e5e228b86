"""Options that several commands share, as dataclasses: their fields are the options, their methods what these mean."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from typer import Option

from ..errors import BadSetting

if TYPE_CHECKING:
    from ..models import Model

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}

Json = Annotated[bool, Option("--json", help="Print one JSON document instead, with unrounded numbers.")]


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose arguments of dataclass type are given as options, one for each of their fields."""
    groups: dict[str, Any] = {}
    parameters = []
    hints = get_type_hints(command, include_extras=True)
    for p in inspect.signature(command).parameters.values():
        if is_dataclass(kind := hints[p.name]):
            groups[p.name] = kind
            own = get_type_hints(kind, include_extras=True)
            parameters += [p.replace(name=f.name, default=f.default, annotation=own[f.name]) for f in fields(kind)]
        else:
            parameters.append(p.replace(annotation=hints[p.name]))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        values = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        command(**given, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


@dataclass(frozen=True)
class ModelOptions:
    """How the model is loaded."""

    model: Annotated[
        str | None, Option("--model", "-m", help="Hub id, folder, engram:masked or engram:causal. [engram:masked]")
    ] = None
    dtype: Annotated[str, Option(help="float32, bfloat16, float16, float64 or auto.")] = "float32"
    device: Annotated[str | None, Option(help="Such as cpu, cuda or cuda:1. [cpu]")] = None
    revision: Annotated[str | None, Option(help="Branch, tag or commit of a hub id.")] = None
    trust_remote_code: Annotated[bool, Option("--trust-remote-code", help="Run code that comes with the model.")] = (
        False
    )
    allow_pickle: Annotated[bool, Option("--allow-pickle", help="Read pickled weights, which can run code.")] = False
    masks: Annotated[str, Option(help="Answers of several tokens in masked models: left_to_right or together.")] = (
        "left_to_right"
    )
    budget: Annotated[str, Option(help="Memory that a batch may take, beside the weights.")] = "1GiB"

    def load(self, name: str | None = None) -> Model:
        """The model of this name, or else of `--model`, or the one shipped inside. Raises what `engram.load` raises."""
        if name is not None and self.model is not None:
            raise BadSetting(f"two models were named, {name!r} and --model {self.model!r}; name one")
        budget = bytes_of(self.budget)
        from transformers.utils import logging

        from ..models import load

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        masks: Any = self.masks
        return load(
            name if name is not None else self.model, dtype=self.dtype, device=self.device, revision=self.revision,
            trust_remote_code=self.trust_remote_code, safetensors_only=not self.allow_pickle, masks=masks,
            budget=budget,
        )  # fmt: skip


def bytes_of(size: str) -> int:
    """A number of bytes as people write it. Raises BadSetting.

    >>> bytes_of("2GiB"), bytes_of("1.5 MB"), bytes_of("4096")
    (2147483648, 1500000, 4096)
    """
    m = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?|)B?\s*", size.upper())
    if not m:
        raise BadSetting(f"a size is written like 2GiB, 512MiB or 1000000, not {size!r}")
    return int(float(m[1]) * UNITS[m[2]])
