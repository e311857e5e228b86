"""Does the main job work here? One fact of the shipped model, asked, located and silenced; for `engram doctor`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..facts import Prompt
    from ..models import Model
    from ..neurons import NeuronSet
    from ..results import Answer, Attribution

TEXT, ANSWER = "The capital of Ireland is [Y].", "Dublin"
GAP = 0.01  # largest completeness gap of a layer, as part of the largest score: the locator's own tolerance
FALL = 0.15  # of P(answer), at least, when the answer's neurons are silent: what `engram demo` aims at
THRESHOLD = 0.2  # of the largest score: which neurons are silenced
Look = Callable[[], tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class Check:
    """What was to be so, whether it is, and what was found."""

    name: str
    passed: bool
    found: str
    aim: str


def self_test() -> Iterator[Check]:
    """The checks, one after the other, each with what it found. Whatever goes wrong is a finding; it raises nothing."""
    yield _checked("a file is written", "read back as it was written", _written)[0]
    trial, stopped = Trial(), False
    for name, aim, look in (
        ("the shipped model answers", f"{ANSWER} is its first word", trial.answers),
        ("its neurons are found", f"completeness gap below {GAP:.0%} of the largest score", trial.located),
        ("silence costs the answer", f"P falls by {FALL:.0%} or more", trial.silenced),
        ("nothing stays changed", "weights and answer are the same, to the last bit", trial.unchanged),
    ):
        if stopped:  # it would fail by the same error
            yield Check(name, False, "not tried", aim)
            continue
        check, stopped = _checked(name, aim, look)
        yield check


def _checked(name: str, aim: str, look: Look) -> tuple[Check, bool]:
    """What was found, and whether looking for it was cut short by an error."""
    try:
        passed, found = look()
    except Exception as error:  # noqa: BLE001  # what is broken here may fail in any way; that it does is the finding
        return Check(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", aim), True
    return Check(name, passed, found, aim), False


def _written() -> tuple[bool, str]:
    from ..files import write

    with tempfile.TemporaryDirectory(prefix="engram-doctor-") as folder:
        content, path = os.urandom(4096), Path(folder) / "file"
        write(path, content)
        return path.read_bytes() == content, f"{len(content):,} bytes in {tempfile.gettempdir()}"


class Trial:
    """One fact, through the verbs that everything else is made of."""

    @cached_property
    def model(self) -> Model:
        """The masked model shipped inside."""
        from transformers.utils import logging

        from ..models import load

        logging.set_verbosity_error()
        return load()

    @cached_property
    def weights(self) -> str:
        """Their checksum, before anything was asked."""
        from ..models.identity import weights_of

        return weights_of(self.model)

    @cached_property
    def prompts(self) -> list[Prompt]:
        """The fact as a question."""
        from ..facts import Prompt

        return [Prompt(TEXT, ANSWER)]

    @cached_property
    def before(self) -> Answer:
        """What the model says as it is."""
        from ..models import ask

        return ask(self.model, self.prompts)[0]

    @cached_property
    def found(self) -> Attribution:
        """Where the answer comes from."""
        from ..locators import IntegratedGradients, locate

        return locate(self.model, self.prompts, by=IntegratedGradients(rule="gauss", tolerance=GAP))[0]

    @cached_property
    def neurons(self) -> NeuronSet:
        """Those with the largest scores."""
        from ..selectors import Shared

        return Shared(threshold=THRESHOLD).select([self.found])

    def answers(self) -> tuple[bool, str]:
        """Does the model know the fact?"""
        _ = self.weights
        said = self.before
        return said.rank == 1, f"P({ANSWER}) {said.probability:.4f}, rank {said.rank}; {self.model.name}"

    def located(self) -> tuple[bool, str]:
        """Do the scores of each layer add up to what the layer's silence costs?"""
        gap = max(abs(float(g)) for g in self.found.gap) / self.found.peak
        return gap < GAP, f"gap {gap:.2%}, {len(self.neurons)} neurons above {THRESHOLD:.0%} of the largest"

    def silenced(self) -> tuple[bool, str]:
        """Is the answer less likely without them?"""
        from ..interventions import suppressed
        from ..models import ask

        before, after = self.before.probability, ask(self.model, self.prompts, under=suppressed(self.neurons))[0]
        change = after.probability / before - 1
        return change <= -FALL, f"P {before:.4f} → {after.probability:.4f} ({change:+.1%})".replace("-", "−")

    def unchanged(self) -> tuple[bool, str]:
        """Is the model what it was?"""
        from ..models import ask
        from ..models.identity import weights_of

        weights = weights_of(self.model) == self.weights
        answer = ask(self.model, self.prompts)[0] == self.before
        told = [f"{what} {'the same' if same else 'not the same'}" for what, same in
                (("weights", weights), ("answer", answer))]  # fmt: skip
        return weights and answer, ", ".join(told)
