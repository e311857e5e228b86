"""mkdocs asks: tutorials are run when the site is built, and show what they printed and drew."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from executed import PageFailedError, executed
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

log = get_plugin_logger("tutorials")
AS_WRITTEN = os.environ.get("ENGRAM_DOCS") == "as-written"  # nothing is run: the pages as they stand, no pictures


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str | None:
    """The page with what its blocks say, where it is a tutorial. A block that fails ends the build."""
    uri = page.file.src_uri
    if not uri.startswith("tutorials/") or AS_WRITTEN:
        return None
    begin = time.monotonic()
    try:
        said = executed(markdown, uri, shown_under=f"made/{Path(uri).stem}/")
    except PageFailedError as error:
        raise PluginError(str(error)) from error
    for path, content in said.files.items():
        files.append(File.generated(config, f"tutorials/{path}", content=content))
    log.info("%s was run in %.0f s", uri, time.monotonic() - begin)
    return said.markdown
