"""Runs that survive: killed, interrupted, shared, with workers that die. The same files, byte for byte."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import engram as eg
from engram.errors import BadSetting, BelowFloor, OtherRun, UnknownName
from engram.experiments import Attributions, Neurons, Suppression
from engram.models.identity import model_key
from engram.runs.work import work
from engram.store import Lease, Leases, RunFolder, verify
from engram.testing import tiny

CAPITAL = eg.Relation("P36", "capital", ("The capital of [X] is [Y] .", "[Y] is the capital of [X] .", "[X] has [Y] ."))
BORN = eg.Relation("P19", "place of birth", ("[X] was born in [Y] .", "in [Y] was born [X] ."))
PAIRS = (("Ireland", "Dublin"), ("France", "Paris"), ("Italy", "Rome"), ("Once", "Lyon"), ("France", "\N{SNOWMAN}"))
FACTS = eg.FactSet(
    "toy",
    (CAPITAL, BORN),
    {"P36": tuple(CAPITAL.fact(*x) for x in PAIRS), "P19": tuple(BORN.fact(*x) for x in PAIRS[:3])},
)
FAST = eg.IntegratedGradients(steps=3, rule="gauss")
SHARDS = 8
PLAIN = Attributions(FAST, shard=1)


class Slow(Attributions):
    """The same numbers, later."""

    def run(self, model, facts, case, *, progress=None):
        time.sleep(float(os.environ.get("SLOWLY", "0.2")))
        return Attributions.run(self, model, facts, case, progress=progress)


class Interrupted(Attributions):
    """The same numbers, until somebody presses Ctrl-C."""

    def run(self, model, facts, case, *, progress=None):
        if case["shard"] == 3:
            raise KeyboardInterrupt
        return Attributions.run(self, model, facts, case, progress=progress)


class Deadly(Attributions):
    """The same numbers, but nobody survives the third shard."""

    def run(self, model, facts, case, *, progress=None):
        if case["shard"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return Attributions.run(self, model, facts, case, progress=progress)


def opened(checkpoint: str, waits: str = "") -> eg.Model:
    """The model; not before all have come, where there is somewhere to meet."""
    model = eg.load(checkpoint)
    if waits:
        (Path(waits) / str(os.getpid())).touch()
        while not (Path(waits) / "go").exists():
            time.sleep(0.01)
    return model


def elsewhere(checkpoint: str, out: str, on: str, workers: str, waits: str) -> None:
    """What another process of these tests does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, a shell may have us ignore it
    opening = functools.partial(opened, checkpoint, waits)
    eg.run(Slow(FAST, shard=1), FACTS, opening, out=out, on=on, workers=int(workers))


def started(
    checkpoint: Path, out: Path, on: str = "serial", workers: int = 1, waits: Path | str = ""
) -> subprocess.Popen:
    tests = Path(__file__).resolve().parent
    env = {
        **os.environ,
        "SLOWLY": "1" if on == "processes" else "0.2",
        "PYTHONPATH": os.pathsep.join(map(str, (Path(eg.__file__).parent.parent, tests))),
    }
    code = "import sys, test_runs; test_runs.elsewhere(*sys.argv[1:])"
    command = [sys.executable, "-c", code, checkpoint, out, on, str(workers), waits]
    return subprocess.Popen(command, env=env, start_new_session=True, stderr=subprocess.PIPE, text=True)


def until(true: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_gone(group: int) -> None:
    """Nobody of these processes is left, after a moment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("somebody is left")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    for part in tiny("bert"):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> eg.Model:
    return eg.load(str(checkpoint))


@pytest.fixture(scope="module")
def undisturbed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went through in one go."""
    return eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path_factory.mktemp("run") / "whole").path


def shards(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "shards").iterdir()}


def leases(folder: Path) -> list[Path]:
    return list((folder / "leases").iterdir())


def events(folder: Path, event: str) -> dict[Path, list[str]]:
    """Which shards each process says this of."""
    lines = {p: [json.loads(x) for x in p.read_text().splitlines()] for p in (folder / "logs").iterdir()}
    return {p: [x["shard"] for x in said if x["event"] == event] for p, said in lines.items()}


# -- what a run says


