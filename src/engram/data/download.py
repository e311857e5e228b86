"""Files of a public repository at one commit, each checked against its SHA-256, kept in the user's cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadData


@dataclass(frozen=True, slots=True)
class Pinned:
    """The files named in `checksums` (each line: path, SHA-256) of a GitHub repository as it was at `commit`.

    >>> print(Pinned("yanaiela/pararel", "cb5554678457beb5ac163d888f1ce8cf174b3f0b", Path("pararel.txt")))
    yanaiela/pararel@cb555467
    """

    repository: str
    commit: str
    checksums: Path

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit[:8]}"

    def fetch(self) -> Path:
        """The folder in which these files lie as in their repository; what is not there yet is downloaded.

        Raises BadData where a file cannot be had, or is not the file it was (it is not kept then).
        """
        import pooch

        cache = pooch.create(
            Path(pooch.os_cache("engram")) / str(self).replace("/", "-"),
            f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/",
        )
        cache.load_registry(self.checksums)
        folder = Path(cache.abspath)
        missing = [name for name, known in cache.registry.items() if not _is_there(folder / name, known)]
        with _progress(missing, f"{self} to {folder}") as names:
            for name in names:
                try:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    cache.fetch(name)
                except ValueError as e:  # pooch's word for another checksum; it names both
                    raise BadData(cache.get_url(name), None, str(e)) from e
                except OSError as e:  # requests' errors are OSErrors
                    raise BadData(
                        cache.get_url(name),
                        None,
                        f"could not be had ({type(e).__name__}: {e}). Without a network, get "
                        f"https://github.com/{self.repository} some other way and give the path of its folder",
                    ) from e
        return folder


def _is_there(file: Path, checksum: str) -> bool:
    import pooch

    return file.is_file() and pooch.file_hash(file) == checksum


@contextmanager
def _progress(names: list[str], what: str) -> Iterator[Iterator[str]]:
    """One bar over all files on stderr, in the place of pooch's line for each."""
    import pooch
    from rich.console import Console
    from rich.progress import track

    logger = pooch.get_logger()
    before, logger.disabled = logger.disabled, True  # a level would do, if this logger did not remember its answers
    try:
        yield iter(track(names, f"downloading {what}", console=Console(stderr=True), transient=True, disable=not names))
    finally:
        logger.disabled = before
