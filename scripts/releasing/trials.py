"""engram where nothing else is installed: a clean environment, away from the checkout, and what is tried there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

LONGEST = 600  # seconds for one trial
SESSION = """
import engram as eg
model, facts = eg.load("engram:causal"), eg.data.shipped()
prompts = facts.prompts(facts.fact("Ireland", "capital"), split="test", blank_last=True)
neurons = eg.select(eg.locate(model, prompts, by=eg.IntegratedGradients(steps=4)), by=eg.Shared())
print(len(prompts), "prompts", len(eg.ask(model, prompts, under=eg.suppressed(neurons))), "answers")
"""


@dataclass(frozen=True)
class Trial:
    """What is run, with what it is to leave, and what it is to say. A failure says it in one line on stderr."""

    command: tuple[str, ...]
    says: str
    code: int = 0

    @property
    def name(self) -> str:
        """As one reads it."""
        return " ".join("…" if "\n" in part else f'"{part}"' if " " in part else part for part in self.command)

    def wrong(self, done: subprocess.CompletedProcess[str]) -> list[str]:
        """What is not as it was to be.

        >>> trial = Trial(("engram", "serve"), "engram[web]", code=1)
        >>> trial.wrong(subprocess.CompletedProcess([], 1, "", "error: pip install engram[web]\\n"))
        []
        """
        found = []
        if done.returncode != self.code:
            found.append(f"left with {done.returncode}, not {self.code}")
        if self.says not in (done.stderr if self.code else done.stdout):
            found.append(f"did not say {self.says!r}")
        if "Traceback" in done.stderr:
            found.append("a traceback")
        if self.code and (done.stderr.count("\n") != 1 or not done.stderr.startswith("error: ")):
            found.append("not one line that begins with error:")
        return found


def small(version: str) -> list[Trial]:
    """What shows that it is there and works."""
    return [
        Trial(("engram", "--version"), f"engram {version}\n"),
        Trial(("engram", "--help"), "Commands:"),
        Trial(("engram", "doctor"), "checks passed"),
    ]


def whole() -> list[Trial]:
    """The main job, and what is said where an extra is not there."""
    run = ("engram", "run", "attribution", "--data", "shipped", "--facts", "1", "--out", "run", "--on", "ray")
    return [
        Trial(("engram", "ask", "The capital of Ireland is [Y].", "--answer", "Dublin"), "Dublin"),
        Trial(("python", "-c", SESSION), "2 prompts 2 answers"),
        Trial(("engram", "demo", "--facts", "1", "--out", "demo"), "demo/report.html"),
        Trial(("engram", "serve", "--no-open", "--port", "0"), "pip install 'engram[web]'", code=1),
        Trial(run, "pip install 'engram[ray]'", code=2),
    ]


@dataclass(frozen=True)
class Place:
    """A virtual environment with an archive and its dependencies, and an empty folder to work in."""

    home: Path

    @property
    def programs(self) -> Path:
        """Where its commands lie."""
        return self.home / "venv" / ("Scripts" if os.name == "nt" else "bin")

    def install(self, *what: str, python: str = sys.executable) -> None:
        """Make it. Raises CalledProcessError where pip fails."""
        (self.home / "work").mkdir(parents=True)
        subprocess.run([python, "-m", "venv", str(self.home / "venv")], check=True)
        pip = [str(self.programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *what], check=True)
        subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)

    def run(self, trial: Trial) -> tuple[subprocess.CompletedProcess[str], float]:
        """How the trial ended, and the seconds it took. Nothing of the checkout is in its environment."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "COVERAGE", "VIRTUAL_ENV"))}
        env |= {"PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
        began = time.monotonic()
        command = [str(self.programs / trial.command[0]), *trial.command[1:]]
        done = subprocess.run(
            command, env=env, cwd=self.home / "work", capture_output=True, text=True, timeout=LONGEST, check=False
        )
        return done, time.monotonic() - began

    def hashes(self) -> dict[str, str]:
        """Of every file of the package that is installed here, as pip has noted them."""
        found = self.home.glob("venv/[Ll]ib*/**/site-packages/engram-*.dist-info/RECORD")
        (record,) = {path.resolve() for path in found}  # lib64 may be another name of lib
        lines = (line.rsplit(",", 2) for line in record.read_text(encoding="utf-8").splitlines())
        return {name: digest for name, digest, _ in lines if name.startswith("engram/") and digest}