def test_a_run_holds_what_locate_and_ask_say(undisturbed: Path, model: eg.Model) -> None:
    run = eg.open_run(undisturbed)
    assert run.complete
    asked = [p for f in FACTS if f.answer != "\N{SNOWMAN}" for p in FACTS.prompts(f)]
    stored = list(run.attributions())
    assert [a.prompt for a in stored] == asked
    for prompt, a in zip(asked, stored, strict=True):
        (b,) = eg.locate(model, prompt, by=FAST)
        kept = np.isfinite(a.scores)
        assert np.allclose(a.scores[kept], b.scores[kept], rtol=1e-4, atol=1e-8)
        assert kept.sum() == pytest.approx((b.scores >= 0.1 * b.peak).sum(), abs=1)
        assert np.allclose(a.gap, b.gap, atol=1e-6)
        assert a.settings == json.loads(json.dumps(b.settings))
    said = run.table().column("logprob").to_pylist()
    assert said == pytest.approx([a.logprob for a in eg.ask(model, asked)], rel=1e-5)


def test_what_cannot_be_asked_is_named_and_counted(undisturbed: Path) -> None:
    left_out = eg.open_run(undisturbed).skipped()
    assert [(s["fact"], s["template"]) for s in left_out] == [(["France", "P36", "\N{SNOWMAN}"], i) for i in range(3)]
    assert {s["reason"].partition(":")[0] for s in left_out} == {"AnswerNotWritable"}
    assert PLAIN.summary(eg.open_run(undisturbed).results())["left out"].value == 3


def test_selecting_from_a_run_is_selecting_in_memory(undisturbed: Path, model: eg.Model) -> None:
    case = {"shard": 0, "facts": list(range(len(FACTS)))}
    result = Attributions(FAST, floor=0.1).run(model, FACTS, case)
    assert result["records"]
    for threshold, share in ((0.2, 0.7), (0.1, 0.5), (0.5, 0.3)):
        by = eg.Shared(threshold=threshold, share=share)
        chosen = {f: by.select(own) for f, own in eg.open_run(undisturbed).by_fact()}
        assert any(chosen.values())
        for fact, neurons in chosen.items():
            assert neurons == by.select([a for p in FACTS.prompts(fact) for a in eg.locate(model, p, by=FAST)])
    with pytest.raises(BelowFloor):
        eg.Shared(threshold=0.05).select(list(eg.open_run(undisturbed).attributions()))


def test_a_causal_model_is_asked_what_it_can_be_asked(tmp_path: Path) -> None:
    causal = eg.load(*tiny("gpt2"))
    run = eg.run(Attributions(FAST), FACTS.only(["P36"]), causal, out=tmp_path)
    assert {a.prompt.template for a in run.attributions()} == {0, 2}
    never = eg.Relation("P1", "first", ("[Y] is [X] .",))
    lost = eg.run(
        PLAIN, eg.FactSet("no", (never,), {"P1": (never.fact("France", "Paris"),)}), causal, out=tmp_path / "no"
    )
    assert (lost.complete, [s["template"] for s in lost.skipped()]) == (True, [None])


def test_any_experiment_is_run(model: eg.Model, tmp_path: Path) -> None:
    experiment = Suppression(Neurons(FAST, facts=2))
    run = eg.run(experiment, FACTS, model, out=tmp_path)
    assert list(run.results()) == json.loads(
        json.dumps([experiment.run(model, FACTS, c) for c in experiment.cases(FACTS)])
    )


def test_what_is_told_moves_on_within_a_shard(model: eg.Model, tmp_path: Path) -> None:
    told: list[int] = []
    eg.run(Suppression(Neurons(FAST)), FACTS, model, out=tmp_path, progress=lambda done, *_: told.append(done))
    assert told == sorted(set(told))
    assert (told[0], told[-1]) == (0, SHARDS)
    assert len(told) > 2 + len(FACTS.relations)


# -- which facts


def test_a_limit_takes_the_first_and_a_sample_of_each_relation_its_part() -> None:
    assert [c["facts"] for c in Attributions(limit=5, shard=2).cases(FACTS)] == [[0, 1], [2, 3], [4]]
    drawn = {tuple(Attributions(sample=4, seed=s).cases(FACTS)[0]["facts"]) for s in range(20)}
    assert len(drawn) > 5
    assert {(sum(n < 5 for n in d), len(d)) for d in drawn} == {(3, 4)}  # of 5 and 3 facts: 2.5 and 1.5
    assert Attributions(sample=99).cases(FACTS) == Attributions().cases(FACTS)


