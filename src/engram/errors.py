"""Every error that engram raises on purpose.

* EngramError
  + UnknownName            (a model, family, relation, locator, preset … of that name does not exist)
  + BrokenPlugin           (a plug-in that does not load, or does not bring what it says)
  + BadSetting             (a setting outside what its method is defined for)
  + BadData                (a data file that cannot be read: names the file and the line)
  + BadTemplate            (a template without exactly one [X] and one [Y])
  + UnsupportedModel       (no family serves this architecture, or the architecture hides its neurons)
  + BrokenCheckpoint       (files missing, cut off, unsafe, or without the weights that answer)
  + HookDidNotFire         (a place was to be read or changed, and the network never went there)
  + NotFinite              (the network answered with NaN or infinity)
  + OutOfMemory            (even one row at a time does not fit)
  + UnaskablePrompt        (this model cannot be asked this prompt)
    + NotOneBlank          (a prompt has exactly one [Y])
    + BlankNotLast         (a causal model needs the blank at the end)
    + AnswerNotWritable    (the tokenizer cannot write the answer)
    + PromptTooLong        (more tokens than the network has positions)
    + NoSubject            (the words to be corrupted are not in the prompt)
  + BelowFloor             (scores below the stored floor were asked for)
  + OtherRun               (a folder holds a run that differs from the one asked for: says in what)
  + OtherWeights           (an edit is to be held on weights that it was not made from)
    + EditConflict         (two edits want the same place, and one does not know of the other)

`except EngramError` catches what engram raises on purpose, and nothing else. Anything else is a bug in engram
(or in what lies below it), and worth a report.

>>> import engram as eg
>>> try:
...     eg.load("engram:maskd")
... except eg.errors.EngramError as error:
...     print(type(error).__name__)
UnknownName
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EngramError(Exception):
    """Base class: what a user can put right.

    >>> isinstance(BadSetting("steps is a whole number from 1 up, not 0"), EngramError)
    True
    """


class UnknownName(EngramError, LookupError):
    """There is no such thing; says what there is.

    >>> print(UnknownName("rule", "gaus", ["gauss", "right", "left"]))
    There is no rule called 'gaus'. Did you mean gauss? Known: gauss, left, right.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=3)
        parts = [f"There is no {kind} called {name!r}."]
        if close:
            parts.append(f"Did you mean {', '.join(close)}?")
        if names:
            shown = names if len(names) <= 40 else [*names[:40], f"… ({len(names)} in all)"]
            parts.append(f"Known: {', '.join(shown)}.")
        if hint:
            parts.append(hint)
        super().__init__(" ".join(parts))
        self.kind, self.name, self.known, self.hint = kind, name, tuple(names), hint

    def __reduce__(self) -> tuple[object, ...]:  # a copy is made from what was given, not from the message
        return type(self), (self.kind, self.name, self.known, self.hint)


class BrokenPlugin(EngramError, ImportError):
    """A plug-in that does not load, or does not bring what it says; names its package and its entry point.

    >>> from importlib.metadata import EntryPoint
    >>> from engram.registry import load
    >>> load(EntryPoint("mine", "no_such_module", "engram.locators"))
    Traceback (most recent call last):
    engram.errors.BrokenPlugin: The plug-in 'mine' (engram.locators: mine = no_such_module) cannot be used: ...
    """


class BadSetting(EngramError, ValueError):
    """A setting outside what its method is defined for.

    >>> import engram as eg
    >>> eg.IntegratedGradients(steps=0)
    Traceback (most recent call last):
    engram.errors.BadSetting: steps is a whole number from 1 up, not 0
    """


class BadData(EngramError, ValueError):
    """A data file that cannot be read; the message starts with the file and, where there is one, the line.

    >>> print(BadData("facts/moon.jsonl", 2, "lacks 'obj_label'"))
    facts/moon.jsonl, line 2: lacks 'obj_label'
    """

    def __init__(self, path: object, line: int | None, what: str) -> None:
        where = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{where}: {what}")
        self.path, self.line, self.what = path, line, what

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.line, self.what)


class BadTemplate(EngramError, ValueError):
    """A template has exactly one [X] for the subject and one [Y] for the answer.

    >>> import engram as eg
    >>> eg.Relation("moon", "moon of", ("[X] is a moon.",))
    Traceback (most recent call last):
    engram.errors.BadTemplate: relation 'moon': a template has exactly one [X] and one [Y]: '[X] is a moon.'
    """


class UnsupportedModel(EngramError):
    """No family serves this architecture, or the architecture hides its neurons.

    >>> import torch
    >>> from engram.models import value_slots
    >>> value_slots(torch.nn.LayerNorm(2))
    Traceback (most recent call last):
    engram.errors.UnsupportedModel: LayerNorm keeps no plain matrix (quantised or fused weights?)
    """


class BrokenCheckpoint(EngramError):
    """A checkpoint that does not hold a whole, safe, answering model.

    >>> import tempfile
    >>> import engram as eg
    >>> eg.load(tempfile.mkdtemp())
    Traceback (most recent call last):
    engram.errors.BrokenCheckpoint: ... is a folder without config.json, not a checkpoint
    """


class HookDidNotFire(EngramError):
    """A place was to be read or changed, and the network never went there: nothing can be said about it.

    >>> import engram as eg
    >>> model = eg.load(*eg.testing.tiny("bloom", slow_but_exact=True, pretraining_tp=2))  # goes round its second map
    >>> prompt = eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> eg.ask(model, prompt, under=eg.suppressed(eg.NeuronSet.parse("L1.3")))
    Traceback (most recent call last):
    engram.errors.HookDidNotFire: the network never passed transformer.h.1.mlp.dense_4h_to_h (layer 1): ...
    """


