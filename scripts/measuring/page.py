"""docs/performance.md and its pictures, from what was measured and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engram.report import save
from measuring import pictures
from measuring.pictures import Found, X
from measuring.plan import USUAL
from measuring.tables import short, small, spread, table

PAIRS = (("bert-base", "gpt2"), ("bert-tiny", "gpt2-tiny"))  # a masked and a causal shape; the first that are there
SHAPES = ("bert-tiny", "gpt2-tiny", "bert-base", "gpt2", "bert-large", "gpt2-medium")
KIND = {"bert": "masked", "gpt2": "causal"}
PEERS = {
    "straightforward": "the loop written well: one prompt and one layer at a time, parameters frozen, one clean pass a "
    "prompt, all points of the grid in one batch through the whole network, the vocabulary at the asked position only",
    "replication": "the calls of the replication that most people use (EleutherAI's knowledge-neurons), in our own "
    "words: for each layer a clean pass and one batch of the scaled copies (its own default, two batches, is slower) "
    "through the whole network, parameters asking for gradients, the vocabulary at every position",
}

INTRO = """# Performance

How fast is attribution, how much memory and work does it take, and how right is it? On your machine,
`engram bench attribution` measures any line of this page.
"""

MADE = """Everything here was measured by `scripts/performance`, which wrote the page too; the numbers behind it are in
[performance.jsonl](performance.jsonl).
"""

HOW = """## How it is measured

Networks have the real shapes and random weights; prompts are random words, all of one length. In each measurement all
sides run in one process, in turn, each time another one first, after a pass of each that is not timed. A time is the
median over the runs, per prompt; in brackets the fastest and the slowest run. **A ratio is taken within a run**, then
the median over the runs; only ratios are comparable between machines. The two peers take one prompt at a time by
nature: of a larger batch they are timed on the first {few}, and counted per prompt.

Memory is the peak of the process above what was in use before the side began, weights among it, in a pass of its own.
Work is the matrix products of one prompt, as torch counts them, again apart from the timing. The *least* work is a
formula (`engram.bench.least`): one clean pass; above the changed layer only, and there only the rows that differ; one
row of the vocabulary for each point; nothing twice. It holds for the points that a side evaluates, so it is not given
where their number depends on the prompt.

*Off* is the largest difference of a score, relative to the prompt's largest score, the worst of the prompts that the
peers had: off the published sum as the first peer computes it, and off the integral with {points} Gauss points.

A neuron is an input of the FFN's second map, on all sides. (The replication itself takes GPT-2's neurons before the
activation function; that costs the same.)
"""

ACCURACY = """## Accuracy

Differences are the largest of a prompt's scores, relative to its largest score: the worst of the prompts, and the
median one. *Same neurons* is the Jaccard index of the neurons above 0.2 of the prompt's peak on both sides, mean over
prompts. The published sum is that of the replication (20 points from 0 to 1, each weighted 1/20). The paper's own sum
takes k/20 for k = 1 to 20, its code's k = 0 to 19. The integral is taken with {points} Gauss points; *doubt* is how
far that is from half as many: a difference of that size means nothing. Everything is compared in float32; *rounding*
is how far a bfloat16 variant is from the same rule in float32.

The models inside engram know facts, and are asked some that they know. The other networks have random weights; with
all value slots multiplied, the FFN's part in its block is larger, and the integral harder. Under ReLU the integrand has
kinks, which are hard on every rule: there, more points help slowly.
"""

LIMITS = """## What these numbers do not say

* Random weights cost what trained ones cost, but their scores are easy: read accuracy off the table above, and with
  your own model from `Attribution.gap`.
* Prompts of one length are scored together, so a data set of many lengths makes smaller batches than its size.
* The peers are our own programs of the same calls. Loading a model, and what programs do beside scoring (storing,
  evaluating again), is in none of these times.
"""
NO_GPU = """* Nothing was measured on a GPU. The engine runs the same code there, and `scripts/performance
  --device cuda` measures it.