@pytest.mark.parametrize("wrong", [{"limit": 1, "sample": 1}, {"floor": 0.0}, {"floor": 1}, {"shard": 0}, {"seed": -1}])
def test_a_setting_that_means_nothing_is_refused(wrong: dict) -> None:
    with pytest.raises(BadSetting):
        Attributions(**wrong)
    with pytest.raises(BadSetting, match="no wrong answer"):
        Attributions(eg.IntegratedGradients(target="logit_difference"))


# -- taken up again


def test_a_run_that_is_whole_does_nothing_more(undisturbed: Path, checkpoint: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (undisturbed / "shards").iterdir()}
    (undisturbed / "leases" / "part-00003.1.json").write_text("{")  # left by a kill behind its last word
    told: list[tuple] = []
    eg.run(PLAIN, FACTS, str(checkpoint), out=undisturbed, progress=lambda *x: told.append(x))
    assert before == {p: p.stat().st_mtime_ns for p in (undisturbed / "shards").iterdir()}
    assert [x[:2] for x in told] == [(SHARDS, SHARDS)]
    assert leases(undisturbed) == []


def test_what_was_interrupted_goes_on_where_it_was(checkpoint: Path, undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        eg.run(Interrupted(FAST, shard=1), FACTS, str(checkpoint), out=tmp_path)
    assert leases(tmp_path) == []
    assert (verify(tmp_path).whole, len(verify(tmp_path).missing)) == (3, SHARDS - 3)
    assert eg.open_run(tmp_path).complete is False
    told: list[tuple] = []
    eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path, progress=lambda *x: told.append(x))
    assert [x[:2] for x in told] == [(n, SHARDS) for n in range(3, SHARDS + 1)]
    assert all(rate > 0 for *_, rate in told[1:])
    assert shards(tmp_path) == shards(undisturbed)


def test_a_damaged_shard_that_is_deleted_is_done_again(checkpoint: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path)
    run.folder.final(4).unlink()
    assert eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path).complete
    assert shards(tmp_path) == shards(undisturbed)


@pytest.mark.parametrize(
    ("experiment", "facts", "said"),
    [
        (
            Attributions(eg.IntegratedGradients(steps=4, rule="gauss"), shard=1),
            FACTS,
            "settings.locator.steps is 3 there",
        ),
        (Attributions(FAST, shard=2), FACTS, "settings.shard is 1 there, and would be 2"),
        (PLAIN, FACTS.only(["P36"]), "data.checksum"),
    ],
)
def test_another_run_is_refused_with_the_difference(
    experiment, facts, said, undisturbed: Path, checkpoint: Path
) -> None:
    with pytest.raises(OtherRun, match=said):
        eg.run(experiment, facts, str(checkpoint), out=undisturbed)


def test_another_weight_or_another_word_is_another_model(model: eg.Model) -> None:
    net, tokenizer = tiny("bert")
    same = model_key(eg.load(net, tokenizer))
    assert same["weights"] == model_key(model)["weights"]
    assert same["tokenizer"] == model_key(model)["tokenizer"]
    with torch.no_grad():
        net.bert.embeddings.word_embeddings.weight[3, 3] += 1e-6
    assert model_key(eg.load(net, tokenizer))["weights"] != same["weights"]
    tokenizer.add_tokens(["ouroboros"])
    assert model_key(eg.load(net, tokenizer))["tokenizer"] != same["tokenizer"]


