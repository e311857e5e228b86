"""For authors of plug-ins: random networks of every family, and what each kind of plug-in promises, as checks.

>>> from engram import testing
>>> net, tokenizer = testing.tiny("llama")
>>> net.config.model_type
'llama'
"""

from .checks import (
    check_data_set,
    check_editor,
    check_experiment,
    check_locator,
    check_metric,
    check_selector,
)
from .contract import ContractBroken, check_family
from .networks import tiny

__all__ = [
    "ContractBroken",
    "check_data_set",
    "check_editor",
    "check_experiment",
    "check_family",
    "check_locator",
    "check_metric",
    "check_selector",
    "tiny",
]
