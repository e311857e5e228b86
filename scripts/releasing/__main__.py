"""Build engram, look into the archives, install each in an environment of its own, and try it: `scripts/test --all`."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.logging import RichHandler

from engram import __version__
from releasing.contents import metadata, source_wrong, wheel_wrong
from releasing.trials import Place, Trial, small, whole

ROOT = Path(__file__).resolve().parents[2]
log = logging.getLogger("releasing")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do it. Leaves with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m releasing", description=__doc__)
    parser.add_argument("--contents-only", action="store_true", help="install nothing")
    asked = parser.parse_args(arguments)
    handler = RichHandler(show_path=False, show_level=False, show_time=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    with tempfile.TemporaryDirectory(prefix="engram-release-") as folder:
        home = Path(folder)
        wheel, source = build(home / "dist")
        failed = told(wheel.name, [*wheel_wrong(wheel, ROOT / "src"), *unlike_project(wheel)])
        failed += told(source.name, source_wrong(source, ROOT / "src"))
        if not asked.contents_only:
            failed += tried(home, wheel, source)
    if failed:
        raise SystemExit(f"{failed} of what was looked at is not as it should be")


def build(out: Path) -> tuple[Path, Path]:
    """The wheel and the source archive, each made from this tree, with the pinned versions of what makes them."""
    env = os.environ | {"PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    command = [sys.executable, "-m", "build", "--wheel", "--sdist", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cannot be built:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, source


def unlike_project(wheel: Path) -> list[str]:
    """What the wheel says of itself and should not."""
    said = metadata(wheel)
    wanted = {
        "Name": ["engram"], "Version": [__version__], "License-Expression": ["MIT"], "License-File": ["LICENSE"],
        "Requires-Python": [">=3.11"], "Provides-Extra": ["dev", "docs", "ray", "web"],
        "Description-Content-Type": ["text/markdown"],
    }  # fmt: skip
    return [f"{field} is {said.get(field)}, not {x}" for field, x in wanted.items() if said.get(field) != x]


def tried(home: Path, wheel: Path, source: Path) -> int:
    """How many trials failed, of both archives; and whether they install the same files."""
    constraint = ["--constraint", str(ROOT / "constraints.txt")]
    hashes, failed = {}, 0
    for archive, trials in ((wheel, [*small(__version__), *whole()]), (source, small(__version__))):
        place = Place(home / archive.name.replace(".", "-"))
        log.info("installing %s ...", archive.name)
        place.install(*constraint, str(archive))
        hashes[archive] = place.hashes()
        failed += sum(attempted(place, trial) for trial in trials)
    same = [] if hashes[wheel] == hashes[source] else ["not the files that the wheel installs"]
    return failed + told(f"{source.name}, installed", same)


def attempted(place: Place, trial: Trial) -> int:
    """1 where a trial failed."""
    done, seconds = place.run(trial)
    found = trial.wrong(done)
    return told(f"{trial.name} ({seconds:.1f} s)", [*found, done.stdout[-500:], done.stderr[-500:]] if found else [])


def told(what: str, found: list[str]) -> int:
    """Say whether something is as it should be; 1 where it is not."""
    log.info("%s  %s", "FAILED" if found else "passed", what)
    for line in found[:20]:
        log.info("        %s", line)
    return int(bool(found))


if __name__ == "__main__":
    main()
