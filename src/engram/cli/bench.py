"""`engram bench`: how fast is it, as a ratio, on this machine?"""

from __future__ import annotations

import statistics
from typing import Annotated

import typer
from typer import Option

from . import _show
from ._options import Json
from ._show import NUMBER, WORD


def register(app: typer.Typer) -> None:
    """Add the command."""
    benches = typer.Typer(help="Measure speed, as a ratio of two ways that say the same.", no_args_is_help=True)
    benches.command("attribution")(attribution)
    app.add_typer(benches, name="bench")


def attribution(
    *,
    shape: Annotated[
        str, Option(help="bert-base, bert-tiny, gpt2 or gpt2-tiny: random weights, nothing is loaded.")
    ] = "bert-base",
    prompts: Annotated[int, Option(min=1, help="How many prompts.")] = 9,
    tokens: Annotated[int, Option(min=4, help="Tokens of each.")] = 12,
    runs: Annotated[int, Option(min=1, help="How often both sides take their turn.")] = 3,
    steps: Annotated[int, Option(min=1, help="Steps of the integral.")] = 20,
    rule: Annotated[str, Option(help="right, left, linspace, trapezoid, midpoint or gauss.")] = "right",
    as_json: Json = False,
) -> None:
    """How much faster is attribution here than the straightforward loop, and does it say the same?

    The loop takes a prompt and a layer at a time and runs the whole network; its parameters are frozen and its grid
    is one batch, as here. Both sides take turns in one process.

    \b
    engram bench attribution
    engram bench attribution --shape gpt2 --runs 5
    """
    from ..bench import bench_attribution

    with _show.progress("measuring") as bar:
        found = bench_attribution(
            shape, prompts=prompts, tokens=tokens, runs=runs, steps=steps, rule=rule, progress=bar
        )  # fmt: skip
    from ._suppressing import versions

    made = versions()
    if as_json:
        units = {"engine": "seconds per prompt, each run", "straightforward": "seconds per prompt, each run",
                 "ratio": "median over runs of straightforward / engine",
                 "difference": "largest, of the largest score"}  # fmt: skip
        _show.document("bench", what="attribution", units=units, **{**found.to_dict(), "versions": made})
        return
    _show.line(
        f"{shape}, random weights, {prompts} prompts of {tokens} tokens, rule {rule}, {steps} steps, {runs} runs"
    )
    _show.line()
    sides = (("engine", found.engine), ("straightforward loop", found.straightforward))
    columns = [("", WORD), ("median seconds per prompt", NUMBER), ("least", NUMBER), ("most", NUMBER)]
    _show.table(columns, [(name, *(f"{f(s):.4f}" for f in (statistics.median, min, max))) for name, s in sides])
    _show.line()
    _show.line(f"ratio {found.ratio:.2f} (from {min(found.ratios):.2f} to {max(found.ratios):.2f} over {runs} runs)")
    _show.line(f"largest difference of a score: {found.difference:.1e} of the largest score")
    _show.line(f"{found.threads} threads, {found.machine}; " + ", ".join(f"{k} {v}" for k, v in made.items()))
