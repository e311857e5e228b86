"""Measure speed and accuracy, and write docs/performance.md: ``scripts/performance --help``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from rich.logging import RichHandler

from measuring import page, store
from measuring.plan import in_own_process, plan

DOCS = Path(__file__).resolve().parents[2] / "docs"
log = logging.getLogger("measuring")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="scripts/performance", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small shapes only")
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write the page again")
    parser.add_argument("--list", action="store_true", help="show the cells, what is there and what is to come")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--longest", type=float, metavar="MINUTES", help="leave out cells that take longer, roughly")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--threads", type=int, help="how many torch uses; else what it chooses")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page and of performance.jsonl")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    kept = asked.docs / "performance.jsonl"
    cells = plan(quick=asked.quick, device=asked.device, threads=asked.threads)
    cells = [c for c in cells if asked.longest is None or c.minutes <= asked.longest]
    if asked.list:
        there = {record["key"] for record in store.read(kept)}
        for c in cells:
            log.info("%s %s", "measured" if c.key in there else f"{c.minutes:6.1f} m", store.name(c))
        log.info("about %.1f hours to come", sum(c.minutes for c in cells if c.key not in there) / 60)
        return
    if asked.fresh and not asked.page_only:
        kept.unlink(missing_ok=True)
    failed = 0 if asked.page_only else store.run(cells, kept, in_own_process, log.info)
    page.write(store.read(kept), asked.docs)
    log.info("wrote %s", asked.docs / "performance.md")
    if failed:
        raise SystemExit(f"{failed} cells failed")


if __name__ == "__main__":
    main()
