"""`engram serve`: a page on this machine, to look at a fact inside a model."""

from __future__ import annotations

import secrets
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from ..errors import BadData, BadSetting, EngramError
from . import _show

HOST = "127.0.0.1"
NEEDED = ("fastapi", "uvicorn")
HOW: dict[str, Any] = {
    "log_level": "warning", "access_log": False, "server_header": False, "workers": 1, "ws": "none",
    "h11_max_incomplete_event_size": 64 * 1024, "timeout_graceful_shutdown": 1,
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    *,
    model: Annotated[
        str, Option("--model", "-m", help="Hub id, folder, engram:masked or engram:causal.")
    ] = "engram:masked",
    runs: Annotated[Path, Option(help="Folder whose runs the page shows; no other is read.")] = Path("runs"),
    port: Annotated[int, Option(min=0, max=65535, help="Of this machine; 0 takes one that is free.")] = 8321,
    dtype: Annotated[
        str, Option(help="float32, bfloat16, float16, float64 or auto: of every model opened.")
    ] = "float32",
    device: Annotated[str | None, Option(help="Such as cpu, cuda or cuda:1. [cpu]")] = None,
    data: Annotated[
        str, Option(help="The facts that are asked beside a sentence: a data set's name, or its folder.")
    ] = ("shipped"),
    no_open: Annotated[bool, Option("--no-open", help="Print the address, and open no browser.")] = False,
) -> None:
    """Look at a fact inside a model: a page in the browser, served by this machine to itself.

    Ask, find neurons, turn them, trace, edit, look at runs. The address holds a secret that whoever asks has to know;
    nothing is fetched from elsewhere but models that are named. Ctrl-C ends it, and with it the edits that were not
    saved. Needs the extra `web`.

    \b
    engram serve
    engram serve --model gpt2 --runs results --port 0 --no-open
    engram serve --model gpt2-xl --device cuda --dtype bfloat16 --data pararel
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise Lacking(f"the page needs {' and '.join(missing)}: pip install 'engram[web]'")
    if runs.exists() and not runs.is_dir():
        raise BadSetting(f"--runs {runs} is a file; it takes a folder of runs")
    import uvicorn
    from transformers.utils import logging

    from ..web.app import create_app
    from ..web.serving import Serving

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    told = Serving(dtype, device, data)
    told.check()
    token = secrets.token_urlsafe(24)
    with _listening(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}/?token={token}"
        _show.line(address)
        _show.line("Ctrl-C ends it.")
        if not no_open:
            typer.launch(address)
        uvicorn.Server(uvicorn.Config(create_app(model, runs, token, told), **HOW)).run(sockets=[listener])


class Lacking(EngramError):
    """A package that only this needs is not installed."""


def _listening(port: int) -> socket.socket:
    """A socket that listens on this machine alone. Raises BadData where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)  # now, so that the address answers as soon as it is printed
    except OSError as error:
        listener.close()
        raise BadData(
            f"port {port}", None, f"{error.strerror}; name another with --port, or 0 for a free one"
        ) from None
    listener.set_inheritable(True)
    return listener
