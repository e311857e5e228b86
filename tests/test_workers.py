"""Who looks after workers: what is known of those that end, hang, or have too little memory; on whatever machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import engram as eg
from engram.errors import BadSetting, OutOfMemory
from engram.experiments import Attributions
from engram.runs import processes
from engram.store import Leases, RunFolder, identity
from engram.store import leases as on_disk
from test_runs import FACTS, FAST, PLAIN, checkpoint, events, leases, model, shards, undisturbed
from test_store import AWAY, KEY, gone, stale

__all__ = ["checkpoint", "model", "undisturbed"]  # fixtures


class Hanging(Attributions):
    """The same numbers, but the third shard has no end."""

    def run(self, model, facts, case, *, progress=None):
        if case["shard"] == 2:
            time.sleep(3600)
        return Attributions.run(self, model, facts, case, progress=progress)


class Large(Attributions):
    """The same numbers, but there is no memory for the third shard."""

    def run(self, model, facts, case, *, progress=None):
        if case["shard"] == 2:
            raise OutOfMemory("one row of 4 GiB does not fit")
        return Attributions.run(self, model, facts, case, progress=progress)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.begun(tmp_path / "run", KEY, [1, 1], {})


class Watch:
    """A watch that goes on when it is told to. There is no other clock in it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


# -- leases


