"""A run's folder: sparse scores to the last bit, files that are whole or not there, leases, checksums."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import engram as eg
from engram import files as on_disk
from engram.errors import BadData, BadSetting, BelowFloor, OtherRun, UnknownName
from engram.store import Leases, Record, RunFolder, RunKey, canonical, data_key, identity, name_of, open_run, verify
from engram.store.leases import STRIKES
from engram.store.owners import lives

CAPITAL = eg.Relation("P36", "capital", ("The capital of [X] is [Y].", "[Y] is the capital of [X]."))
BORN = eg.Relation("P19", "place of birth", ("[X] was born in [Y].",))
FACTS = (CAPITAL.fact("Ireland", "Dublin", "q1"), CAPITAL.fact("Zürich’s “land”", "Bern"), BORN.fact("Ada", "London"))
WIDTHS = (6, 4)
KEY = RunKey("attribution", {"locator": {"steps": 20}, "seed": 0}, {"name": "m"}, {"name": "d"}, "0", {"torch": "1"})
ABOUT = {
    "relations": [{"id": "P36", "name": "capital"}, {"id": "P19", "name": "place of birth"}],
    "shards": [["P36"], ["P19"]],
}
AWAY = {"host": "elsewhere", "process": 1, "started": "5"}


def attribution(prompt: eg.Prompt, scores: np.ndarray) -> eg.Attribution:
    gap, change = np.array([1e-9, -0.1]), np.array([0.1 + 1e-17, 1 / 3])
    return eg.Attribution(prompt, "m", scores, gap, change, WIDTHS, {"steps": 20}, error=np.full(2, np.nan))


def prompts() -> list[tuple[int, eg.Prompt]]:
    relations = {"P36": CAPITAL, "P19": BORN}
    return [(i, p) for i, f in enumerate(FACTS) for p in f.prompts(relations[f.relation])]


def found() -> list[tuple[int, eg.Attribution]]:
    draw = np.random.default_rng(0)
    scores = draw.normal(size=(5, 2, 6)).astype(np.float32)
    scores[:, 1, 4:] = 0  # the second layer is narrower
    return [(i, attribution(p, s)) for (i, p), s in zip(prompts(), scores, strict=True)]


def record(number: int, a: eg.Attribution, floor: float = 0.1) -> Record:
    return Record.of(number, a, eg.Answer(a.prompt, ("x",), -0.3, 2, ()), floor=floor)


def result(part: list[tuple[int, eg.Attribution]]) -> dict:
    skipped = [{"number": 9, "fact": ["A", "P36", "B"], "template": 0, "reason": "AnswerNotWritable: no"}]
    about = {"widths": list(WIDTHS), "method": "m", "settings": {"steps": 20}}
    return {**about, "records": [record(i, a) for i, a in part], "skipped": skipped}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of two facts and one, all done."""
    made = RunFolder.begun(tmp_path / "run", KEY, [2, 1], ABOUT)
    whole = found()
    made.publish(0, result(whole[:4]))
    made.publish(1, result(whole[4:]))
    return made


# -- records


