"""`engram run NAME` of an experiment that a plug-in brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer
from typer import Option

from ..registry import Plugin, plugins
from ._drawn import Drawing, Source
from ._listing import Listing
from ._named import made
from ._options import Json, ModelOptions, spread
from ._running import Places
from .locate import Method

GROUP = "engram.experiments"


class Experiments(Listing):
    """The experiments that have a command of their own, and those of plug-ins."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, those of plug-ins last."""
        own = super().list_commands(ctx)
        return [*own, *(name for name in _plugged() if name not in own)]

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command of this name, made where it is a plug-in's; None where there is none."""
        found = super().get_command(ctx, name)
        return _command(plugin) if found is None and (plugin := _plugged().get(name)) else found


def _plugged() -> dict[str, Plugin]:
    return {p.name: p for p in plugins() if p.group == GROUP}


def _command(plugin: Plugin) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    whose = f"{plugin.distribution} {plugin.version}".strip() or plugin.module
    app.command(plugin.name, help=f"An experiment of the plug-in {whose}.")(spread(_running(plugin.name)))
    return typer.main.get_command(app)


def _running(name: str) -> Callable[..., None]:
    def run(
        *,
        source: Source,
        drawing: Drawing,
        method: Method,
        set_: Annotated[
            list[str] | None, Option("--set", help="A setting of the experiment, name=value; may be given again.")
        ] = None,
        places: Places,
        as_json: Json = False,
        options: ModelOptions,
    ) -> None:
        from ..experiments import experiments

        chosen = {f.name: value for f in fields(drawing) if (value := getattr(drawing, f.name)) != f.default}
        if method != Method():
            chosen["locator"] = method.locator()
        experiment = made(experiments, name, set_ or (), chosen)
        known = source.read()
        wanted = source.relations(known)
        places.do(experiment, known if wanted is None else known.only(wanted), options, as_json=as_json)

    return run
