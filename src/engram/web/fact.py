"""Which fact of the data set does a sentence ask for, and what else may be asked beside it?"""

from __future__ import annotations

from ..errors import UnaskablePrompt
from ..facts import BLANK, Fact, Prompt
from ..models import Model
from .serving import serving

ASKABLE = """
def askable(prompt):
    try:
        return bool(model.rows(prompt))
    except eg.errors.UnaskablePrompt:
        return False
"""  # the same as below, for the Python that the page gives out


def fact_of(prompt: Prompt, subject: str | None = None) -> Fact | None:
    """The fact of this answer and subject that the page knows; None where there is none.

    Without a subject, it is the longest that stands in the sentence. Of several relations, the one with this very
    sentence among its templates, or else the first.

    >>> print(fact_of(Prompt("The capital of Ireland is [Y].", "Dublin")))
    ⟨Ireland, capital, Dublin⟩
    >>> fact_of(Prompt("It is [Y].", "late")) is None
    True
    """
    before = prompt.text.replace(BLANK, " ")
    named = [
        f
        for f in serving.facts()
        if f.answer == prompt.answer and (f.subject == subject if subject else f.subject in before)
    ]
    if not named:
        return None
    longest = max(len(f.subject) for f in named)
    best = [f for f in named if len(f.subject) == longest]
    here = (f for f in best if any(p.text == prompt.text for p in serving.facts().prompts(f)))
    return next(here, best[0])


def templates(model: Model, prompt: Prompt, fact: Fact | None) -> list[Prompt]:
    """This sentence first, then the fact in the templates that this model can be asked in."""
    if fact is None:
        return [prompt]
    others = serving.facts().prompts(fact, blank_last=model.blank_last)
    return [prompt, *(p for p in others if p.text != prompt.text and askable(model, p))]


def askable(model: Model, prompt: Prompt) -> bool:
    """Can this model be asked this?"""
    try:
        return bool(model.rows(prompt))
    except UnaskablePrompt:
        return False


def python(model: str, prompt: Prompt, fact: Fact | None, held: str = "") -> str:
    """Lines that leave `model`, `prompt` and, where there is a fact, `facts`, `fact`, `askable` and `prompts`.

    `held` are lines that make edits: they come first, for they have a prompt of their own.
    """
    lines = (
        f"import engram as eg\n\nmodel = {serving.model_python(model)}\n{held}"
        f"prompt = eg.Prompt({prompt.text!r}, {prompt.answer!r})\n"
    )
    if fact is None:
        return f"{lines}prompts = [prompt]\n"
    return (
        f"{lines}facts = {serving.facts_python}\n"
        f"fact = facts.fact({fact.subject!r}, {fact.relation!r})\n\n{ASKABLE}\n\n"
        "others = facts.prompts(fact, blank_last=model.blank_last)\n"
        "prompts = [prompt, *(p for p in others if p.text != prompt.text and askable(p))]\n"
    )