def test_what_is_read_back_is_what_was_kept_to_the_last_bit(folder: RunFolder) -> None:
    back = list(open_run(folder.path).attributions())
    assert len(back) == 5
    for (_, a), b in zip(found(), back, strict=True):
        assert (b.prompt, b.method, b.widths, b.settings) == (a.prompt, a.method, a.widths, a.settings)
        assert (b.peak, b.floor) == (a.peak, 0.1 * a.peak)
        kept = a.scores >= np.float32(0.1 * a.peak)
        kept[1, 4:] = False
        assert 0 < kept.sum() < 10
        assert np.array_equal(b.scores[kept], a.scores[kept])
        assert (b.scores[~kept] == -np.inf).all()
        for name in ("gap", "change", "error"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
        assert np.isnan(b.points).all()


@pytest.mark.parametrize("share", [0.1, 0.11, 0.3, 0.99])
def test_above_the_floor_the_same_neurons_are_named_and_below_it_none(folder: RunFolder, share: float) -> None:
    for (_, a), b in zip(found(), open_run(folder.path).attributions(), strict=True):
        for strict in (True, False):
            assert a.above(share * a.peak, strict=strict) == b.above(share * a.peak, strict=strict)
        with pytest.raises(BelowFloor):
            b.above(0.0999 * a.peak)
        with pytest.raises(BelowFloor):
            b.dense()
        assert b.best(100) == a.best(len(b.best(100)))


@pytest.mark.parametrize("scores", [np.full((2, 6), -1.0), np.zeros((2, 6))])
def test_without_a_score_above_zero_only_the_peak_is_kept(scores: np.ndarray) -> None:
    a = attribution(prompts()[0][1], scores.astype(np.float32))
    b = record(0, a).attribution(WIDTHS, "m", {})
    assert (b.peak, int(np.isfinite(b.scores).sum())) == (a.peak, 1)
    with pytest.raises(BelowFloor):
        b.above(a.peak, strict=False)


def test_the_same_result_gives_the_same_bytes(folder: RunFolder, tmp_path: Path) -> None:
    again = RunFolder.begun(tmp_path / "again", KEY, [2, 1], ABOUT)
    again.publish(0, result(found()[:4]))
    assert again.final(0).read_bytes() == folder.final(0).read_bytes()
    again.publish(0, result(found()[1:4]))
    assert again.final(0).read_bytes() != folder.final(0).read_bytes()


def test_any_other_result_is_kept_as_it_is(tmp_path: Path) -> None:
    run = RunFolder.begun(tmp_path, dataclasses.replace(KEY, experiment="another"), [1], ABOUT)
    columns = {"subject": "text", "p": "real", "ranks": "wholes", "right": "flag", "neurons": "texts", "n": "whole"}
    row = {"subject": "Zürich", "p": 0.1 + 0.2, "ranks": [1, 2], "right": True, "neurons": [], "n": None}
    said = {"rows": [row, {**row, "p": None, "neurons": ["L0.1"]}], "skipped": [], "share": {"at": "7/10"}}
    run.publish(0, said, columns)
    assert list(open_run(tmp_path).results()) == [said]
    assert open_run(tmp_path).table().column_names == list(columns)
    with pytest.raises(BadSetting, match="keeps no scores"):
        list(open_run(tmp_path).attributions())


@pytest.mark.parametrize("row", [{"p": "high"}, {"p": 1.0, "q": 2.0}, {}])
def test_a_row_that_is_not_as_its_columns_say_is_not_kept(tmp_path: Path, row: dict[str, object]) -> None:
    run = RunFolder.begun(tmp_path, KEY, [1], ABOUT)
    with pytest.raises(ValueError, match="row"):
        run.publish(0, {"rows": [row], "skipped": []}, {"p": "real"})
    assert not run.done()


# -- reading back


def test_facts_and_relations_and_what_was_left_out(folder: RunFolder) -> None:
    run = open_run(folder.path)
    assert [(f, len(own)) for f, own in run.by_fact()] == [(FACTS[0], 2), (FACTS[1], 2), (FACTS[2], 1)]
    assert [f for f, _ in run.by_fact("place of birth")] == [FACTS[2]] == [f for f, _ in run.by_fact("P19")]
    assert [s["reason"] for s in run.skipped()] == ["AnswerNotWritable: no"] * 2
    with pytest.raises(UnknownName, match="capital"):
        list(run.attributions("capitol"))


def test_a_table_and_a_frame_have_a_row_for_each_prompt(folder: RunFolder) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    run = open_run(folder.path)
    assert run.table().column("subject").to_pylist() == [p.fact.subject for _, p in prompts()]
    frame = run.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["fact"].tolist() == [0, 0, 1, 1, 2]
    assert frame["probability"].tolist() == pytest.approx([np.exp(-0.3)] * 5)


def test_without_pandas_a_frame_says_what_it_needs(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadSetting, match="pip install pandas"):
        open_run(folder.path).frame()


def test_duckdb_reads_the_folder_as_it_is(folder: RunFolder) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    query = f"select subject, unnest(layers), unnest(neurons), unnest(scores) from '{folder.path}/shards/*.parquet'"
    rows = duckdb.sql(f"{query} where relation = 'P19'").fetchall()
    (_, a) = found()[4]
    assert {(layer, neuron) for _, layer, neuron, _ in rows} == a.above(0.1 * a.peak, strict=False)
    assert max(score for *_, score in rows) == a.peak


def test_reading_starts_no_threads(folder: RunFolder) -> None:
    """Arrow's own threads can abort a process as it ends."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("counts the threads of a process in /proc")
    code = (
        "import os, sys, pyarrow.parquet; from engram.store import verify, open_run\n"
        "n = len(os.listdir('/proc/self/task')); verify(sys.argv[1]); list(open_run(sys.argv[1]).results())\n"
        "print(len(os.listdir('/proc/self/task')) - n)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(eg.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, folder.path], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


# -- whole or not there


def test_a_whole_run_is_verified(folder: RunFolder) -> None:
    said = verify(folder.path)
    assert (said.complete, said.shards, said.whole, said.rows, said.skipped) == (True, 2, 2, 5, 2)
    assert (said.missing, said.damaged, said.quarantined, said.foreign) == ((), {}, {}, ())


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_is_named(folder: RunFolder, where: float) -> None:
    content = bytearray(folder.final(1).read_bytes())
    content[int(where * len(content))] ^= 1
    folder.final(1).write_bytes(content)
    assert list(verify(folder.path).damaged) == ["part-00001"]
    with pytest.raises(BadData, match=r"part-00001\.parquet: is damaged"):
        list(open_run(folder.path).attributions())


def test_a_shard_cut_off_missing_swapped_or_without_checksum_is_named(folder: RunFolder) -> None:
    whole, other = folder.final(0).read_bytes(), folder.final(1).read_bytes()
    folder.final(0).write_bytes(whole[: len(whole) // 2])
    assert "not the file" in verify(folder.path).damaged["part-00000"]
    folder.final(0).write_bytes(other)
    folder.final(0).with_suffix(".sha256").write_text(folder.final(1).with_suffix(".sha256").read_text())
    assert "is shard 1" in verify(folder.path).damaged["part-00000"]
    folder.final(0).with_suffix(".sha256").unlink()
    assert "no checksum" in verify(folder.path).damaged["part-00000"]
    folder.final(0).unlink()
    said = verify(folder.path)
    assert (said.missing, said.damaged, said.complete) == (("part-00000",), {}, False)


def test_a_shard_of_another_run_and_a_foreign_file_are_named(folder: RunFolder, tmp_path: Path) -> None:
    other = RunFolder.begun(tmp_path / "other", RunKey("x", {}, {}, {}, "0", {}), [1], ABOUT)
    other.publish(0, result(found()[:4]))
    for suffix in (".parquet", ".sha256"):
        folder.final(0).with_suffix(suffix).write_bytes(other.final(0).with_suffix(suffix).read_bytes())
    (folder.path / "shards" / "part-00007.parquet").write_bytes(b"PAR1")
    (folder.path / "notes.txt").write_text("mine")
    said = verify(folder.path)
    assert f"of run {other.id}" in said.damaged["part-00000"]
    assert said.foreign == ("notes.txt", "shards/part-00007.parquet")


def test_nothing_half_written_looks_whole(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.final(1).unlink()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadData, match="No space left on device"):
        folder.publish(1, result(found()[4:]))
    assert folder.done() == {0}
    assert sorted(p.name for p in (folder.path / "shards").iterdir() if p.suffix == on_disk.UNFINISHED) == []


def test_a_shard_gets_its_name_when_it_is_whole(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def replace(self: Path, target: Path) -> None:
        seen.append((self.name, target.exists(), self.stat().st_size))
        self.rename(target)

    content = folder.final(1).read_bytes()
    for suffix in (".parquet", ".sha256"):
        folder.final(1).with_suffix(suffix).unlink()
    monkeypatch.setattr(Path, "replace", replace)
    folder.publish(1, result(found()[4:]))
    (sums, _, _), (shard, there, size) = seen  # the checksum first: no shard is ever without
    assert (sums.startswith(".part-00001.sha256."), shard.startswith(".part-00001.parquet.")) == (True, True)
    assert (there, size) == (False, len(content))


def test_a_changed_manifest_is_noticed(folder: RunFolder) -> None:
    manifest = folder.path / "manifest.json"
    said = json.loads(manifest.read_text())
    said["key"]["settings"]["seed"] = 1
    manifest.write_text(json.dumps(said))
    with pytest.raises(BadData, match="was changed after it was written"):
        verify(folder.path)
    manifest.write_text("{")
    with pytest.raises(BadData, match="cannot be read"):
        open_run(folder.path)
    manifest.unlink()
    with pytest.raises(BadData, match="is no run"):
        open_run(folder.path)


# -- the key


def test_another_key_is_refused_with_the_first_differences(folder: RunFolder) -> None:
    settings = {"locator": {"steps": 10}, "seed": 0, "new": True}
    other = RunKey("attribution", settings, {"name": "n"}, KEY.data, "1", {"torch": "2"})
    with pytest.raises(OtherRun) as caught:
        RunFolder.begun(folder.path, other, [2, 1], ABOUT)
    assert "settings.locator.steps is 20 there, and would be 10; settings.new is nothing there" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert RunFolder.begun(folder.path, KEY, [2, 1], ABOUT).done() == {0, 1}


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BadSetting, match=r"such as thesis\.tex"):
        RunFolder.begun(tmp_path, KEY, [1], ABOUT)
    with pytest.raises(BadSetting, match="is a file"):
        RunFolder.begun(tmp_path / "thesis.tex", KEY, [1], ABOUT)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_of_many_who_begin_at_once_one_writes_the_manifest(tmp_path: Path) -> None:
    keys = [RunKey("x", {"n": i}, {}, {}, "0", {}) for i in range(8)]
    said: list[object] = []

    def begin(key: RunKey) -> None:
        try:
            said.append(RunFolder.begun(tmp_path / "run", key, [1], ABOUT).id)
        except OtherRun as error:
            said.append(error)

    threads = [threading.Thread(target=begin, args=(key,)) for key in keys]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(said) == 8
    assert len([s for s in said if isinstance(s, str)]) == 1


def test_the_checksum_of_data_is_of_what_it_says() -> None:
    def key(facts: tuple[eg.Fact, ...], relation: eg.Relation = CAPITAL) -> str:
        return data_key(eg.FactSet("d", (relation,), {"P36": facts}, source="here"))["checksum"]

    known = FACTS[:2]
    assert key(known) == key(tuple(known))
    assert len({key(known), key(known[::-1]), key(known, eg.Relation("P36", "capital", CAPITAL.templates[:1]))}) == 3
    assert canonical({"b": (1,), "a": 2}) == b'{"a":2,"b":[1]}'


# -- leases


def stale(folder: RunFolder, shard: int, turn: int, *, owner: dict, supervisor: dict, strikes: int = 0) -> None:
    content = {"owner": owner, "supervisor": supervisor, "token": f"{shard} {turn}", "strikes": strikes}
    (folder.path / "leases" / f"{name_of(shard)}.{turn}.json").write_text(json.dumps(content))


def gone() -> dict:
    """A process of this machine that has ended."""
    return {**identity(), "process": 2**22 + 1, "started": "7"}


def test_a_lease_is_taken_by_one_and_given_back(folder: RunFolder) -> None:
    mine, other = Leases(folder), Leases(folder)
    lease = mine.take(0)
    assert lease is not None
    with mine.held(lease):
        assert lease.mine()
        assert other.take(0) is None
        assert other.current() == {0: 1}
        assert other.take(0, 1) is None  # its owner lives
    assert other.current() == {}
    assert other.take(0) is not None


def test_a_lease_whose_owner_has_ended_is_taken_over_by_one(folder: RunFolder) -> None:
    stale(folder, 0, 1, owner=gone(), supervisor=identity())
    taken = [Leases(folder).take(0, 1) for _ in range(3)]
    assert [t is not None for t in taken] == [True, False, False]
    assert (taken[0].turn, taken[0].strikes) == (2, 1)


def test_a_lease_from_elsewhere_is_stale_when_nobody_touches_it(folder: RunFolder) -> None:
    leases = Leases(folder, patience=0.2)
    stale(folder, 0, 1, owner=AWAY, supervisor=AWAY)
    path = folder.path / "leases" / "part-00000.1.json"
    os.utime(path, (0, 0))  # its clock is half a century behind
    assert leases.take(0, 1) is None
    pause = threading.Event()
    for second in range(3):
        pause.wait(0.15)
        os.utime(path, (second + 1, second + 1))
        assert leases.take(0, 1) is None
    pause.wait(0.3)
    assert leases.take(0, 1) is not None


def test_whether_a_process_lives_is_seen_from_its_own_machine_only() -> None:
    if not Path("/proc/self/stat").is_file():
        pytest.skip("looks into /proc")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    known = identity(child.pid)
    assert (lives(known), lives({**known, "started": "7"}), lives({**known, "host": "elsewhere"})) == (
        True,
        False,
        None,
    )
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and still has its number
    assert lives(known) is False
    child.wait()
    assert lives(known) is False


def test_who_holds_a_lease_touches_it(folder: RunFolder) -> None:
    mine, other = Leases(folder, patience=0.4), Leases(folder, patience=0.4)
    lease = mine.take(0)
    assert lease is not None
    stale(folder, 0, 1, owner=AWAY, supervisor=AWAY)  # so that the other one can only see the touches
    with mine.beating(), mine.held(lease):
        for _ in range(8):
            assert other.take(0, 1) is None
            threading.Event().wait(0.1)
    assert lease.path.exists() is False


def test_who_was_taken_over_knows_it(folder: RunFolder) -> None:
    lease = Leases(folder).take(0)
    assert lease is not None
    stale(folder, 0, 1, owner=gone(), supervisor=gone())
    assert Leases(folder).take(0, 1) is not None
    assert lease.mine() is False


def test_a_shard_that_ends_its_workers_is_quarantined_and_one_that_falls_with_its_run_is_not(folder: RunFolder) -> None:
    for n in (0, 1):
        folder.final(n).unlink()
    assert STRIKES == 2
    stale(folder, 0, 2, owner=gone(), supervisor=identity(), strikes=1)
    stale(folder, 1, 2, owner=gone(), supervisor=gone(), strikes=1)
    leases = Leases(folder)
    assert leases.take(0, 2) is None
    assert (folder.unfinished(), list(folder.quarantined()), list(verify(folder.path).quarantined)) == (
        [1], [0], ["part-00000"],
    )  # fmt: skip
    taken = leases.take(1, 2)
    assert taken is not None
    assert taken.strikes == 1
    folder.retry()
    assert folder.unfinished() == [0, 1]
    assert leases.current() == {1: 3}
