"""Numbers from answers. No model, no torch: what was asked once can be judged again."""

from .agreement import Agreement, agreement
from .base import Metric, metrics
from .changes import (
    CHANGES,
    Change,
    absolute,
    accuracy,
    average,
    log_change,
    mean_of_ratios,
    mean_reciprocal_rank,
    ratio_of_means,
    symmetric_fold,
    without_ratio,
)
from .compare import compare
from .flips import Flips
from .intervals import Resampling, bootstrap, percentile
from .pairs import Pairs
from .relations import RelationChange, RelationChanges, by_relation
from .significance import Tested, false_discovery, paired_test

__all__ = [
    "CHANGES",
    "Agreement",
    "Change",
    "Flips",
    "Metric",
    "Pairs",
    "RelationChange",
    "RelationChanges",
    "Resampling",
    "Tested",
    "absolute",
    "accuracy",
    "agreement",
    "average",
    "bootstrap",
    "by_relation",
    "compare",
    "false_discovery",
    "log_change",
    "mean_of_ratios",
    "mean_reciprocal_rank",
    "metrics",
    "paired_test",
    "percentile",
    "ratio_of_means",
    "symmetric_fold",
    "without_ratio",
]
