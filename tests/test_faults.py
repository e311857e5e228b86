"""Runs that are killed at any moment, and disks that are full, read-only or damaged: nothing lost, nothing twice."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import Result
from typer.testing import CliRunner

import engram as eg
from engram import files
from engram.cli._app import application
from engram.errors import BadData, EngramError
from engram.store import RunFolder, verify
from test_runs import FACTS, PLAIN, SHARDS, checkpoint, leases, model, shards, undisturbed

__all__ = ["checkpoint", "model", "undisturbed"]  # fixtures

STEPS = (  # of the work on a disk: a process that is ended in front of any of them leaves another picture
    (os, "open"), (os, "fsync"), (os, "link"), (os, "utime"),
    (Path, "replace"), (Path, "unlink"), (Path, "open"), (Path, "mkdir"),
)  # fmt: skip


def killed_at(step: int) -> None:
    """This process ends as by a kill in front of the so-manieth step that it does on the disk from now on."""
    left = [step]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        return call

    for place, name in STEPS:
        setattr(place, name, counted(getattr(place, name)))


def go(model: eg.Model, order: dict[str, Any]) -> str:
    """Do the run, with what is to go wrong; what it says."""
    if "step" in order:
        killed_at(order["step"])
    if "largest" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
    if "nobody" in order and os.geteuid() == 0:
        os.seteuid(65534)
    try:
        return "done" if eg.run(PLAIN, FACTS, model, out=order["out"]).complete else "missing"
    except EngramError as error:
        return f"{type(error).__name__}: {error}"


def serve(checkpoint: str) -> None:
    """Loads the model once, and does each run that is ordered in a process of its own, begun in a moment."""
    loaded = eg.load(checkpoint)
    eg.locate(loaded, FACTS.prompts(next(iter(FACTS)))[0], by=PLAIN.locator)
    os.write(1, b"ready\n")
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("end"):  # wait for one, which is gone to the last trace then
            os.write(1, f"{os.waitpid(order['end'], 0)[1]}\n".encode())
        elif child := os.fork():
            os.write(1, f"{child}\n".encode())
        else:
            said = go(loaded, order)
            if "say" in order:
                Path(order["say"]).write_text(said)
            os._exit(0 if said == "done" else 3)


class Server(NamedTuple):
    """Starts runs in no time."""

    process: subprocess.Popen

    def ask(self, **order: Any) -> int:
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the server has ended"
        return int(line)

    def said(self, tmp_path: Path, **order: Any) -> str:
        """What a run says that goes to its end."""
        self.ask(end=self.ask(say=str(tmp_path / "said"), **order))
        return (tmp_path / "said").read_text()


@pytest.fixture(scope="module")
def server(checkpoint: Path) -> Iterator[Server]:
    here = (Path(eg.__file__).parent.parent, Path(__file__).resolve().parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, here)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "import sys, test_faults; test_faults.serve(sys.argv[1])", str(checkpoint)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "ready\n"
    yield Server(process)
    process.communicate()


@pytest.fixture(scope="module")
def seconds(server: Server, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a run takes that nobody disturbs."""
    begin = time.monotonic()
    assert server.said(tmp_path_factory.mktemp("run"), out=str(tmp_path_factory.mktemp("run") / "whole")) == "done"
    return time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_run_that_is_killed_again_and_again_is_the_undisturbed_one(
    seed: int, server: Server, seconds: float, undisturbed: Path, tmp_path: Path
) -> None:
    draw = random.Random(seed)
    out = tmp_path / "run"
    kills = 0
    for attempt in range(1000):
        orders: list[dict[str, Any]] = [{"out": str(out)} for _ in range(draw.choice((1, 1, 2)))]  # two share the work
        for order in orders:
            if attempt < 2 or draw.random() < 0.5:
                order["step"] = draw.randrange(1, 30 + 5 * attempt)
        at_work = [server.ask(**order) for order in orders]
        if draw.random() < 0.5:
            time.sleep(draw.uniform(0, seconds * (0.2 + attempt / 10)))  # later and later: so that it ends one day
            os.kill(draw.choice(at_work), signal.SIGKILL)
        codes = [server.ask(end=process) for process in at_work]
        assert set(codes) <= {0, signal.SIGKILL}  # nobody complains of what a kill left
        kills += codes.count(signal.SIGKILL)
        if (out / "manifest.json").exists():
            assert verify(out).damaged == {}
        if 0 in codes:
            break
    assert kills > 0
    assert shards(out) == shards(undisturbed)
    found = verify(out)
    assert (found.complete, found.quarantined, found.foreign) == (True, {}, ())
    assert (found.rows, found.skipped) == (verify(undisturbed).rows, verify(undisturbed).skipped)
    assert leases(out) == []


