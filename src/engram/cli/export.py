"""`engram export`: a saved edit in the weights of a whole checkpoint, or on the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..errors import BadSetting
from . import _show
from ._options import Json, ModelOptions, spread
from .ask import own_model

if TYPE_CHECKING:
    from ..edits import Edit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(spread(export))


def export(
    *,
    folder: Annotated[Path, Argument(help="Where the edit was saved.")],
    merge: Annotated[bool, Option("--merge", help="Write a checkpoint with the edit in its weights; needs --out.")] = (
        False
    ),
    out: Annotated[Path | None, Option("--out", "-o", help="With --merge: a new folder for the checkpoint.")] = None,
    push: Annotated[str | None, Option(help="A repository of the Hugging Face hub, for the adapter.")] = None,
    base: Annotated[
        str | None, Option(help="With --push: the hub id of the model that it is for. [the edit's own]")
    ] = None,
    private: Annotated[bool, Option("--private", help="With --push: a new repository is private.")] = False,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Give a saved edit to those who do not have engram.

    A saved edit is a PEFT adapter already, and loads without engram. With --merge, a whole checkpoint is written that
    transformers loads, with the tokenizer; its weights are bit for bit those of the model with the edit held. With
    --push, the adapter goes to the Hugging Face hub, with a model card. The model is the one that the edit was planned
    on, or --model.

    \b
    engram export edits/cork --merge --out models/cork
    engram export edits/cork --push me/cork --base gpt2
    """
    if merge is (out is None):
        raise BadSetting("a checkpoint is written with --merge and --out together")
    if not merge and push is None:
        raise BadSetting("what is to be done with it? --merge --out CHECKPOINT, or --push REPOSITORY")
    if push is None and (base is not None or private):
        raise BadSetting("--base and --private go with --push")
    from ..edits import Edit

    edit = Edit.load(folder)
    if out is not None:
        _merge(edit, out, options)
    where = edit.push_to_hub(push, base_model=base, **({"private": True} if private else {})) if push else None
    if as_json:
        paths: dict[str, Any] = {"checkpoint": out and str(out), "pushed": where}
        _show.document("export", edit=str(edit), folder=str(folder), **paths)
        return
    _show.line(str(edit))
    if out is not None:
        _show.line(f"A checkpoint with the edit in its weights: {out.resolve()}")
    if where is not None:
        _show.line(f"On the hub: {where}")


def _merge(edit: Edit, out: Path, options: ModelOptions) -> None:
    from ..models.adapters import free_for_a_checkpoint

    free_for_a_checkpoint(out)
    dtype = edit.patches[0].dtype if edit.patches and options.dtype == "float32" else options.dtype
    model = replace(options, dtype=dtype).load(None if options.model is not None else own_model(edit))
    edit.export(out, model)