def test_misuse_is_told_before_anything_is_loaded(model: eg.Model, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="processes, ray, serial"):
        eg.run(PLAIN, FACTS, model, out=tmp_path, on="proceses")
    with pytest.raises(BadSetting, match="give its name"):
        eg.run(PLAIN, FACTS, model, out=tmp_path, on="processes")
    with pytest.raises(BadSetting, match="on='processes'"):
        eg.run(PLAIN, FACTS, model, out=tmp_path, workers=2)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_was_done_since_one_looked_is_not_done_again(
    undisturbed: Path, model: eg.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.at(undisturbed)
    looks = iter([[3], []])
    monkeypatch.setattr(RunFolder, "unfinished", lambda _self: next(looks))
    before = folder.final(3).stat().st_mtime_ns
    work(folder, PLAIN, model, FACTS, Leases(folder))
    assert (folder.final(3).stat().st_mtime_ns, leases(undisturbed)) == (before, [])


def test_who_was_silent_for_too_long_leaves_the_shard_to_others(
    model: eg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.at(eg.run(PLAIN, FACTS, model, out=tmp_path).path)
    folder.final(3).unlink()
    monkeypatch.setattr(Lease, "mine", lambda self: self.turn > 1)
    looks = iter([[3], []])
    monkeypatch.setattr(RunFolder, "unfinished", lambda _self: next(looks))
    work(folder, PLAIN, model, FACTS, Leases(folder))
    assert folder.final(3).exists() is False
    assert [x for own in events(tmp_path, "lost").values() for x in own] == ["part-00003"]


# -- killed, shared, given up


@pytest.mark.slow
def test_a_killed_run_is_finished_as_if_nothing_had_been(checkpoint: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = started(checkpoint, out)
    until(lambda: len(list(out.glob("shards/*.parquet"))) >= 3 and len(leases(out)) == 1, process)
    process.kill()
    process.communicate()
    assert len(leases(out)) == 1
    whole = {p: p.stat().st_mtime_ns for p in out.glob("shards/*.parquet")}
    assert 3 <= len(whole) < SHARDS
    assert verify(out).damaged == {}
    eg.run(PLAIN, FACTS, str(checkpoint), out=out)
    assert shards(out) == shards(undisturbed)
    assert {p: p.stat().st_mtime_ns for p in whole} == whole
    assert leases(out) == []


@pytest.mark.slow
def test_two_at_once_do_each_shard_once(checkpoint: Path, undisturbed: Path, tmp_path: Path) -> None:
    out, meeting = tmp_path / "run", tmp_path / "meeting"
    meeting.mkdir()
    both = [started(checkpoint, out, waits=meeting) for _ in range(2)]
    until(lambda: len(list(meeting.iterdir())) == 2, both[0])
    (meeting / "go").touch()
    for process in both:
        assert process.communicate(timeout=120)[1] == ""
        assert process.returncode == 0
    for event in ("began", "done"):
        by = events(out, event)
        assert len([x for x in by.values() if x]) == 2
        assert sorted(x for own in by.values() for x in own) == [f"part-{n:05}" for n in range(SHARDS)]
    assert shards(out) == shards(undisturbed)


@pytest.mark.slow
def test_processes_do_the_same_and_a_shard_that_kills_them_is_given_up(
    checkpoint: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = eg.run(Deadly(FAST, shard=1), FACTS, str(checkpoint), out=tmp_path, on="processes", workers=2)
    whole = shards(undisturbed)
    assert shards(tmp_path) == {name: x for name, x in whole.items() if not name.startswith("part-00002")}
    assert (run.complete, list(run.quarantined)) == (False, [2])
    assert list(verify(tmp_path).quarantined) == ["part-00002"]
    assert sum(x.count("part-00002") for x in events(tmp_path, "began").values()) == 2
    assert eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path).complete is False
    assert eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path, retry=True).complete
    assert shards(tmp_path) == whole


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_gives_their_shards_back(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = started(checkpoint, out, "processes", 2)
    until(lambda: len(list(out.glob("shards/*.parquet"))) >= 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert said.count("Traceback") == 1  # that of the script, for it does not catch it
    assert leases(out) == []
    until_gone(process.pid)
    assert verify(out).damaged == {}
    assert len(verify(out).missing) > 0


@pytest.mark.slow
def test_workers_end_with_the_process_that_looks_after_them(
    checkpoint: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = started(checkpoint, out, "processes", 2)
    until(lambda: len(list(out.glob("shards/*.parquet"))) >= 2 and len(leases(out)) == 2, process)
    process.kill()
    process.wait()
    until_gone(process.pid)
    assert process.communicate()[1] == ""
    assert len(verify(out).missing) > 0  # they did not go on alone
    run = eg.run(PLAIN, FACTS, str(checkpoint), out=out)
    assert (run.complete, run.quarantined, leases(out)) == (True, {}, [])  # no shard is to blame
    assert shards(out) == shards(undisturbed)


def test_what_a_worker_raises_is_raised_here(checkpoint: Path, tmp_path: Path) -> None:
    never = functools.partial(eg.load, str(checkpoint / "nowhere"))
    with pytest.raises(UnknownName, match="nowhere"):
        eg.run(PLAIN, FACTS, never, out=tmp_path)
    fails = functools.partial(other_model, str(checkpoint), os.getpid())
    with pytest.raises(OtherRun, match="a worker loaded something else than the run was begun with"):
        eg.run(PLAIN, FACTS, fails, out=tmp_path, on="processes")
    assert leases(tmp_path) == []


def other_model(checkpoint: str, here: int) -> eg.Model:
    """In another process, another model."""
    model = eg.load(checkpoint)
    if os.getpid() != here:
        model.net.bert.embeddings.word_embeddings.weight[0, 0] += 1
    return model
