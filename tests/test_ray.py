"""Runs on a Ray cluster: a real one, on this machine, whose workers and nodes are really killed."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import engram as eg
from engram.errors import BadSetting
from engram.runs import ray as on_ray
from engram.store import RunFolder, identity
from engram.store.owners import lives
from test_runs import (
    FACTS,
    FAST,
    PLAIN,
    SHARDS,
    Deadly,
    Slow,
    checkpoint,
    events,
    leases,
    other_model,
    shards,
    undisturbed,
    until,
    until_gone,
)  # fmt: skip

__all__ = ["checkpoint", "undisturbed"]  # fixtures

NAMES = [f"part-{n:05}" for n in range(SHARDS)]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install engram[ray]")


def elsewhere(kind: str, checkpoint: str, out: str, workers: str, address: str) -> None:
    """What another process of these tests does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, a shell may have us ignore it
    experiment = {"slow": Slow, "deadly": Deadly, "other": type(PLAIN)}[kind](FAST, shard=1)
    other = functools.partial(other_model, checkpoint, os.getpid())
    opening = other if kind == "other" else checkpoint
    run = eg.run(experiment, FACTS, opening, out=out, on="ray", workers=int(workers), address=address or None)
    assert run.complete or run.quarantined
    assert not sys.modules["ray"].is_initialized()  # what was started or joined there was left


def nodes() -> None:
    """A head that does no work, and two nodes with a core each; a line from above takes one node away."""
    from ray.cluster_utils import Cluster

    shared = {"include_dashboard": False, "object_store_memory": 2**27}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **shared})
    two = [cluster.add_node(num_cpus=1, **shared) for _ in range(2)]
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        cluster.remove_node(two.pop(), allow_graceful=False)
    cluster.shutdown()


