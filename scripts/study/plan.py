"""What is compared: rules for the integral along the joint path, each as a setting of the locator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engram.locators import IntegratedGradients
from engram.locators.integrated_gradients import PRESETS

Kind = Literal["published", "fixed", "adaptive", "compressed", "bfloat16"]

REFERENCE = IntegratedGradients(rule="gauss", steps=64)
SECOND = "gauss 48"  # the rule by which the reference is doubted
DEFAULT = "adaptive 0.01"
BFLOAT16 = f"{DEFAULT}, bfloat16"


@dataclass(frozen=True)
class Setting:
    """One way to compute the integral. `stands_for` names the setting whose sum it computes from fewer points."""

    name: str
    kind: Kind
    by: IntegratedGradients
    stands_for: str | None = None


def _rule(rule: str, steps: int, kind: Kind = "fixed") -> Setting:
    return Setting(f"{rule} {steps}", kind, IntegratedGradients(rule=rule, steps=steps))


def _sum_of(preset: str) -> Setting:
    """The published sum of this preset, from few points."""
    by = IntegratedGradients(preset=preset, grid="compressed")
    return Setting(f"{preset}, compressed", "compressed", by, "{rule} {steps}".format(**PRESETS[preset]))


def _as_needed(tolerance: float) -> Setting:
    return Setting(f"adaptive {tolerance:g}", "adaptive", IntegratedGradients(rule="gauss", tolerance=tolerance))


SETTINGS: tuple[Setting, ...] = (
    *(_rule(rule, 20, "published") for rule in ("right", "left", "linspace")),
    _rule("right", 100, "published"),
    _rule("midpoint", 20),
    _rule("trapezoid", 20),
    *(_rule("gauss", n) for n in (3, 4, 6, 8, 48)),
    _rule("radau", 5),
    *(_rule("lobatto", n) for n in (4, 5)),
    *map(_as_needed, (0.1, 0.01, 0.001)),
    *map(_sum_of, PRESETS),
    Setting(BFLOAT16, "bfloat16", IntegratedGradients(rule="gauss")),
)
NAMES = {f"{p['rule']} {p['steps']}": name for name, p in PRESETS.items()}  # of the published sums
