"""The doors: a function of each data set's name, `read` for the command line, the catalogue, and a plug-in's file."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import engram as eg
from engram import data
from engram.data import data_sets
from engram.data.sets.shipped import HERE
from engram.errors import BadData, UnknownName

ROOT = Path(__file__).resolve().parent.parent
HOW_TO, EXAMPLE = ROOT / "docs" / "how-to", ROOT / "examples" / "engram_example"


def test_a_registered_name_reads_as_the_function_of_that_name_does() -> None:
    assert data.read("shipped") == eg.data.shipped()


def test_a_path_reads_whatever_is_laid_out_there(shared_data: Path, tmp_path: Path) -> None:
    assert len(data.read(shared_data / "upstream" / "pararel")) == 27_610
    assert len(data.read(str(shared_data / "upstream" / "hunter"), preset="dai")) == 27_738
    shutil.copytree(HERE, tmp_path / "mine")
    assert data.read(tmp_path / "mine").name == "mine"


def test_a_misspelt_name_is_met_with_did_you_mean() -> None:
    said = r"Did you mean pararel, mpararel, context_pararel\?.*Nor is there a file or folder"
    with pytest.raises(UnknownName, match=said):
        data.read("parrarel")
    with pytest.raises(AttributeError, match="parrarel"):
        data.parrarel  # noqa: B018


def test_a_folder_of_no_known_layout_is_refused_with_the_layouts_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"LAMA: relations\.jsonl and TREx.*Shipped: relations\.jsonl, patterns"):
        data.read(tmp_path)


def test_a_setting_that_the_data_set_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"'lang'\. Did you mean language\?"):
        data.read("mpararel", lang="de")


def test_the_catalogue_says_of_each_data_set_whose_it_is_and_whether_it_needs_a_path() -> None:
    entries = {e.name: e for e in data.catalogue()}
    assert {"blimp", "known_1000", "lama", "mpararel", "pararel", "shipped"} <= set(entries)
    needing = {"blimp", "context_pararel", "counterfact", "known_1000", "lama", "mpararel", "zsre"}
    assert {name for name, e in entries.items() if e.needs_path} == needing
    assert [e.name for e in entries.values() if not (e.description.endswith(".") and e.origin and e.licence)] == []


def test_the_functions_show_the_documentation_and_settings_of_their_data_set() -> None:
    assert data.mpararel.__name__ == "mpararel"
    assert inspect.getdoc(data.mpararel) == inspect.getdoc(data_sets["mpararel"])
    assert list(inspect.signature(data.mpararel).parameters) == ["path", "language"]
    assert set(data_sets.names()) <= set(dir(data))


def test_reading_facts_needs_neither_torch_nor_the_network() -> None:
    code = "import sys, engram; engram.data.shipped(); print({'torch', 'transformers', 'pooch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The how-to's file, installed as a plug-in for the length of a test."""
    data_sets.names()  # those of engram itself are registered once and for all
    entry = EntryPoint("moons", "engram_example.moons", data_sets.package)
    monkeypatch.syspath_prepend(EXAMPLE / "src")
    monkeypatch.setattr("engram.registry.entry_points", lambda group: [entry] if group == entry.group else [])
    monkeypatch.setattr(data_sets, "_classes", dict(data_sets._classes))
    monkeypatch.setattr(data_sets, "_read", False)
    yield entry.name
    for module in [name for name in sys.modules if name.partition(".")[0] == "engram_example"]:
        del sys.modules[module]


def test_the_how_tos_data_set_is_read_by_its_name_its_function_and_its_layout(plugged: str, tmp_path: Path) -> None:
    (tmp_path / "moons.tsv").write_text("Io\tJupiter\nTitan\tSaturn\n", encoding="utf-8")
    facts = data.moons(tmp_path)
    assert [str(f) for f in facts] == ["⟨Io, moon, Jupiter⟩", "⟨Titan, moon, Saturn⟩"]
    assert facts.prompts(facts.fact("Io", "moon of"))[0].text == "Io is a moon of [Y]."
    assert data.read(plugged, path=tmp_path) == data.read(tmp_path) == facts
    assert plugged in [e.name for e in data.catalogue()]
    (tmp_path / "moons.tsv").write_text("Io\tJupiter\nTitan\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"moons\.tsv, line 2"):
        data.moons(tmp_path)


def test_the_how_tos_folder_of_ones_own_facts_is_read_as_it_says(tmp_path: Path) -> None:
    text = (HOW_TO / "add-a-data-set.md").read_text(encoding="utf-8")
    files = re.findall(r"\| `(\S+\.jsonl)` \|.*?`(\{.*?\})`", text)
    for name, line in files:
        (tmp_path / "moons" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "moons" / name).write_text(line, encoding="utf-8")
    facts = data.read(tmp_path / "moons")
    assert [p.text for p in facts.prompts(facts.fact("Io", "moon of"))] == ["Io is a moon of [Y]."]


def test_the_how_to_shows_the_example_as_it_is() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", (HOW_TO / "add-a-data-set.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown == (EXAMPLE / "src" / "engram_example" / "moons.py").read_text(encoding="utf-8")


def test_the_how_tos_entry_point_is_in_the_group_that_is_read() -> None:
    assert f'[project.entry-points."{data_sets.package}"]' in (HOW_TO / "add-a-data-set.md").read_text(encoding="utf-8")
