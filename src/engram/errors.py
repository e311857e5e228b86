"""Every error that engram raises on purpose.

* EngramError
  x UnknownName            (a model, family, relation, locator, preset … of that name does not exist)
  x BadSetting             (a setting outside what its method is defined for)
  x BadData                (a data file that cannot be read: names the file and the line)
  x BadTemplate            (a template without exactly one [X] and one [Y])
  x UnsupportedModel       (no family serves this architecture, or the architecture hides its neurons)
  x BrokenCheckpoint       (files missing, cut off, unsafe, or without the weights that answer)
  x HookDidNotFire         (a place was to be read or changed, and the network never went there)
  x NotFinite              (the network answered with NaN or infinity)
  x OutOfMemory            (even one row at a time does not fit)
  x UnaskablePrompt        (this model cannot be asked this prompt)
    + NotOneBlank          (a prompt has exactly one [Y])
    + BlankNotLast         (a causal model needs the blank at the end)
    + AnswerNotWritable    (the tokenizer cannot write the answer)
    + PromptTooLong        (more tokens than the network has positions)
    + NoSubject            (the words to be corrupted are not in the prompt)
  x BelowFloor             (scores below the stored floor were asked for)
  x OtherRun               (a folder holds a run that differs from the one asked for: says in what)
  x OtherWeights           (an edit is to be held on weights that it was not made from)
    + EditConflict         (two edits want the same place, and one does not know of the other)

`except EngramError` catches what engram raises on purpose, and nothing else. Anything else is a bug in engram
(or in what lies below it), and worth a report.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EngramError(Exception):
    """Base class: what a user can put right."""


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


class BadSetting(EngramError, ValueError):
    """A setting outside what its method is defined for."""


class BadData(EngramError, ValueError):
    """A data file that cannot be read; the message starts with the file and, where there is one, the line."""

    def __init__(self, path: object, line: int | None, what: str) -> None:
        where = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{where}: {what}")
        self.path, self.line, self.what = path, line, what

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.line, self.what)


class BadTemplate(EngramError, ValueError):
    """A template has exactly one [X] for the subject and one [Y] for the answer."""


class UnsupportedModel(EngramError):
    """No family serves this architecture, or the architecture hides its neurons."""


class BrokenCheckpoint(EngramError):
    """A checkpoint that does not hold a whole, safe, answering model."""


class HookDidNotFire(EngramError):
    """A place was to be read or changed, and the network never went there: nothing can be said about it."""


class NotFinite(EngramError, ArithmeticError):
    """The network answered with NaN or infinity."""


class OutOfMemory(EngramError, MemoryError):
    """Even one row at a time does not fit into memory."""


class UnaskablePrompt(EngramError, ValueError):
    """This model cannot be asked this prompt."""


class NotOneBlank(UnaskablePrompt):
    """A prompt has exactly one blank [Y]."""


class BlankNotLast(UnaskablePrompt):
    """A causal model continues a text; the blank must be the last thing in the prompt."""


class AnswerNotWritable(UnaskablePrompt):
    """The tokenizer cannot write the answer, or not without swallowing a part of the prompt."""


class PromptTooLong(UnaskablePrompt):
    """The prompt has more tokens than the network has positions."""


class NoSubject(UnaskablePrompt):
    """The subject whose tokens are to be corrupted is not in the prompt."""


class BelowFloor(EngramError, ValueError):
    """Scores below the floor were not kept; nothing can be said about them."""


class OtherRun(EngramError, ValueError):
    """A folder holds a run that was made with something else; the two cannot be one."""


class OtherWeights(EngramError, ValueError):
    """An edit is to be held on weights that it was not made from; undoing it would leave the wrong ones behind."""


class EditConflict(OtherWeights):
    """Two edits change the same place, and neither was planned with the other in mind."""