"""


def write(records: Sequence[Found], docs: Path) -> None:
    """The page and its pictures, into this folder."""
    speed = _last(records, "speed", ("shape", "prompts", "tokens", "device"))
    accuracy = _last(records, "accuracy", ("model", "stress"))
    cpu = [f for f in speed if not f["device"].startswith("cuda")]
    gpu = [f for f in speed if f["device"].startswith("cuda")]
    (docs / "images").mkdir(parents=True, exist_ok=True)
    parts = [INTRO, *([MADE, *_sides(speed), *_how(speed)] if records else ["Nothing is measured yet.\n"])]
    parts += [*_one_prompt(cpu), *_growths(cpu, docs, "performance")]
    if gpu:
        parts += ["## On a GPU\n", *_one_prompt(gpu, "###"), *_growths(gpu, docs, "performance-gpu", "###")]
    parts += [*_accuracy(accuracy), *([LIMITS + ("" if gpu else NO_GPU)] if records else [])]
    (docs / "performance.md").write_text("\n".join(parts), encoding="utf-8")


def _sides(speed: Sequence[Found]) -> Iterator[str]:
    sides = {s["name"]: s for f in speed for s in f["sides"]}
    rows = [(f"**{n}**", PEERS.get(n, n), s["what"]) for n, s in sides.items() if not s["engine"]]
    rows += [(f"**{n}**", "the engine", s["what"]) for n, s in sides.items() if s["engine"]]
    yield "## What is compared\n"
    yield table(["side", "what it is", "points, numbers"], rows) + "\n"


def _how(speed: Sequence[Found]) -> Iterator[str]:
    sizes = {s["prompts"] for f in speed for s in f["sides"] if not s["engine"] and s["prompts"] < f["prompts"]}
    yield HOW.format(few=_either(sizes) or "few", points=_either({f["points"] for f in speed}))
    seen: dict[str, int] = {}
    for f in speed:
        m, v = f["machine"], f["versions"]
        on = f"{m['gpu']}, " if "gpu" in m else ""
        text = f"{on}{m['processor']}, cores: {m['cores']}, threads: {m['threads']}; " + ", ".join(
            f"{name} {v[name]}" for name in ("engram", "torch", "transformers", "numpy", "python")
        )
        seen[text] = seen.get(text, 0) + 1
    yield from (f"{n} measurements on {text}.\n" for text, n in seen.items())


def _one_prompt(speed: Sequence[Found], mark: str = "##") -> Iterator[str]:
    chosen = [f for shape in SHAPES for f in _where(speed, shape, prompts=1, tokens=USUAL)]
    if not chosen:
        return
    yield f"{mark} One prompt of {USUAL} tokens\n"
    for f in chosen:
        peers = [s["name"] for s in f["sides"] if not s["engine"]]
        yield f"**{_about(f)}**, {f['runs']} runs:\n"
        columns = ["side", "seconds #", *(f"times as fast as {p} #" for p in peers)]
        yield table(columns, [_speed(s, peers) for s in f["sides"]]) + "\n"
        columns = [
            "side",
            "memory (MiB) #",
            "GFLOP #",
            "of the least #",
            "off the published sum #",
            "off the integral #",
        ]
        yield table(columns, [_cost(s) for s in f["sides"]]) + "\n"


def _speed(s: Found, peers: Sequence[str]) -> list[str]:
    ratios = [spread(s["ratios"][p]["each"]) if s["engine"] else "–" for p in peers]
    return [s["name"], spread(s["seconds"]), *ratios]


def _cost(s: Found) -> list[str]:
    memory = "–" if s["memory"] is None else f"{s['memory'] / 2**20:.0f}"
    share = "–" if s["least"] is None else f"× {s['flops'] / s['least']:.2f}"
    off = [small(s["accuracy"][x]["worst"]) for x in ("published", "integral")]
    return [s["name"], memory, short(s["flops"] / 1e9), share, *off]


def _growths(speed: Sequence[Found], docs: Path, stem: str, mark: str = "##") -> Iterator[str]:
    for what, title, axis, x in (
        ("length", "Longer prompts", "tokens", _tokens),
        ("batch", "More prompts", "prompts", _prompts),
        ("depth", "More layers", "layers", _layers),
    ):
        panels = {s: found for s in _main(speed) if len(found := _series(speed, s, what)) > 1}
        if not panels:
            continue
        yield f"{mark} {title}\n"
        named = {_about(found[0], what): found for found in panels.values()}
        save(pictures.growth(named, x, axis, f"Seconds per prompt, by {axis}"), docs / "images" / f"{stem}-{what}.svg")
        yield f"![Seconds per prompt of every side, by {axis}](images/{stem}-{what}.svg)\n"
        yield from _ratios(panels, x, axis)
        if what == "batch":
            yield _best(speed)


def _ratios(panels: Mapping[str, Sequence[Found]], x: X, axis: str) -> Iterator[str]:
    for shape, found in panels.items():
        names = _names(found)
        peer = [s["name"] for s in found[0]["sides"] if not s["engine"]][-1]
        rows = []
        for f in sorted(found, key=x):
            own = {s["name"]: spread(s["ratios"][peer]["each"]) for s in f["sides"] if s["engine"]}
            rows.append([str(x(f)), *(own.get(n, "–") for n in names)])
        yield f"How many times as fast as the {peer}, {shape}:\n"
        yield table([f"{axis} #", *(f"{n} #" for n in names)], rows) + "\n"


def _best(speed: Sequence[Found]) -> str:
    names, rows = _names(speed), []
    for shape in SHAPES:
        own = [f for f in speed if f["shape"] == shape and f["tokens"] == USUAL]
        cells = []
        for n in names:
            rates = [(1 / s["median"], f["prompts"]) for f in own for s in f["sides"] if s["name"] == n]
            cells.append(f"{short(max(rates)[0])} (of\N{NO-BREAK SPACE}{max(rates)[1]})" if rates else "–")
        if own:
            rows.append([shape, *cells])
    return (
        f"Prompts of {USUAL} tokens a second, at the batch that was best (in brackets: how many prompts it had):\n\n"
        + table(["shape", *(f"{n} #" for n in names)], rows) + "\n"
    )  # fmt: skip


def _accuracy(accuracy: Sequence[Found]) -> Iterator[str]:
    if not accuracy:
        return
    yield ACCURACY.format(points=_either({f["points"] for f in accuracy}))
    columns = ["", "from the integral #", "median #", "same neurons #", "from the published sum #",
               "same neurons #", "rounding #", "same neurons #"]  # fmt: skip
    for f in sorted(accuracy, key=lambda f: (not f["model"].startswith("engram:"), f["model"], f["stress"])):
        stress = f", all value slots × {f['stress']:g}" if f["stress"] != 1 else ""
        trained = "" if f["model"].startswith("engram:") else ", random weights"
        yield (
            f"**{f['model']}** ({f['activation']}{trained}{stress}), {f['prompts']} prompts, mean probability of the "
            f"answer {short(f['probability'])}; doubt {small(f['doubt']['worst'])}:\n"
        )
        yield table(columns, [[s["name"], *_apart(s["accuracy"])] for s in f["sides"]]) + "\n"


def _apart(a: Found) -> list[str]:
    exact, published, rounding = a["integral"], a["published"], a["rounding"]
    cells = [small(exact["worst"]), small(exact["median"]), f"{exact['sets']:.3f}", small(published["worst"])]
    both = [small(rounding["worst"]), f"{rounding['sets']:.3f}"] if rounding else ["–", "–"]
    return [*cells, f"{published['sets']:.3f}", *both]


def _where(speed: Sequence[Found], shape: str, **settings: Any) -> list[Found]:
    return [f for f in speed if f["shape"] == shape and all(f[k] == v for k, v in settings.items())]


def _series(speed: Sequence[Found], shape: str, what: str) -> list[Found]:
    """Measurements that differ in one thing only."""
    if what == "depth":
        deep = {f["shape"] for f in speed if f["shape"].partition("@")[0] == shape}
        return [f for s in deep for f in _where(speed, s, prompts=1, tokens=USUAL)]
    return _where(speed, shape, **({"prompts": 1} if what == "length" else {"tokens": USUAL}))


def _last(records: Sequence[Found], kind: str, settings: Sequence[str]) -> list[Found]:
    """What was measured last with each of these settings."""
    found = [r["found"] for r in records if r["kind"] == kind]
    return list({tuple(f[s] for s in settings): f for f in found}.values())


def _main(speed: Sequence[Found]) -> list[str]:
    there = {f["shape"] for f in speed}
    return next(([s for s in pair if s in there] for pair in PAIRS if there & set(pair)), [])


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _names(found: Iterable[Found]) -> list[str]:
    return list(dict.fromkeys(s["name"] for f in found for s in f["sides"] if s["engine"]))


def _about(f: Found, but: str = "") -> str:
    shape = f["shape"].partition("@")[0]
    kind = KIND[shape.partition("-")[0]]
    layers = "" if but == "depth" else f", {f['layers']} layers"
    asked = {"": "", "length": ", 1 prompt", "batch": f", {USUAL} tokens", "depth": f", 1 prompt of {USUAL} tokens"}[
        but
    ]
    return f"{shape} ({kind}{layers}){asked}"


def _tokens(f: Found) -> int:
    return int(f["tokens"])


def _prompts(f: Found) -> int:
    return int(f["prompts"])


def _layers(f: Found) -> int:
    return int(f["layers"])