def started(act: str, *arguments: object, slowly: float = 0.5) -> subprocess.Popen:
    """A function of this file, in a process of its own: what Ray leaves open is no concern of the other tests."""
    here = (Path(eg.__file__).parent.parent, Path(__file__).resolve().parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, here)), "SLOWLY": str(slowly)}
    command = [sys.executable, "-c", f"import sys, test_ray; test_ray.{act}(*sys.argv[1:])", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def ended(process: subprocess.Popen, code: int = 0) -> str:
    """What it said on stderr."""
    said = process.communicate(timeout=180)[1]
    assert process.returncode == code, said
    return said


class Nodes(NamedTuple):
    process: subprocess.Popen
    address: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    process = started("nodes")
    while (line := process.stdout.readline()) and not line[0].isdigit():
        continue
    assert line, process.communicate()[1]
    yield Nodes(process, line.strip())
    process.communicate(timeout=60)


def holders(out: Path) -> list[int]:
    """The processes that have a shard in hand, and have said that they began it."""
    found = []
    for path in out.glob("leases/*.json"):
        try:
            owner = json.loads(path.read_text())["owner"]["process"]
            own = [x for log, began in events(out, "began").items() if f"-{owner}-" in log.name for x in began]
        except (OSError, ValueError):  # given back, or not yet written
            continue
        if own and path.name.startswith(own[-1]) and not (out / "shards" / f"{own[-1]}.parquet").exists():
            found.append(owner)
    return found


def begun(out: Path) -> list[str]:
    return sorted(x for own in events(out, "began").values() for x in own)


@needs_ray
@pytest.mark.slow
def test_a_worker_of_ray_that_is_killed_costs_its_shard(checkpoint: Path, undisturbed: Path, tmp_path: Path) -> None:
    process = started("elsewhere", "slow", checkpoint, tmp_path / "run", 2, "")
    out = tmp_path / "run"
    held: list[int] = []
    until(lambda: len(list(out.glob("shards/*.parquet"))) >= 1 and bool(held.extend(holders(out)) or held), process)
    os.kill(held[0], signal.SIGKILL)
    ended(process)
    run = eg.open_run(out)
    assert (run.complete, run.quarantined, leases(out)) == (True, {}, [])
    assert shards(out) == shards(undisturbed)
    again = begun(out)
    assert set(again) == set(NAMES)
    assert len(again) == SHARDS + 1
    assert len([own for own in events(out, "began").values() if own]) >= 2
    until_gone(process.pid)


@needs_ray
@pytest.mark.slow
def test_a_shard_that_kills_its_actors_is_given_up(
    cluster: Nodes, checkpoint: Path, undisturbed: Path, tmp_path: Path
) -> None:
    ended(started("elsewhere", "deadly", checkpoint, tmp_path, 2, cluster.address))
    run = eg.open_run(tmp_path)
    assert (run.complete, list(run.quarantined)) == (False, [2])
    assert begun(tmp_path) == sorted([*NAMES, NAMES[2]])
    assert "2 workers ended at it" in run.quarantined[2]["reason"]
    whole = shards(undisturbed)
    assert shards(tmp_path) == {name: x for name, x in whole.items() if not name.startswith(NAMES[2])}


@needs_ray
@pytest.mark.slow
def test_what_an_actor_raises_is_raised_here(cluster: Nodes, checkpoint: Path, tmp_path: Path) -> None:
    said = ended(started("elsewhere", "other", checkpoint, tmp_path, 1, cluster.address), 1)
    assert "OtherRun: a worker loaded something else than the run was begun with" in said
    assert leases(tmp_path) == []


@needs_ray
@pytest.mark.slow
def test_a_node_that_is_lost_costs_what_it_had_in_hand(
    cluster: Nodes, checkpoint: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process = started("elsewhere", "slow", checkpoint, tmp_path / "run", 2, cluster.address)
    out = tmp_path / "run"
    until(lambda: len(holders(out)) == 2, process)
    cluster.process.stdin.write("\n")
    cluster.process.stdin.flush()
    ended(process)
    run = eg.open_run(out)
    assert (run.complete, run.quarantined, leases(out)) == (True, {}, [])
    assert shards(out) == shards(undisturbed)
    assert len(begun(out)) <= SHARDS + 1


@needs_ray
@pytest.mark.slow
def test_ctrl_c_gives_back_what_the_actors_have(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = started("elsewhere", "slow", checkpoint, out, 2, "")
    until(lambda: len(list(out.glob("shards/*.parquet"))) >= 1 and len(holders(out)) == 2, process)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert said.count("Traceback") == 1  # that of the script, for it does not catch it
    assert leases(out) == []
    until_gone(process.pid)
    assert len(RunFolder.at(out).unfinished()) > 0


@needs_ray
@pytest.mark.slow
def test_a_run_on_ray_that_is_killed_is_finished_elsewhere(checkpoint: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = started("elsewhere", "slow", checkpoint, out, 2, "", slowly=2)
    until(lambda: len(list(out.glob("shards/*.parquet"))) >= 1 and len(holders(out)) == 2, process)
    actors = [lease for lease in map(identity, holders(out)) if lives(lease)]
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(lives(actor) for actor in actors) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(RunFolder.at(out).unfinished()) > 0  # they did not go on alone
    run = eg.run(PLAIN, FACTS, str(checkpoint), out=out)
    assert (run.complete, run.quarantined) == (True, {})  # no shard is to blame
    assert shards(out) == shards(undisturbed)


def test_where_no_cluster_answers_it_is_said(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSetting, match="an address is that of a Ray cluster"):
        eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path, address="auto")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(BadSetting, match=r"pip install 'engram\[ray\]'"):
            eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path, on="ray")
    pytest.importorskip("ray")
    with pytest.raises(BadSetting, match=r"no Ray cluster answers at 127\.0\.0\.1:1:"):
        eg.run(PLAIN, FACTS, str(checkpoint), out=tmp_path, on="ray", address="127.0.0.1:1")


def test_a_folder_that_is_not_shared_is_noticed(undisturbed: Path, tmp_path: Path) -> None:
    folder = RunFolder.at(undisturbed)
    shutil.copytree(undisturbed, tmp_path / "copy")
    with on_ray._sign(folder) as sign:
        on_ray._shared(folder, sign)
        for elsewhere in (tmp_path / "copy", tmp_path / "nowhere"):
            other = RunFolder(elsewhere, folder.key, folder.sizes, folder.about)
            with pytest.raises(BadSetting, match=r"does not see the run in .*a disk of them all"):
                on_ray._shared(other, elsewhere / "leases" / sign.name)
    assert leases(undisturbed) == []