class NotFinite(EngramError, ArithmeticError):
    """The network answered with NaN or infinity.

    >>> import engram as eg
    >>> loud = eg.fixed(eg.NeuronSet.parse("L1.3"), float("inf"))
    >>> eg.ask(eg.load(), eg.Prompt("The capital of Ireland is [Y].", "Dublin"), under=loud)
    Traceback (most recent call last):
    engram.errors.NotFinite: engram:masked answers with NaN or infinity at the asked position. ...
    """


class OutOfMemory(EngramError, MemoryError):
    """Even one row at a time does not fit into memory.

    >>> issubclass(OutOfMemory, MemoryError)  # so it is caught with Python's own
    True
    """


class UnaskablePrompt(EngramError, ValueError):
    """This model cannot be asked this prompt.

    >>> import engram as eg
    >>> try:
    ...     eg.ask(eg.load("engram:causal"), eg.Prompt("[Y] is the capital of Ireland.", "Dublin"))
    ... except UnaskablePrompt as error:
    ...     print(type(error).__name__)
    BlankNotLast
    """


class NotOneBlank(UnaskablePrompt):
    """A prompt has exactly one blank [Y].

    >>> import engram as eg
    >>> eg.Prompt("The capital of Ireland.", "Dublin")
    Traceback (most recent call last):
    engram.errors.NotOneBlank: a prompt has exactly one blank [Y], this one has 0: 'The capital of Ireland.'
    """


class BlankNotLast(UnaskablePrompt):
    """A causal model continues a text; the blank must be the last thing in the prompt.

    >>> import engram as eg
    >>> eg.ask(eg.load("engram:causal"), eg.Prompt("[Y] is the capital of Ireland.", "Dublin"))
    Traceback (most recent call last):
    engram.errors.BlankNotLast: a causal model continues a text, and here ' is the capital of Ireland.' follows ...
    """


class AnswerNotWritable(UnaskablePrompt):
    """The tokenizer cannot write the answer, or not without swallowing a part of the prompt.

    >>> import engram as eg
    >>> eg.ask(eg.load(), eg.Prompt("The capital of Japan is [Y].", "東京"))
    Traceback (most recent call last):
    engram.errors.AnswerNotWritable: the tokenizer cannot write '東京': it would become ...
    """


class PromptTooLong(UnaskablePrompt):
    """The prompt has more tokens than the network has positions.

    >>> import engram as eg
    >>> eg.ask(eg.load(), eg.Prompt(f"It is {'very ' * 99}[Y].", "small"))
    Traceback (most recent call last):
    engram.errors.PromptTooLong: 204 tokens, and this model has 64 positions: 'It is very very ...
    """


class NoSubject(UnaskablePrompt):
    """The subject whose tokens are to be corrupted is not in the prompt.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> eg.trace(eg.load("engram:causal"), prompt, subject="Italy", by=eg.CausalTracing())
    Traceback (most recent call last):
    engram.errors.NoSubject: 'Italy' is not in 'The capital of Ireland is '; ...
    """


class BelowFloor(EngramError, ValueError):
    """Scores below the floor were not kept; nothing can be said about them.

    >>> import numpy as np
    >>> import engram as eg
    >>> kept = eg.Attribution(eg.Prompt("It is [Y].", "so"), "toy", np.array([[0.5, -np.inf]]), gap=np.zeros(1),
    ...                       change=np.zeros(1), widths=(2,), floor=0.1)
    >>> kept.above(0.05)
    Traceback (most recent call last):
    engram.errors.BelowFloor: scores are kept from 0.1 up; 0.05 was asked for
    """


class OtherRun(EngramError, ValueError):
    """A folder holds a run that was made with something else; the two cannot be one.

    >>> import tempfile
    >>> import engram as eg
    >>> facts, folder = eg.data.read("shipped").only(["capital"]), tempfile.mkdtemp()
    >>> run = eg.run(eg.experiments.Attributions(eg.Activation(), limit=1), facts, out=folder)
    >>> run = eg.run(eg.experiments.Attributions(eg.Activation(), limit=2), facts, out=folder)
    Traceback (most recent call last):
    engram.errors.OtherRun: ...
    """


class OtherWeights(EngramError, ValueError):
    """An edit is to be held on weights that it was not made from; undoing it would leave the wrong ones behind.

    >>> import engram as eg
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> edit = eg.rewrite(eg.load(), wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1")))
    >>> eg.ask(eg.load("engram:causal"), eg.Prompt("The author of Hamlet is [Y]", "Shakespeare"), under=edit)
    Traceback (most recent call last):
    engram.errors.OtherWeights: this edit (erasure) was planned on engram:masked: ...
    """


class EditConflict(OtherWeights):
    """Two edits change the same place, and neither was planned with the other in mind.

    >>> import engram as eg
    >>> model, one = eg.load(), eg.NeuronSet.parse("L0.1")
    >>> fact = eg.Fact("Hamlet", "author", "Shakespeare")
    >>> erased = eg.rewrite(model, fact.becoming(None), by=eg.Erasure(one))
    >>> other = eg.rewrite(model, fact.becoming("Dante"), by=eg.KnowledgeSurgery(one))
    >>> eg.ask(model, eg.Prompt("The author of Hamlet is [Y].", "Shakespeare"), under=(erased, other))
    Traceback (most recent call last):
    engram.errors.EditConflict: this edit ...
    """
