"""The pages of the shipped models are their cards, from the title on, and every model has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted(p.parent for p in (ROOT / "src" / "engram" / "models" / "shipped").glob("*/config.json"))
INCLUDED = re.compile(r'^--8<-- "(.+):(\d+)"$', re.MULTILINE)


def test_every_shipped_model_has_a_page_and_every_page_a_model():
    assert {p.stem for p in (ROOT / "docs" / "models").glob("*.md")} == {folder.name for folder in SHIPPED}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_a_page_includes_the_card_from_its_title_on(folder):
    page = (ROOT / "docs" / "models" / f"{folder.name}.md").read_text(encoding="utf-8")
    ((path, line),) = INCLUDED.findall(page)
    assert ROOT / path == folder / "README.md"
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    first = int(line) - 1
    assert lines[first] == f"# engram's {folder.name} model"
    assert lines[0] == lines[first - 1] == "---"  # what is left out is the front matter, and nothing else


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_the_cards_page_is_in_the_navigation(folder):
    assert f"models/{folder.name}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
