"""What several tests need. Public data and real checkpoints are used where they lie, and skipped elsewhere."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks are slower on many threads, and tests run side by side

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ENGRAM_SHARED", ROOT.parent / "shared"))


def _shared(part: str) -> Path:
    if not (folder := SHARED / part).is_dir():
        pytest.skip(f"needs the public {part} in {SHARED} (set ENGRAM_SHARED to where they lie)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public data sets: ParaRel, T-REx facts, tokenizers."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Real checkpoints that others trained."""
    return _shared("models")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, so that the last bits of sums are the same wherever a test runs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