def test_clocks_that_jump_neither_end_a_lease_nor_keep_it(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    monkeypatch.setattr(on_disk, "time", watch)
    looks = Leases(folder, patience=60)
    stale(folder, 0, 1, owner=AWAY, supervisor=AWAY)
    path = folder.path / "leases" / "part-00000.1.json"
    for touched in (2**31, 5, 2**31 + 1, 0, 10**9):  # as the clock of its machine says: half a century to and fro
        os.utime(path, (touched, touched))
        assert looks.take(0, 1) is None
        watch.now += 50
        assert looks.take(0, 1) is None
    watch.now += 9
    assert looks.take(0, 1) is None
    watch.now += 2  # 61 seconds since the last touch
    assert looks.take(0, 1) is not None


def test_a_worker_elsewhere_that_was_seen_to_end_is_not_waited_for(folder: RunFolder) -> None:
    owner = {**AWAY, "process": 7}
    stale(folder, 0, 1, owner=owner, supervisor=AWAY)
    stale(folder, 1, 1, owner=AWAY, supervisor=AWAY)
    looks = Leases(folder)
    assert looks.take(0, 1) is None
    looks.lost(owner, "with exit code -9")
    taken = looks.take(0, 1)
    assert taken is not None
    assert (taken.turn, taken.strikes) == (2, 1)
    assert looks.take(1, 1) is None  # nobody said so of this one
    looks.forget(0)
    assert [p.name for p in (folder.path / "leases").iterdir()] == ["part-00001.1.json"]


def test_what_was_said_of_a_lease_is_not_said_of_the_next_of_that_name(folder: RunFolder) -> None:
    looks = Leases(folder)
    stale(folder, 0, 1, owner=AWAY, supervisor=AWAY)
    looks.lost(AWAY, "with exit code -9")
    (folder.path / "leases" / "part-00000.1.json").unlink()
    lease = looks.take(0)
    assert lease is not None
    assert Leases(folder).take(0, 1) is None


def test_a_shard_is_blamed_only_by_who_lived_on(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker was here, who looked after it is elsewhere: what that one will say is waited for."""
    watch = Watch()
    monkeypatch.setattr(on_disk, "time", watch)
    looks = Leases(folder, patience=60)
    for shard in (0, 1):
        stale(folder, shard, 1, owner=gone(), supervisor={**AWAY, "process": shard}, strikes=1)
        assert looks.take(shard, 1) is None
    watch.now += 61  # nothing was said: all of the run may have ended, and it is tried again
    taken = looks.take(0, 1)
    assert taken is not None
    assert taken.strikes == 1
    looks.lost(gone(), "stopped after 5 s")
    assert looks.take(1, 1) is None
    assert folder.quarantined()[1]["reason"] == "2 workers ended at it, the last one stopped after 5 s"
    assert folder.quarantined()[1]["last"]["owner"] == gone()


def test_who_is_about_to_be_killed_gives_back_and_takes_nothing(folder: RunFolder) -> None:
    looks = Leases(folder)
    lease = looks.take(0)
    assert lease is not None
    with looks.held(lease):
        looks.close()
        assert not lease.mine()
        assert looks.take(1) is None
        assert Leases(folder).take(0) is not None
    assert looks.closed


# -- workers


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended_and_its_shard_given_up(
    checkpoint: Path, undisturbed: Path, tmp_path: Path
) -> None:
    hangs = Hanging(FAST, shard=1)
    run = eg.run(hangs, FACTS, str(checkpoint), out=tmp_path, on="processes", workers=2, timeout=6)
    assert (run.complete, list(run.quarantined)) == (False, [2])
    assert run.quarantined[2]["reason"] == "2 workers ended at it, the last one stopped after 6 s"
    assert sum(x.count("part-00002") for x in events(tmp_path, "began").values()) == 2
    whole = shards(undisturbed)
    assert shards(tmp_path) == {name: x for name, x in whole.items() if not name.startswith("part-00002")}


def test_a_shard_that_does_not_fit_is_left_out_with_its_reason(
    model: eg.Model, undisturbed: Path, tmp_path: Path
) -> None:
    run = eg.run(Large(FAST, shard=1), FACTS, model, out=tmp_path)
    assert (run.complete, list(run.quarantined)) == (False, [2])
    assert run.quarantined[2]["reason"] == "OutOfMemory: one row of 4 GiB does not fit"
    whole = shards(undisturbed)
    assert shards(tmp_path) == {name: x for name, x in whole.items() if not name.startswith("part-00002")}
    assert leases(tmp_path) == []
    assert eg.run(PLAIN, FACTS, model, out=tmp_path, retry=True).complete
    assert shards(tmp_path) == whole


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"timeout": 5}, "a timeout needs a process that looks after"),
        ({"timeout": 0, "on": "processes"}, "a number of seconds above 0, not 0"),
        ({"address": "auto", "on": "processes"}, "on='ray' goes with it, not 'processes'"),
        ({"on": "ray"}, "give its name, or a function"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong: dict, said: str, model: eg.Model, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=said):
        eg.run(PLAIN, FACTS, model, out=tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("visible", "count", "given"),
    [
        (None, 3, ["0", "1", "2", "0", "1"]),
        ("4,6", 2, ["4", "6", "4", "6", "4"]),
        (None, 1, [None] * 5),
        (None, 0, [None] * 5),
    ],
)
def test_workers_are_given_gpus_in_turn(
    visible: str | None, count: int, given: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> int:
        return count

    monkeypatch.setattr(torch.cuda, "device_count", counted)
    seen: list[str | None] = []
    start: Callable[[], None] = lambda: seen.append(os.environ.get(processes.VISIBLE))  # noqa: E731
    process = SimpleNamespace(start=start)
    context = SimpleNamespace(Process=lambda **_: process, Pipe=lambda **_: (None, SimpleNamespace(close=lambda: None)))
    monkeypatch.setattr(processes.multiprocessing, "get_context", lambda _: context)
    if visible is None:
        monkeypatch.delenv(processes.VISIBLE, raising=False)
    else:
        monkeypatch.setenv(processes.VISIBLE, visible)
    for gpus, expected in (((0,), given), ((1,), [None] * 5), ((), [None] * 5), ((0, 1), [None] * 5)):
        seen.clear()
        for number in range(5):
            processes._start(SimpleNamespace(gpus=gpus), [], number)
        assert seen == [visible if x is None else x for x in expected]
        assert os.environ.get(processes.VISIBLE) == visible


def test_it_is_known_who_is_at_a_shard(folder: RunFolder) -> None:
    looks = Leases(folder)
    assert looks.holders() == {}
    lease = looks.take(0)
    assert lease is not None
    assert list(looks.holders().values()) == [identity()]
