"""Compare ways to compute the integral, and write docs/quadrature.md: ``scripts/quadrature --help``."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.logging import RichHandler

import engram
from engram import data
from engram.models import load
from study import page
from study.judge import Figures, study
from study.sample import few, known_facts

DOCS = Path(__file__).resolve().parents[2] / "docs"
MODELS = {"masked": "engram:masked", "causal": "engram:causal"}
QUICK = 5  # relations
log = logging.getLogger("study")


def examine(model: str, each: int, relations: int | None, seed: int) -> Figures:
    """Draw known facts of one model and try all settings on them, in float32 and in bfloat16."""
    facts = data.shipped()
    network, half = load(model), load(model, dtype="bfloat16")
    known = known_facts(network, facts if relations is None else few(facts, relations), each, seed)
    config = dict(vars(network.net.config))
    activation = next(config[k] for k in ("hidden_act", "activation_function", "feed_forward_proj") if k in config)
    start, busy = time.monotonic(), time.process_time()
    found = {"activation": activation, "model_type": config["model_type"], **study(network, half, known)}
    took = (time.monotonic() - start) / 60, (time.process_time() - busy) / 60
    log.info("%s: %d facts, %d prompts; %.1f minutes, %.1f of CPU", model, found["facts"], found["prompts"], *took)
    return found


def run(models: Mapping[str, str], each: int, relations: int | None, seed: int) -> dict[str, Any]:
    """All models, with what one must know in order to do it again."""
    versions = {"engram": engram.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    return {
        "each": each,
        "all relations": relations is None,
        "seed": seed,
        "versions": versions,
        "models": {name: examine(model, each, relations, seed) for name, model in models.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="scripts/quadrature", description=__doc__)
    parser.add_argument("--facts", type=int, default=1, metavar="N", help="known facts of each relation (1)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} relations only")
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write the page again")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of facts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page and of quadrature.json")
    parser.add_argument("--model", action="append", metavar="NAME=PATH", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.facts < 1:
        parser.error("--facts is a number from 1 up")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(asked.threads)
    kept = asked.docs / "quadrature.json"
    if not asked.page_only:
        models = dict(m.split("=", 1) for m in asked.model) if asked.model else MODELS
        found = run(models, asked.facts, QUICK if asked.quick else None, asked.seed)
        kept.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write(json.loads(kept.read_text(encoding="utf-8")), asked.docs)
    log.info("wrote %s", asked.docs / "quadrature.md")


if __name__ == "__main__":
    main()
