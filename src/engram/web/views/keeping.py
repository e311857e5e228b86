"""What becomes of an edit that was planned? It is forgotten, saved as an adapter, exported, or read again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ...edits import Edit
from ...errors import BadSetting, OtherWeights, UnknownName
from ...models import Model, holding
from ..kept import KeptEdit, kept
from ..serving import serving
from ..stages import Tell
from .base import KeptIds, View, views

Id = Annotated[str, Field(min_length=1, max_length=40)]
Name = Annotated[str, Field(min_length=1, max_length=60)]
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
MODEL = "import engram as eg\n\nmodel = {}\n"


@views("forget_edit")
class ForgetEdit(View):
    """Undo an edit: it was only ever held while something was asked, so to forget it is enough."""

    anew: ClassVar[bool] = True
    id: Id

    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        kept.entry(self.id, model.name)
        return {"forgotten": kept.forget(self.id), "kept": kept.listed(model.name)}

    def python(self, model: str) -> str:
        return f"import engram as eg\n\nmodel = {serving.model_python(model)}  # an edit changes nothing until held\n"


@views("save_edit")
class SaveEdit(View):
    """Keep an edit as a PEFT adapter in `edits/NAME`, in the folder given to `engram serve`.

    One that was planned under others can only be held after them: these go with it, each into a folder of its own.
    """

    anew: ClassVar[bool] = True
    id: Id
    name: Name

    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        folders = self._folders(kept.levels([self.id], model.name))
        for folder, edit in zip(folders, kept.under([self.id], model.name), strict=True):
            edit.save(folder)
        return {"folders": [str(folder) for folder in folders], "name": self.name, "saved": saved()}

    def python(self, model: str) -> str:
        levels = kept.levels([self.id], model)
        places = [f"edits/{name}" for name in _names(self.name, levels)]
        made = f"{MODEL.format(serving.model_python(model))}{kept.python([self.id], model)}"
        return f"{made}for edit, folder in zip(under, {places!r}):\n    edit.save(folder)\n"

    def _folders(self, levels: list[list[KeptEdit]]) -> list[Path]:
        return [free(name) for name in _names(self.name, levels)]


@views("export_edit")
class ExportEdit(View):
    """Write the whole model with the edit in its weights into `edits/NAME`, in the folder given to `engram serve`."""

    anew: ClassVar[bool] = True
    id: Id
    name: Name

    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        folder = free(self.name)
        progress(0, 0, "Writing the whole model …")
        *base, last = kept.under([self.id], model.name)
        with holding(base, model):
            last.export(folder, model)
        return {"folder": str(folder), "name": self.name}

    def python(self, model: str) -> str:
        made = f"{MODEL.format(serving.model_python(model))}{kept.python([self.id], model)}"
        return (
            f"{made}*base, last = under\n"
            f"with eg.holding(base, model):\n    last.export({f'edits/{self.name}'!r}, model)\n"
        )


@views("load_edit")
class LoadEdit(View):
    """Read an edit that was saved in `edits/NAME`, in the folder given to `engram serve`, and keep it.

    One that was planned under others is read under the edits of `under`. Raises OtherWeights where it fits neither the
    model nor that.
    """

    anew: ClassVar[bool] = True
    name: Name
    under: KeptIds = Field(default_factory=list)

    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        if self.name not in saved():
            raise UnknownName("saved edit", self.name, saved(), f"Saved edits are looked for in {home()}.")
        edit = Edit.load(home() / self.name)
        on: list[str] = []
        try:
            _held(model, [edit])
        except OtherWeights:  # not of the model as it is: of the model under what is looked under?
            _held(model, [*kept.under(self.under, model.name), edit])
            on = [one.id for level in kept.levels(self.under, model.name) for one in level]
        says = f"{edit.method.replace('_', ' ')} from edits/{self.name}"
        name = kept.keep(model.name, edit, says, f"edit = eg.Edit.load({str(home() / self.name)!r})\n", on)
        return {"id": name, "says": says, "kept": kept.listed(model.name)}

    def python(self, model: str) -> str:
        read = f"edit = eg.Edit.load({str(home() / self.name)!r})\n"
        return f"{MODEL.format(serving.model_python(model))}{read}"


def _held(model: Model, edits: list[Edit]) -> None:
    """Can these be held? Raises OtherWeights, EditConflict."""
    with holding(edits, model):
        pass


def home() -> Path:
    """Where edits are saved. Raises BadSetting where there is no folder to keep them in."""
    if kept.folder is None:
        raise BadSetting("there is no folder to keep edits in: start engram serve with --runs FOLDER")
    return kept.folder / "edits"


def saved() -> list[str]:
    """The names of the edits that were saved there; nothing that a link leads out of it to.

    >>> isinstance(saved(), list)
    True
    """
    if kept.folder is None:
        return []
    inside = home().resolve()
    found = (p for p in home().glob("*/edit.json") if p.resolve().is_relative_to(inside))
    return sorted(p.parent.name for p in found if NAME.fullmatch(p.parent.name))


def free(name: str) -> Path:
    """The folder for this name. Raises BadSetting for a name that is none, or is taken."""
    if NAME.fullmatch(name) is None:
        raise BadSetting(f"an edit's name has letters, digits, - and _ only, 60 at most; not {name!r}")
    folder = home() / name
    if folder.exists():
        raise BadSetting(f"an edit called {name!r} is kept already: take another name")
    return folder


def _names(name: str, levels: list[list[KeptEdit]]) -> list[str]:
    """The name itself, or one for each of several edits that are held one after the other."""
    return [name] if len(levels) == 1 else [f"{name}-{i}" for i in range(1, len(levels) + 1)]
