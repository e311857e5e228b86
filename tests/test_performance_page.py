"""scripts/performance: what is measured, that a kill loses nothing, and the page that is made of it."""

from __future__ import annotations

import copy
import doctest
import importlib
import json
import re
import statistics
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from transformers import AutoConfig

from engram.bench import VARIANTS, Variant, bench_accuracy, bench_attribution, shapes
from engram.errors import UnknownName, UnsupportedModel
from engram.locators import IntegratedGradients

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

command, page, plan, store, tables = (
    importlib.import_module(f"measuring.{name}") for name in ("__main__", "page", "plan", "store", "tables")
)
Cell = plan.Cell

TOY = {
    "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24,
    "num_attention_heads": 2, "vocab_size": 60,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> tuple[dict, dict]:
    """A measurement of speed and one of accuracy, of a toy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shapes.SHAPES, "toy", TOY)
        speed = bench_attribution("toy", prompts=2, tokens=6, runs=3, few=1, variants=["literal", "literal bfloat16"])
        return speed.to_dict(), bench_accuracy("toy", prompts=2, points=8, variants=["literal bfloat16"]).to_dict()


def as_if(found: dict, **changed) -> dict:
    return {**copy.deepcopy(found), **changed}


def records(found: tuple[dict, dict]) -> list[dict]:
    """What a plan would have left, all cells of the same numbers."""
    speed = [
        as_if(found[0], shape=shape, layers=layers, prompts=prompts, tokens=tokens)
        for shape, layers in (("bert-tiny", 2), ("bert-tiny@4", 4), ("gpt2-tiny", 2))
        for prompts, tokens in ((1, 8), (1, 14), (9, 14))
    ]
    accuracy = [as_if(found[1], model="engram:masked"), as_if(found[1], model="bert-tiny", stress=16.0)]
    kinds = [*(("speed", f) for f in speed), *(("accuracy", f) for f in accuracy)]
    return [{"kind": kind, "key": str(i), "found": f} for i, (kind, f) in enumerate(kinds)]


# -- the plan


def test_the_quick_plan_is_the_small_part_of_the_whole():
    whole, quick = plan.plan(), plan.plan(quick=True)
    assert {c.key for c in quick} < {c.key for c in whole}
    assert {c.model.partition("@")[0] for c in quick} == {"engram:masked", "engram:causal", "bert-tiny", "gpt2-tiny"}
    assert len({c.key for c in whole}) == len(whole)
    assert [c.minutes for c in whole] == sorted(c.minutes for c in whole)


def test_the_plan_has_the_shapes_lengths_and_batches_that_the_page_speaks_of():
    speed = [c for c in plan.plan() if c.kind == "speed"]
    assert {c.model for c in speed} >= set(shapes.SHAPES)
    for shape in ("bert-base", "gpt2"):
        assert {c.tokens for c in speed if (c.model, c.prompts) == (shape, 1)} == {8, 14, 32, 64, 128}
        assert {c.prompts for c in speed if (c.model, c.tokens) == (shape, 14)} == {1, 9, 64}
        assert {c.model for c in speed if c.model.startswith(f"{shape}@")} == {f"{shape}@{n}" for n in (3, 6, 24)}


def test_a_gpu_gets_larger_batches():
    cells = plan.plan(device="cuda:0")
    assert {c.device for c in cells} == {"cuda:0"}
    assert max(c.prompts for c in cells) == 1024 > max(c.prompts for c in plan.plan()) == 64


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_the_guess_of_the_time_knows_the_shapes(shape):
    options = dict(shapes.SHAPES[shape])
    config = AutoConfig.for_model(options.pop("model_type"), **options)
    size = (config.num_hidden_layers, config.hidden_size, config.vocab_size)
    assert plan._size(shape) == size
    assert plan._size(f"{shape}@5") == (5, *size[1:])


def test_a_cell_is_another_one_where_a_variant_is_another(monkeypatch):
    cell = Cell("speed", "bert-tiny")
    before = cell.key
    assert Cell("speed", "bert-tiny").key == before != Cell("speed", "bert-tiny", tokens=8).key
    monkeypatch.setitem(VARIANTS, "literal", Variant(IntegratedGradients(preset="paper")))
    assert cell.key != before


def test_a_cell_is_measured_in_a_process_of_its_own_and_its_errors_come_back(monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "toy", TOY)  # here, and not there
    with pytest.raises(UnknownName, match="no shape called 'toy'"):
        plan.in_own_process(Cell("speed", "toy", threads=1))


def test_a_cell_measures_what_its_settings_say(monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "toy", TOY)
    for name in [n for n in VARIANTS if n != "literal"]:
        monkeypatch.delitem(VARIANTS, name)
    speed = Cell("speed", "toy", 2, tokens=6, runs=1, few=1).measure()
    assert [speed[k] for k in ("shape", "prompts", "tokens", "runs")] == ["toy", 2, 6, 1]
    assert [s["prompts"] for s in speed["sides"]] == [1, 1, 2]
    hard = Cell("accuracy", "toy", 1, stress=3.0).measure()
    assert [hard[k] for k in ("model", "prompts", "stress")] == ["toy", 1, 3.0]


# -- what is kept


CELLS = [Cell("speed", "bert-tiny", tokens=n) for n in (8, 14, 32)]


def test_a_plan_goes_on_where_it_was_killed(tmp_path):
    kept, done = tmp_path / "kept.jsonl", []

    def measure(cell: Cell) -> dict:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(cell.tokens)
        return {"tokens": cell.tokens}

    with pytest.raises(KeyboardInterrupt):
        store.run(CELLS, kept, measure)
    assert [r["found"]["tokens"] for r in store.read(kept)] == done == [8, 14]
    said = []
    assert store.run(CELLS, kept, lambda c: {"tokens": c.tokens}, said.append) == 0
    assert [line.partition(", about")[0] for line in said] == ["1 of 1: bert-tiny, 1 × 32 tokens, 5 runs"]
    assert [r["found"]["tokens"] for r in store.read(kept)] == [8, 14, 32]


def test_a_line_that_was_cut_off_is_measured_again(tmp_path):
    kept = tmp_path / "kept.jsonl"
    store.run(CELLS[:2], kept, lambda c: {"tokens": c.tokens})
    kept.write_text(kept.read_text()[:-20])
    assert [r["found"]["tokens"] for r in store.read(kept)] == [8]
    store.run(CELLS, kept, lambda c: {"tokens": -c.tokens})
    assert [r["found"]["tokens"] for r in store.read(kept)] == [8, -14, -32]


@pytest.mark.parametrize("kind", [UnsupportedModel, MemoryError, BrokenProcessPool])
def test_a_cell_that_fails_is_said_and_leaves_the_others(tmp_path, kind):
    def measure(cell: Cell) -> dict:
        if cell.tokens == 14:
            raise kind("too large")
        return {"tokens": cell.tokens}

    said = []
    assert store.run(CELLS, tmp_path / "kept.jsonl", measure, said.append) == 1
    assert "bert-tiny, 1 × 14 tokens, 5 runs failed: too large" in said
    assert len(store.read(tmp_path / "kept.jsonl")) == 2


# -- the page


def test_numbers_are_short_and_honest():
    assert doctest.testmod(tables).failed == 0
    shown = [tables.short(x) for x in (0, 0.001234, 9.999, 12.34, 123456.0)]
    assert shown == ["0", "0.00123", "10.0", "12.3", "123000"]
    assert [tables.small(x) for x in (None, 0, 0.0123, 3.2e-7)] == ["–", "0", "0.012", "3e-07"]
    assert tables.spread([3.0]) == "3.00"


def test_the_page_says_what_was_measured(found, tmp_path):
    page.write(records(found), tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    sides = {s["name"]: s for s in found[0]["sides"]}
    literal = sides["literal"]
    each = [p / s for p, s in zip(sides["replication"]["seconds"], literal["seconds"], strict=True)]
    ratio = (
        f"{tables.short(statistics.median(each))}<br>[{tables.short(min(each))}{tables.TO}{tables.short(max(each))}]"
    )
    rows = [r for r in section(text, "One prompt of 14 tokens").splitlines() if r.startswith("| literal |")]
    cells, costs = ([c.strip() for c in row.strip("|").split("|")] for row in rows[:2])
    assert cells[1].startswith(tables.short(literal["median"]) + "<br>[")
    assert cells[3] == ratio
    assert costs[2:4] == [tables.short(literal["flops"] / 1e9), f"× {literal['flops'] / literal['least']:.2f}"]
    assert found[0]["machine"]["processor"] in text
    assert f"torch {found[0]['versions']['torch']}" in text
    assert "they are timed on the first 1, and counted per prompt" in text
    assert not re.search(r"\b20\d\d-\d\d|\b20[23]\d\b", text)


def section(text: str, title: str) -> str:
    return re.split(r"^## ", text.split(f"## {title}\n")[1], flags=re.MULTILINE)[0]


def test_the_page_has_a_picture_of_each_growth(found, tmp_path):
    page.write(records(found), tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    for what, title in (("length", "Longer prompts"), ("batch", "More prompts"), ("depth", "More layers")):
        assert f"(images/performance-{what}.svg)" in section(text, title)
        drawn = (tmp_path / f"images/performance-{what}.svg").read_text(encoding="utf-8")
        for name in ("literal bfloat16", "replication", "bert-tiny (masked"):
            assert name in drawn
    assert "gpt2-tiny" in section(text, "Longer prompts")
    assert "gpt2-tiny" not in section(text, "More layers")  # of one depth only


def test_the_page_gives_prompts_a_second_at_the_best_batch(found, tmp_path):
    made = records(found)
    for r in made:
        f = r["found"]
        if r["kind"] == "speed" and (f["shape"], f["prompts"]) == ("gpt2-tiny", 9):
            for s in f["sides"]:
                s["median"] = 0.001
    page.write(made, tmp_path)
    text = section((tmp_path / "performance.md").read_text(encoding="utf-8"), "More prompts")
    assert "| gpt2-tiny | 1000 (of 9) | 1000 (of 9) |" in text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_shows_what_was_measured_last(found, tmp_path):
    old, new = (as_if(found[0], shape="bert-tiny", prompts=1, tokens=14, runs=n) for n in (77, 78))
    kept = [{"kind": "speed", "key": str(i), "found": f} for i, f in enumerate((old, new))]
    page.write(kept, tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert ("78 runs" in text, "77 runs" in text) == (True, False)


def test_a_page_of_nothing_promises_nothing(tmp_path):
    page.write([], tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert text.endswith("Nothing is measured yet.\n")


def test_a_gpu_has_a_part_of_its_own(found, tmp_path):
    made = records(found)
    on = {**found[0]["machine"], "gpu": "Some GPU"}
    made += [
        {"kind": "speed", "key": f"gpu {n}", "found": as_if(
            found[0], shape="bert-tiny", prompts=n, tokens=14, device="cuda", machine=on
        )}
        for n in (1, 64)
    ]  # fmt: skip
    page.write(made, tmp_path)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "images/performance-gpu-batch.svg" in section(text, "On a GPU")
    assert "2 measurements on Some GPU" in text
    assert "64 |" not in section(text, "More prompts")


def test_the_command_writes_the_page_from_what_is_there(found, tmp_path, capsys):
    lines = [json.dumps(r) for r in records(found)]
    (tmp_path / "performance.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command.main(["--page-only", "--docs", str(tmp_path)])
    assert (tmp_path / "performance.md").exists()
    assert len(store.read(tmp_path / "performance.jsonl")) == len(lines)


def test_the_command_measures_what_is_missing(found, tmp_path, monkeypatch):
    asked = []

    def measure(cell: Cell) -> dict:
        asked.append(cell)
        if cell.kind == "accuracy":
            return as_if(found[1], model=cell.model, stress=cell.stress)
        return as_if(found[0], shape=cell.model, prompts=cell.prompts, tokens=cell.tokens)

    monkeypatch.setattr(command, "in_own_process", measure)
    command.main(["--quick", "--docs", str(tmp_path)])
    assert [c.key for c in asked] == [c.key for c in plan.plan(quick=True)]
    command.main(["--quick", "--docs", str(tmp_path)])
    assert len(asked) == len(plan.plan(quick=True))
    command.main(["--quick", "--fresh", "--longest", "0.01", "--docs", str(tmp_path)])
    few = [c for c in plan.plan(quick=True) if c.minutes <= 0.01]
    assert 0 < len(store.read(tmp_path / "performance.jsonl")) == len(few) < len(asked)


def test_the_page_in_the_documentation_is_made_from_its_numbers(tmp_path):
    docs = ROOT / "docs"
    page.write(store.read(docs / "performance.jsonl"), tmp_path)
    made, shown = ((folder / "performance.md").read_text(encoding="utf-8") for folder in (tmp_path, docs))
    assert made == shown
    assert {p.name for p in (tmp_path / "images").iterdir()} == {p.name for p in docs.glob("images/performance-*")}
