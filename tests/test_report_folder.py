"""The folder of a report: whole or not there, and never over the files of others."""

from __future__ import annotations

import json

import pytest

from engram.errors import BadData, BadSetting
from engram.report import folder, write

FILES = {"report.html": "<p>", "a.svg": "<svg/>"}
OWN = {"kind": "run", "results": [1.5]}


def listed(path):
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_a_written_folder_is_whole_and_says_what_it_is(tmp_path) -> None:
    write(tmp_path / "new" / "out", FILES, OWN)
    assert set(listed(tmp_path / "new" / "out")) == {*FILES, "results.json"}
    assert json.loads((tmp_path / "new/out/results.json").read_text()) == OWN
    folder.free(tmp_path / "new" / "out", "run")
    with pytest.raises(BadSetting, match="not of an earlier demo"):
        folder.free(tmp_path / "new" / "out", "demo")


def test_files_of_others_are_refused_and_survive_even_force(tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(BadSetting, match="--force"):
        folder.free(tmp_path, "run")
    assert listed(tmp_path) == {"thesis.tex": b"years"}
    folder.free(tmp_path, "run", force=True)
    write(tmp_path, FILES, OWN)
    assert listed(tmp_path)["thesis.tex"] == b"years"
    with pytest.raises(BadSetting, match="is a file"):
        folder.free(tmp_path / "thesis.tex", "run", force=True)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_write_that_breaks_off_leaves_what_was_there(tmp_path, monkeypatch, error, earlier) -> None:
    out = tmp_path / "out"
    if earlier:
        write(out, FILES, OWN)
    before = listed(tmp_path)
    real, seen = folder._to_disk, []

    def breaks(path, text):
        seen.append(path)
        if len(seen) == 2:
            path.write_text(text[:3])
            raise error
        real(path, text)

    monkeypatch.setattr(folder, "_to_disk", breaks)
    with pytest.raises(BadData if isinstance(error, OSError) else KeyboardInterrupt):
        write(out, dict.fromkeys(FILES, "other"), {"kind": "run", "results": [2]})
    assert listed(tmp_path) == before
    assert out.exists() is earlier
    if earlier:
        assert [f.name for f in out.iterdir() if f.name.startswith(".")] == []


def test_a_folder_that_is_half_replaced_does_not_look_whole(tmp_path, monkeypatch) -> None:
    write(tmp_path, FILES, OWN)
    real, moved = folder.Path.replace, []

    def breaks(self, target):
        moved.append(target)
        if len(moved) == 2:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(folder.Path, "replace", breaks)
    with pytest.raises(BadData, match="Input/output error"):
        write(tmp_path, FILES, OWN)
    assert "results.json" not in listed(tmp_path)
