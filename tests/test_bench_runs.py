"""What a run costs beside its experiment: the numbers are those of the files and logs that it leaves."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

import engram as eg
from engram.bench import RunsBench, bench_runs
from engram.bench.runs import CORPUS, Cost, Place
from engram.cli._app import application
from engram.errors import BadSetting
from engram.experiments import Attributions

BY = eg.IntegratedGradients(rule="gauss", steps=1)


@pytest.mark.slow
def test_a_run_is_measured_as_it_lies_on_the_disk(tmp_path) -> None:
    told: list[tuple[int, int]] = []
    found = bench_runs(facts=2, shard=1, workers=1, rounds=2, by=BY, progress=lambda *x: told.append(x))
    facts = eg.data.shipped()
    run = eg.run(Attributions(BY, sample=2, shard=1), facts, out=tmp_path)
    asked = [p for fact, _ in run.by_fact() for p in facts.prompts(fact)]
    assert found.records == len(asked) == run.table().num_rows
    assert found.size == sum(p.stat().st_size for p in (tmp_path / "shards").iterdir())
    assert (found.facts, found.same, found.rounds) == (2, True, 2)
    assert [(p.name, p.workers) for p in found.places] == [("serial", 1), ("processes", 1)]
    for place in found.places:
        assert all(0 < w < s for w, s in zip(place.working, place.seconds, strict=True))
    assert all(0 < x < alone for x, alone in zip(found.cost.store, found.cost.alone, strict=True))
    assert told == [(n, 6) for n in range(1, 7)]
    assert json.loads(json.dumps(found.to_dict()))["extrapolated"]["from_records"] == found.records


def by_hand() -> RunsBench:
    places = (
        Place("serial", 1, (9.0, 9.0, 9.0), (8.0, 6.0, 4.0)),
        Place("processes", 2, (9.0, 9.0, 9.0), (4.0, 2.0, 4.0)),
    )
    cost = Cost((1.0, 2.0, 4.0), (1.1, 2.4, 4.4), (0.1, 0.3, 0.2))
    return RunsBench("m", "d", 12, 4, 100, 3, 25_000, True, places, cost, {}, {}, {})


def test_ratios_and_the_extrapolation_are_what_one_works_out_by_hand() -> None:
    said = by_hand().to_dict()
    serial, two = said["places"]
    assert (serial["ratios"]["each"], two["ratios"]) == ([1, 1, 1], {"median": 2, "each": [2, 3, 1]})
    assert (two["facts_per_second"], two["prompts_per_second"]) == (3, 25)
    assert said["cost"]["ratios"]["each"] == pytest.approx([1.1, 1.2, 1.1])
    assert said["cost"]["store_microseconds_per_record"]["median"] == pytest.approx(2000)
    assert said["extrapolated"] == {"prompts": 253_448, "megabytes": 250 * CORPUS / 1e6, "from_records": 100}
    assert math.isclose(said["extrapolated"]["megabytes"], 63.362)


def test_the_command_says_what_was_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def bench(**given):
        asked.update(given)
        return by_hand()

    monkeypatch.setattr("engram.bench.bench_runs", bench)
    said = CliRunner().invoke(application(), ["bench", "runs", "--facts", "12", "--shard", "4"]).stdout
    assert (asked["facts"], asked["shard"], asked["workers"], asked["rounds"]) == (12, 4, 2, 3)
    for part in (
        "2.00 (1.00 to 3.00)", "All wrote the same bytes", "2000.00 (1000.00 to 3000.00) µs for a record",
        "A record takes 250 bytes. Extrapolated from these 100, the 253,448 prompts of ParaRel would take 63 MB.",
    ):  # fmt: skip
        assert part in said
    document = json.loads(CliRunner().invoke(application(), ["bench", "runs", "--json"]).stdout)
    assert (document["what"], document["same"]) == ("runs", True)
    assert set(document["units"]) <= {*document, *document["places"][0]}


@pytest.mark.parametrize("wrong", [{"facts": 0}, {"shard": 0}, {"workers": 0}, {"rounds": 0}])
def test_a_benchmark_of_nothing_is_refused(wrong: dict) -> None:
    with pytest.raises(BadSetting, match="at least 1 fact"):
        bench_runs(**wrong)
