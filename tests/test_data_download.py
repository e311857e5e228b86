"""The network's edge, with a network of our own: what is downloaded is what was pinned, or nothing is kept."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

import pooch
import pytest
import requests

from engram import data
from engram.data.download import Pinned
from engram.data.sets import pararel
from engram.errors import BadData

URL = "https://raw.githubusercontent.com/someone/facts/0123456789abcdef/"


class Network:
    """Serves the files of a folder under the addresses of GitHub, and counts what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []  # type: Path, list[str]
        self.down = False

    def __call__(self, _downloader: object, url: str, output_file: str, _pooch: object, **_: Any) -> None:
        self.asked.append(url)
        if self.down:
            raise requests.ConnectionError("no route to host")
        shutil.copy(self.folder / url.split("/", 6)[6], output_file)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """Every download comes from tmp_path/there, and the user's cache is tmp_path/cache."""
    (tmp_path / "there").mkdir()
    served = Network(tmp_path / "there")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", lambda *a, **k: served(*a, **k))
    return served


@pytest.fixture
def pinned(network: Network, tmp_path: Path) -> Pinned:
    """Two files, pinned as they are there."""
    checksums = []
    for name, content in (("data/a.txt", b"Dublin\n"), ("data/deep/b.txt", b"Rome\n")):
        (network.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (network.folder / name).write_bytes(content)
        checksums.append(f"{name} {hashlib.sha256(content).hexdigest()}\n")
    (tmp_path / "checksums.txt").write_text("".join(checksums), encoding="utf-8")
    return Pinned("someone/facts", "0123456789abcdef", tmp_path / "checksums.txt")


def test_the_right_files_are_kept_as_in_their_repository_and_not_fetched_twice(
    pinned: Pinned, network: Network
) -> None:
    folder = pinned.fetch()
    assert folder.parent.name == "engram"
    assert (folder / "data/deep/b.txt").read_bytes() == b"Rome\n"
    assert network.asked == [URL + "data/a.txt", URL + "data/deep/b.txt"]
    network.down = True
    assert pinned.fetch() == folder
    assert len(network.asked) == 2


def test_a_file_damaged_in_the_cache_is_fetched_again(pinned: Pinned, network: Network) -> None:
    damaged = pinned.fetch() / "data/a.txt"
    damaged.write_bytes(b"Cork\n")
    pinned.fetch()
    assert damaged.read_bytes() == b"Dublin\n"
    assert network.asked[2:] == [URL + "data/a.txt"]


def test_a_corrupted_download_is_refused_with_both_checksums_and_not_kept(pinned: Pinned, network: Network) -> None:
    (network.folder / "data/deep/b.txt").write_bytes(b"Rom")
    with pytest.raises(BadData, match=r"deep/b\.txt") as caught:
        pinned.fetch()
    for content in (b"Rome\n", b"Rom"):
        assert hashlib.sha256(content).hexdigest() in str(caught.value)
    cache = Path(pooch.os_cache("engram"))
    assert [p.name for p in cache.rglob("*") if p.is_file()] == ["a.txt"]


def test_without_a_network_one_error_says_to_give_a_path(pinned: Pinned, network: Network) -> None:
    network.down = True
    with pytest.raises(BadData, match=r"no route to host.*https://github\.com/someone/facts .*give the path"):
        pinned.fetch()
    assert len(network.asked) == 1
    assert [p for p in Path(pooch.os_cache("engram")).rglob("*") if p.is_file()] == []


def test_the_progress_is_shown_on_stderr_while_something_is_fetched_and_pooch_is_silent_meanwhile(
    pinned: Pinned, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich draws its bar where it believes in a terminal
    monkeypatch.setenv("COLUMNS", "300")
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    monkeypatch.setattr(pooch.get_logger(), "handlers", [handler])
    pinned.fetch()
    out, err = capfd.readouterr()
    assert (out, said) == ("", [])
    assert "downloading someone/facts@01234567" in err
    pinned.fetch()
    assert capfd.readouterr() == ("", "")
    pooch.get_logger().info("as before")
    assert len(said) == 1


@pytest.mark.parametrize(("facts", "folder", "count"), [("lms_vocab", "pararel", 27_610), ("trex", "hunter", 27_738)])
def test_the_pinned_checksums_are_those_of_the_published_files(
    network: Network, shared_data: Path, facts: str, folder: str, count: int
) -> None:
    network.folder = shared_data / "upstream" / folder
    found = data.pararel(facts=facts)
    source = pararel.SOURCES[facts]
    assert (len(found), found.source) == (count, str(source))
    assert all(url.startswith(f"https://raw.githubusercontent.com/{source.repository}/") for url in network.asked)
