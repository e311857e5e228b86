"""Numbers and tables as they stand on the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def small(x: float) -> str:
    """Two digits that count; a power of ten below a thousandth.

    >>> small(0.0344), small(0.1), small(5.84e-6), small(9.96e-4), small(12.0), small(0.0)
    ('0.034', '0.10', '5.8·10⁻⁶', '0.0010', '12', '0')
    """
    if x == 0:
        return "0"
    digits, exponent = f"{x:.1e}".split("e")
    power = int(exponent)
    if power < -3:
        return f"{digits}·10{str(power).translate(RAISED)}"
    return f"{float(f'{x:.1e}'):.{max(0, 1 - power)}f}"


def times(x: float) -> str:
    """How many times as large, in two digits: 0.011 or 340."""
    return small(x) if x < 10 else f"{float(f'{x:.1e}'):,.0f}"


def between(interval: Sequence[float] | None) -> str:
    """An interval in brackets, with a space before it; nothing where there is none."""
    return "" if interval is None else f" [{small(interval[0])}, {small(interval[1])}]"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A column whose name ends in ` #` (not shown) has numbers, and stands to the right."""
    shown = [c.removesuffix("#").strip() for c in columns]
    marks = ["--:" if c.endswith("#") else "---" for c in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in [shown, marks, *rows]) + "\n"


def of_each(said: Mapping[str, str]) -> str:
    """What is said of each model, with the model's name behind it; once, where it is the same of all.

    >>> of_each({"masked": "2 of 29", "causal": "3 of 29"}), of_each({"masked": "none", "causal": "none"})
    ('2 of 29 (masked) and 3 of 29 (causal)', 'none (each)')
    """
    if len(said) == 2 and len(set(said.values())) == 1:
        return f"{next(iter(said.values()))} (each)"
    return " and ".join(f"{text} ({name})" for name, text in said.items())
