"""What are editors called where one names them in a word: on the command line and on the page?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Called(NamedTuple):
    """An editor by its own name, settings that the word implies (a preset), and what to call it in full."""

    editor: str
    settings: Mapping[str, Any]
    words: str


CALLED: Mapping[str, Called] = {
    "r-rome": Called("rome", {"preset": "r-rome"}, "R-ROME (Gupta et al. 2024)"),
    "rome": Called("rome", {"preset": "rome"}, "ROME as published (Meng et al. 2022)"),
    "p-rome": Called("rome", {"preset": "p-rome"}, "p-ROME, the sentence alone"),
    "memit": Called("memit", {}, "MEMIT (Meng et al. 2023)"),
    "alphaedit": Called("alpha_edit", {}, "AlphaEdit (Fang et al. 2024)"),
    "surgery": Called("knowledge_surgery", {}, "knowledge surgery (Dai et al. 2022)"),
    "causal_neuron": Called("causal_neuron", {}, "causal neurons, found by tracing (Wen & Bai)"),
    "ft-m": Called("fine_tuning", {"preset": "ft-m"}, "fine-tuning (FT-M)"),
    "ft": Called("fine_tuning", {"preset": "ft"}, "fine-tuning (FT)"),
    "ft-l": Called("fine_tuning", {"preset": "ft-l"}, "fine-tuning, bounded (FT-L)"),
}


def called(name: str) -> Called:
    """What this word names; an editor that has no word of its own, such as a plug-in's, by its name.

    >>> called("alphaedit").editor, called("mine").editor
    ('alpha_edit', 'mine')
    """
    return CALLED.get(name, Called(name, {}, f"{name.replace('_', ' ')} (plug-in)"))
