"""The application: every command found in this folder, and one way in which all of them fail."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import BadSetting, BadTemplate, EngramError, OtherRun, UnaskablePrompt, UnknownName
from ._listing import Listing

SPELT = {  # what an error advises in Python, and how it is said here
    "trust_remote_code=True": "--trust-remote-code",
    "safetensors_only=False": "--allow-pickle",
    "dtype='float32'": "--dtype float32",
    "Prompt(..., against=...)": "--against",
    'kind="block"': "--kind block",
    'kind="ffn"': "--kind ffn",
    'kind="attention"': "--kind attention",
}
MISUSE = (
    UnknownName,
    BadSetting,
    UnaskablePrompt,
    BadTemplate,
    OtherRun,
)  # what the user wrote; the rest is what happened


def application() -> typer.Typer:
    """A new application with all commands. Reads their files, and with them nothing heavy."""
    app = typer.Typer(
        name="engram", cls=Commands, help="Find, test, rewrite and audit what a Hugging Face transformer knows.",
        no_args_is_help=True, add_completion=True, rich_markup_mode=None, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )  # fmt: skip
    app.callback()(_engram)
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__package__}.{module.name}").register(app)
    return app


class Commands(Listing):
    """Says in one line on stderr what went wrong, and what engram warns of. A bug keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        with warnings.catch_warnings():
            warnings.filterwarnings("default", module=r"engram\b")
            warnings.showwarning = _warned
            try:
                return super().invoke(ctx)
            except EngramError as error:
                _say("error", typer.colors.RED, error)
                raise typer.Exit(2 if isinstance(error, MISUSE) else 1) from None


def _warned(message: Warning | str, *_where: Any, **_how: Any) -> None:
    _say("warning", typer.colors.YELLOW, message)


def _say(what: str, colour: str, message: object) -> None:
    typer.secho(f"{what}: ", fg=colour, nl=False, err=True)
    text = " ".join(str(message).split())
    for python, shell in SPELT.items():
        text = text.replace(python, shell)
    typer.echo(text, err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"engram {__version__}")
        raise typer.Exit


def _engram(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass
