"""Speed, as ratios: all sides in one process, in turn, on the same prompts, and checked to say the same."""

from .accuracy import Accuracy, Apart
from .attribution import PEERS
from .judged import JudgingBench, JudgingSide, bench_judging
from .least import Sizes, least
from .measure import bench_attribution
from .results import AttributionBench, Side, ratios
from .runs import RunsBench, bench_runs
from .traced import TracingBench, TracingSide, bench_tracing
from .trained import AccuracyBench, bench_accuracy
from .variants import VARIANTS, Variant

__all__ = [
    "PEERS", "VARIANTS", "Accuracy", "AccuracyBench", "Apart", "AttributionBench", "JudgingBench", "JudgingSide",
    "RunsBench", "Side", "Sizes", "TracingBench", "TracingSide", "Variant", "bench_accuracy", "bench_attribution",
    "bench_judging", "bench_runs", "bench_tracing", "least", "ratios",
]  # fmt: skip
