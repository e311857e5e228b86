"""The command line as a page: every command, what it is for, its options, and what they are when nothing is said."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import typer.main

from engram.cli._app import application

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
HEAD = """# The command line

Every command with its options, as `engram COMMAND --help` has them. `--json` gives one JSON document; misuse exits with
2, failure with 1, and what was wrong is said in one line.

<!-- Written by scripts/cli_reference; change the commands, not this page. -->
"""
KINDS = {str: "text", int: "whole number", float: "number", Path: "path"}


def page() -> str:
    """The whole page, in Markdown."""
    root: Any = typer.main.get_command(application())
    parts = [HEAD, *_options([p for p in root.params if p.name in ("_version", "version")], root), ""]
    for path, command in _commands(root, "engram"):
        parts += _section(path, command)
    return "\n".join(parts).rstrip() + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command below this one, in the order of the help."""
    for name, command in group.commands.items():  # those of plug-ins are not there
        if command.hidden:
            continue
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")


def _section(path: str, command: Any) -> list[str]:
    asked = [p for p in command.params if p.param_type_name == "argument"]
    given = [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"]
    depth = "#" * path.count(" ") + "#"
    lines = [f"{depth} {path}", "", *_told(command.help or "")]
    if hasattr(command, "commands"):
        return [*lines, f"Commands: {', '.join(f'`{name}`' for name in command.commands)}.", ""]
    usage = " ".join([path, *(_asked(p, command) for p in asked), *(["[OPTIONS]"] if given else [])])
    lines += ["```text", usage, "```", ""]
    lines += [f"* `{_asked(p, command)}`: {_said(p.help)}" for p in asked if p.help]
    if asked:
        lines.append("")
    if given:
        count = f"{len(given)} options" if len(given) > 1 else "1 option"
        lines += [f'??? info "{count}"', "", *(f"    {line}" for line in _options(given, command)), ""]
    return lines


def _told(text: str) -> list[str]:
    """What a command is for; a paragraph marked as it stands is an example for the shell."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            lines += ["```console", *(f"$ {line}" for line in paragraph.split("\n")[1:]), "```", ""]
        else:
            lines += [_said(" ".join(paragraph.split())), ""]
    return lines


def _options(options: Sequence[Any], command: Any) -> list[str]:
    """One point each: how it is written, what it takes, what it does, and what it is when nothing is said."""
    points = []
    for p in options:
        names = ", ".join(f"`{name}`" for name in sorted(p.opts, key=len, reverse=True))
        names += "".join(f" or `{name}`" for name in p.secondary_opts)
        kind = f" *{words}*" if (words := _kind(p, command)) else ""
        told, _, otherwise = (p.help or "").partition(" [")
        if otherwise.endswith("]"):  # a default in words
            points.append(f"* {names}{kind}: {_said(told)} Default: {_said(otherwise[:-1])}.")
        else:
            points.append(f"* {names}{kind}: {_said(p.help or '')}{_default(p)}")
    return points


def _kind(p: Any, command: Any) -> str:
    """What an option takes, in words; nothing for one that is only there or not."""
    annotation = _annotation(p, command)
    inner, info = get_args(annotation)[:2]
    several = get_origin(inner) in (list, tuple)
    inner = get_args(inner)[0] if several or type(None) in get_args(inner) else inner
    if get_origin(inner) is list:
        several, inner = True, get_args(inner)[0]
    if inner is bool:
        return ""
    bounds = {(True, False): f", {info.min} or more", (False, True): f", at most {info.max}"}
    known = (info.min is not None, info.max is not None)
    between = f", {info.min} to {info.max}" if all(known) else bounds.get(known, "")
    return KINDS[inner] + between + (", may be given again" if several and "given again" not in p.help else "")


def _default(p: Any) -> str:
    """What it is when nothing is said, unless that is nothing; where the help has said it, not again."""
    value = p.default() if callable(p.default) else p.default
    if p.secondary_opts:
        return f" Default: `{p.opts[0] if value else p.secondary_opts[0]}`."
    if p.required:
        return " Required."
    if value is None or isinstance(value, bool) or value in ("", [], ()):
        return ""
    shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f" Default: `{shown}`."


def _asked(p: Any, command: Any) -> str:
    """An argument as a usage line has it."""
    info = get_args(_annotation(p, command))[1]
    name = info.metavar or p.name.upper()
    if info.metavar or p.required:
        return name + ("..." if p.nargs == -1 and not info.metavar else "")
    return f"[{name}]" + ("..." if p.nargs == -1 else "")


def _annotation(p: Any, command: Any) -> Any:
    """What the command's function says of this parameter."""
    return inspect.signature(command.callback, eval_str=True).parameters[p.name].annotation


def _said(text: str) -> str:
    """Text in Markdown: nothing in it is a mark but what stands in backticks, and options stand there."""
    return "".join(x if x.startswith("`") else _plain(x) for x in re.split(r"(`[^`]*`)", text))


def _plain(text: str) -> str:
    escaped = re.sub(r"([\[\]*_\\])", r"\\\1", text).replace("<", "&lt;")
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*", r"`\g<0>`", escaped)


if __name__ == "__main__":
    text = page()
    if sys.argv[1:] == ["--check"]:
        stale = PAGE.read_text(encoding="utf-8") != text
        sys.exit(f"{PAGE} is stale: scripts/cli_reference writes it again" if stale else 0)
    PAGE.write_text(text, encoding="utf-8")