# -- disks


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_said_and_what_was_done_stays(
    server: Server, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    sizes = sorted(len(x) for name, x in shards(undisturbed).items() if name.endswith(".parquet"))
    RunFolder.begun(out, *(lambda f: (f.key, f.sizes, f.about))(RunFolder.at(undisturbed)))
    said = server.said(tmp_path, out=str(out), largest=sizes[-1] - 1)  # the largest shard does not fit
    assert said.startswith("BadData: ")
    assert "cannot be written (File too large)" in said
    assert leases(out) == []
    assert [p.name for p in (out / "shards").iterdir() if p.name.startswith(".")] == []
    assert (verify(out).damaged, verify(out).foreign) == ({}, ())
    whole = shards(undisturbed)
    assert all(whole[name] == x for name, x in shards(out).items())
    assert server.said(tmp_path, out=str(out)) == "done"
    assert shards(out) == whole


@pytest.mark.parametrize("call", [2, 5, 9])
def test_a_full_disk_ends_a_run_that_goes_on_later(
    call: int, model: eg.Model, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.fsync, [call]

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BadData, match="No space left on device"):
            eg.run(PLAIN, FACTS, model, out=tmp_path)
    assert leases(tmp_path) == []
    assert not any(p.name.endswith(files.UNFINISHED) for p in tmp_path.rglob("*"))
    assert eg.run(PLAIN, FACTS, model, out=tmp_path).complete
    assert shards(tmp_path) == shards(undisturbed)


def test_a_lease_that_cannot_be_written_leaves_none(
    model: eg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("engram.store.leases.json.dump", full)
    with pytest.raises(BadData, match=r"part-00000\.1\.json: cannot be written .No space left on device"):
        eg.run(PLAIN, FACTS, model, out=tmp_path)
    assert leases(tmp_path) == []


@pytest.mark.slow
def test_a_folder_that_is_read_only_is_said_and_stays_as_it_is(server: Server, undisturbed: Path) -> None:
    with tempfile.TemporaryDirectory() as home:  # where others may look, unlike pytest's
        Path(home).chmod(0o755)
        out = Path(home) / "run"
        shutil.copytree(undisturbed, out)
        for name in ("part-00003.parquet", "part-00003.sha256"):
            (out / "shards" / name).unlink()
        before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
        folders = [out, *(p for p in out.rglob("*") if p.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        said = Path(home) / "said"
        said.touch()
        said.chmod(0o666)
        server.ask(end=server.ask(out=str(out), nobody=True, say=str(said)))
        assert said.read_text().startswith("BadData: ")
        assert "cannot be written (Permission denied)" in said.read_text()
        assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
        for folder in folders:
            folder.chmod(0o755)
        server.ask(end=server.ask(out=str(out), say=str(said)))
        assert (said.read_text(), shards(out)) == ("done", shards(undisturbed))


# -- repaired


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


def test_damaged_shards_are_put_aside_and_done_again(model: eg.Model, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    folder = RunFolder.at(out)
    (out / "shards" / "mine.txt").write_text("mine")
    assert engram("verify", out, "--repair").stdout.count("put aside") == 0
    assert not (out / "damaged").exists()
    for turn in (1, 2):
        cut = folder.final(4).read_bytes()[:-7]
        folder.final(4).write_bytes(cut)
        folder.final(6).with_suffix(".sha256").unlink()
        with pytest.raises(BadData, match="is damaged"):  # a run that looks whole is not taken for whole
            eg.run(PLAIN, FACTS, model, out=out)
        assert sorted(verify(out).damaged) == ["part-00004", "part-00006"]  # looking changes nothing
        found = engram("verify", out, "--repair")
        assert found.exit_code == 1
        assert f"put aside as damaged/part-00004.{turn}.parquet, and to be done again" in found.stdout
        assert "foreign: shards/mine.txt" in found.stdout
        assert (out / "damaged" / f"part-00004.{turn}.parquet").read_bytes() == cut
        assert folder.unfinished() == [4, 6]
        assert verify(out).foreign == ("shards/mine.txt",)
        assert eg.run(PLAIN, FACTS, model, out=out).complete
        assert {k: x for k, x in shards(out).items() if k != "mine.txt"} == shards(undisturbed)
    assert verify(out).whole == SHARDS
    assert (out / "shards" / "mine.txt").read_text() == "mine"
    assert len(list((out / "damaged").iterdir())) == 2 * 3  # a shard with its checksum, and one that had none
