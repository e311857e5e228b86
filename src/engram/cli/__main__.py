"""`python -m engram.cli` is `engram`."""

from __future__ import annotations

from . import main

main()
