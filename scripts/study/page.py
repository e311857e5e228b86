"""docs/quadrature.md and its pictures, from the figures and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from engram.locators.integral import COMPRESSED, LADDER, LAST, LENGTHS
from engram.report import save
from study import picture
from study.follows import follows
from study.plan import DEFAULT, NAMES, SECOND
from study.words import between, of_each, small, table

Figures = dict[str, Any]

INTRO = """---
hide: [toc]
---

# The integral

By which rule, and with how many points, is the integral of knowledge attribution best computed? This page compares the
published sums, other fixed rules, and the rule that engram recommends, on the models inside engram.
`scripts/quadrature` computed all of it and wrote the page; every figure is in [quadrature.json](quadrature.json).
[In short](concepts/integral.md) it is one page.
"""

ASKED = """## What was asked

{sample}

| word | what it means here |
| --- | --- |
| reference | Gauss–Legendre with {steps} nodes |
| error | the largest difference of a prompt's scores from the reference's, as a part of its largest score |
| evaluations | points of the path at which the gradient is taken, per layer; mean over layers and prompts |
| gap | by how much a layer's scores miss the change they must add up to; the largest of the layers, same unit |
| coarse | neurons above 0.2 of the prompt's largest score: Jaccard index with the reference's, mean over prompts |
| refined | neurons of the coarse set in more than 70 % of a fact's prompts: Jaccard index, mean over facts |
| other sets | facts whose refined set is not the reference's, be it by one neuron |

Both ends of the path count as evaluations, whatever the rule: the gap needs the target there. (The end α = 1 is one
point for all layers, so it costs less than the count says.) A gap adds up a whole layer, and can be more than the
largest score. Brackets hold the 95 % interval of the median over prompts: a bootstrap that draws whole facts.
Everything is in float32 but the line that says bfloat16.

{doubt}
"""

ESTIMATE = """## What the estimate is worth

