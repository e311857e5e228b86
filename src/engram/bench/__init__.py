"""Speed, as ratios: both sides in one process, in turn, on the same rows, and checked to say the same."""

from .attribution import AttributionBench, bench_attribution

__all__ = ["AttributionBench", "bench_attribution"]
