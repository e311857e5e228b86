"""Files that are whole or not there, on disks that are full, without hard links, or not to be written to."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from engram import files
from engram.errors import BadData


def names(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir()]


@pytest.fixture
def no_links(monkeypatch) -> None:
    """A disk that has no hard links, as those of many cameras and sticks."""

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)


def test_without_hard_links_the_first_who_writes_has_the_name(no_links, tmp_path) -> None:
    path = tmp_path / "lease"
    assert files.write(path, b"mine", new=True)
    assert not files.write(path, b"yours", new=True)
    assert path.read_bytes() == b"mine"
    assert names(tmp_path) == ["lease"]


def test_with_them_too(tmp_path) -> None:
    path = tmp_path / "lease"
    assert [files.write(path, b"mine", new=True), files.write(path, b"yours", new=True)] == [True, False]
    assert (path.read_bytes(), names(tmp_path)) == (b"mine", ["lease"])


def test_a_full_disk_leaves_what_was_there_and_nothing_beside_it(monkeypatch, tmp_path) -> None:
    path = tmp_path / "file"
    files.write(path, b"old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadData, match=r"cannot be written .No space left on device"):
        files.write(path, b"new")
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["file"])


@pytest.mark.parametrize("content", [b"", b'{"half": ', b"[1, 2]", b"\xff\xfe"])
def test_json_that_is_no_whole_object_is_as_if_it_were_not_there(tmp_path, content) -> None:
    path = tmp_path / "owner.json"
    assert files.read(path) == {}
    path.write_bytes(content)
    assert files.read(path) == {}
    path.write_bytes(json.dumps({"whole": True}).encode())
    assert files.read(path) == {"whole": True}


def test_a_folder_where_a_file_stands_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadData, match="cannot be made"):
        files.folder_at(tmp_path / "file" / "folder")