The adaptive rule and the compressed sums say of each layer how large they believe their error to be
(`Attribution.error`). Below: the largest of a prompt's layers, as a part of its largest score; in how many layers the
true error was above the estimate (by more than the reference's own doubt); and in how many prompts it was above the
tolerance. For a compressed sum, the true error is that from the sum it stands for.
"""

SUMS = """## The published sums from few points

A compressed sum is to give what the literal sum gives, its distance from the integral included. Here it is compared
with that sum, as above.
"""

WHY = """## Why it is so

**The target is smooth along the path.** Where the activation function is analytic (GELU, SiLU), so is every step from
the scaled neurons to the probability, and so is the slope dP/dα that is integrated. For such a function the error of a
Gauss rule falls geometrically with the number of nodes. That of a sum with equal weights over one end and not the
other falls like 1/m; that of the midpoint and trapezoid rules like 1/m². ReLU puts kinks into the path, and no rule
gets past them quickly.

**How fast it falls is decided by the next normalisation.** What it gets is `r + α·u`: the residual stream, and what
the layer's neurons contribute. It divides by the root of the variance, a quadratic in α with the zeros α₀ ± iδ, where
α₀ = −cov(r, u) / var(u) and δ² = var(r) / var(u) − α₀² (for RMSNorm, with mean squares). These are singularities in
the complex plane. Where the layer contributes much, δ is small; if α₀ then lies between 0 and 1, polynomials in α
converge slowly.

**So the path is walked in another variable**: α = α₀ + δ · sinh(t). It moves the zeros to t = ± iπ/2, however small δ
is, and costs two dot products per layer and prompt. Substitutions by sinh are known from integrals with a pole near
the path (Elliott & Johnston 2007).

**How many points to begin with** follows from the length of the way in t. The singularities stay where they are; the
shorter the way, the farther off they are in proportion, and the fewer points are needed. A way of less than {short}
starts with {three} points, one of less than {long} with {four}, any other with {seven}.

**The error estimate is free.** The target's value is known wherever its slope was taken. From one point to the next,
the target must change by the integral of the slope, interpolated by a polynomial through all points. The largest
mismatch is the estimate.

**From set to set, points are kept.** Lobatto's {four} points are among the {seven} of their extension after Kronrod,
and these among {thirteen} (Gander & Gautschi 2000). A layer whose estimate is above the tolerance goes on to the next
set, and takes along what it has. What is not good enough with {thirteen} points gets a Gauss rule of {last}, and its
estimate.

**A published sum has a Gauss rule of its own.** Its points and weights are a discrete measure, and a rule with few
points can be as exact for that as another is for the integral. The recurrence of the measure gives a Jacobi matrix,
whose eigenvalues are the nodes (Golub & Welsch 1969), here with both ends among them (Golub 1973). With n points, the
sum comes out exactly for polynomials in t up to degree 2n − 3. {compressed} points are tried; where the estimate is
above the tolerance after that, the sum is taken literally.

## What these figures do not say

The models are small, and prompts whose layers contribute more, or other networks, can be harder. Read
`Attribution.error` and `Attribution.gap` of your own. Where a layer's output is normalised before it is added, no rule
helps: see [differences](differences.md#where-a-layers-output-is-normalised).

## Sources

* D. Elliott, P. R. Johnston: Error analysis for a sinh transformation used in evaluating nearly singular boundary
  element integrals. *Journal of Computational and Applied Mathematics*, 2007.
* W. Gander, W. Gautschi: Adaptive quadrature – revisited. *BIT* 40 (2000), 84–101.
* G. H. Golub: Some modified matrix eigenvalue problems. *SIAM Review* 15 (1973), 318–334.
* G. H. Golub, J. H. Welsch: Calculation of Gauss quadrature rules. *Mathematics of Computation* 23 (1969), 221–230.
"""


def write(found: Figures, docs: Path) -> None:
    """The page, and one picture a model, into this folder."""
    models = found["models"]
    (docs / "images").mkdir(parents=True, exist_ok=True)
    for name, m in models.items():
        save(picture.errors(name, m), docs / "images" / f"quadrature-{name}.png")
    parts = [
        INTRO,
        *follows(models),
        _asked(found),
        *_models(models),
        ESTIMATE,
        _estimates(models),
        SUMS,
        _sums(models),
    ]
    (docs / "quadrature.md").write_text("\n".join([*parts, _why()]), encoding="utf-8")


def _asked(found: Figures) -> str:
    models: Mapping[str, Figures] = found["models"]
    drawn = "one known fact" if found["each"] == 1 else f"{found['each']} known facts"
    of = "every relation" if found["all relations"] else f"{max(m['relations'] for m in models.values())} relations"
    counts = "; ".join(
        f"{m['facts']} facts of {m['relations']} relations and {m['prompts']} prompts for the {name} model"
        for name, m in models.items()
    )
    doubts = {
        name: small(m["error"]["worst"]) for name, x in models.items() for m in x["settings"] if m["name"] == SECOND
    }
    gaps = {name: small(m["reference"]["gap"]["worst"]) for name, m in models.items()}
    sample = (
        f"Of {of} of the data set inside engram, {drawn}, drawn with seed {found['seed']}: {counts}. A fact is known "
        "if the model answers it first in at least half of its discovery prompts; all of its discovery prompts are "
        "then used (of the causal model, those that end with the blank)."
    )
    doubt = (
        f"**How sure is the reference?** {SECOND} differs from it by at most {of_each(doubts)}. Its largest "
        f"completeness gap is {of_each(gaps)}. Errors of that size mean nothing."
    )
    steps = " or ".join(sorted({str(m["reference"]["steps"]) for m in models.values()}))
    return ASKED.format(sample=fill(sample, 120), steps=steps, doubt=fill(doubt, 120))


def _models(models: Mapping[str, Figures]) -> Iterator[str]:
    columns = ["setting", "evaluations #", "error, median #", "95th percentile #", "worst #", "gap, worst #",
               "coarse #", "refined #", "other sets #"]  # fmt: skip
    for name, m in models.items():
        yield f"## The {name} model\n"
        yield (
            f"`{m['model_type']}`, {m['layers']} layers, activation function `{m['activation']}`; n = {m['facts']} "
            f"facts, {m['prompts']} prompts. A prompt's largest score is {small(m['largest score'])} at the median, in "
            "probability.\n"
        )
        yield table(columns, [_row(s, m) for s in m["settings"]])
        yield f"![Error of every setting against its evaluations, {name} model](images/quadrature-{name}.png)\n"


def _row(s: Figures, m: Figures) -> list[str]:
    error = s["error"]
    known_as = f" ({NAMES[s['name']]})" if s["name"] in NAMES else " (recommended)" if s["name"] == DEFAULT else ""
    label = f"**{s['name']}**{known_as}" if s["name"] == DEFAULT else f"{s['name']}{known_as}"
    return [
        label, f"{s['evaluations']:.1f}", small(error["median"]) + between(error["interval"]), small(error["p95"]),
        small(error["worst"]), small(s["gap"]["worst"]), f"{s['coarse']:.3f}", f"{s['refined']:.3f}",
        f"{s['other sets']} of {m['facts']}",
    ]  # fmt: skip


def _estimates(models: Mapping[str, Figures]) -> str:
    columns = ["model", "setting", "tolerance #", "estimate, median #", "worst #", "layers above the estimate #",
               "prompts above the tolerance #"]  # fmt: skip
    rows = []
    for name, m in models.items():
        for s in [*m["settings"], *m["sums"]]:
            if (e := s["estimate"]) is not None:
                over = f"{e['layers above the estimate']} of {e['layers']}"
                beyond = f"{e['prompts above the tolerance']} of {m['prompts']}"
                rows.append(
                    [name, s["name"], f"{e['tolerance']:g}", small(e["median"]), small(e["worst"]), over, beyond]
                )
    return table(columns, rows)


def _sums(models: Mapping[str, Figures]) -> str:
    columns = ["model", "setting", "evaluations (literal) #", "error, median #", "95th percentile #", "worst #",
               "coarse #", "refined #", "other sets #"]  # fmt: skip
    rows = []
    for name, m in models.items():
        for s in m["sums"]:
            _, mine, median, p95, worst, _, *sets = _row({**s, "gap": {"worst": 0.0}}, m)
            literal = f"{mine} ({s['evaluations of the sum']:.1f})"
            rows.append([name, f"{s['name']}: {s['sum']}", literal, median, p95, worst, *sets])
    return table(columns, rows)


def _why() -> str:
    three, four, seven, thirteen = map(len, LADDER)
    return WHY.format(
        short=LENGTHS[0], long=LENGTHS[1], three=three, four=four, seven=seven, thirteen=thirteen, last=LAST,
        compressed=" and then ".join(map(str, COMPRESSED)),
    )  # fmt: skip
