"""Data sets for edits: facts with a wish each, and with the sentences that an edit is judged by."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..cases import CaseSet
from ..errors import BadData, BadSetting, UnknownName
from .base import DataSet, data_set, data_sets
from .counterfactual import counterfact_from
from .records import ENDS, has, named

SHIPPED = "shipped"


@dataclass(frozen=True)
class CaseData(DataSet):
    """A data set in which each fact comes with a wish, and with what an edit to that end is judged by.

    `path` may also be the file itself, called what you like.

    >>> from engram.data import data_sets
    >>> issubclass(data_sets["counterfact"], CaseData), data_sets["counterfact"].needs_path
    (True, True)
    """

    title: ClassVar[str]  # what its cases are called where the file is called as it is published
    files: ClassVar[tuple[str, ...]]  # what the file is called, without its ending; the first that is there is read
    mark: ClassVar[str]  # a key of every record that no other data set has
    needs_path: ClassVar[bool] = True

    @abstractmethod
    def read(self) -> CaseSet:
        """All cases, in the order of the file; or BadData. Which records were left out is said in the notes."""

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return has(folder, cls.mark) or named(folder, cls.files) is not None

    @property
    def file(self) -> Path:
        """The file to be read. Raises BadSetting or BadData."""
        if self.path is not None and (file := Path(self.path).expanduser()).is_file():
            if not has(file, self.mark):
                raise BadData(file, None, f"is to be a file of records with {self.mark!r}, as in {self.layout}")
            return file
        folder = self.folder
        if (found := named(folder, self.files)) is None:
            raise BadData(folder, None, f"in this folder are expected {self.layout}")
        return found

    def called(self) -> str:
        """The data set's title where the file is called as it is published, else the file's name."""
        name = self.file.name
        stem = next((name.removesuffix(end) for end in sorted(ENDS, key=len, reverse=True) if name.endswith(end)), name)
        return self.title if stem in self.files else stem


def cases(name_or_path: str | Path, **settings: Any) -> CaseSet:
    """What edits are judged by: the shipped cases, or those of a data set, by its name or its folder or file.

    "shipped" are made of the facts that come with engram as CounterFact was made of ParaRel (`counterfact_from`, whose
    settings may be given; by default its own). "counterfact" and "zsre" need a `path`. A file of one's own is read in
    CounterFact's form, and so is what `save_cases` wrote.

    Raises BadData, BadSetting for a data set whose facts have no wishes, and UnknownName.

    >>> case = cases("shipped", relations=["capital"]).cases[0]
    >>> str(case.fact), case.new, case.reverse[0].text
    ('⟨Sierra Leone, capital, Freetown⟩', 'Roseau', 'Roseau is the capital of [Y]')
    """
    name = str(name_or_path)
    if name == SHIPPED:
        known = [p for p in inspect.signature(counterfact_from).parameters if p != "facts"]
        for setting in settings:
            if setting not in known:
                raise UnknownName("setting of the shipped cases", setting, known)
        return counterfact_from(data_sets[SHIPPED]().read(), **settings)
    found = data_set(name, settings, first=lambda cls: issubclass(cls, CaseData))
    if not isinstance(found, CaseData):
        raise BadSetting(
            f"{name} has facts, but no wishes and nothing to judge an edit by. Cases are made of facts by "
            "counterfact_from (`engram data counterfact-from`)"
        )
    return found.read()
