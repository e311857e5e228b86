"""Tutorials are run when the site is built: what that shows, and what it refuses. The killed run is run here.

Tutorials of Python are run with all other pages (`test_docs`); the audit, which takes a minute, by the build alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from pages import doctests  # noqa: E402
from pages.executed import PageFailedError, blocks, executed  # noqa: E402

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
STORIES = [p for p in TUTORIALS if p.stem != "index"]


def of(*parts: str) -> str:
    return "\n".join(parts) + "\n"


def python(code: str) -> str:
    return f"```python\n{code}\n```"


def bash(code: str) -> str:
    return f"```bash\n{code}\n```"


def text(said: str) -> str:
    return f"```text\n{said}\n```"


def test_blocks_share_their_names_and_their_folder_and_show_what_they_print():
    writes = "with open('kept', 'w') as kept:\n    kept.write('twice ' * 2)\nprint(x * 2)"
    page = of("# A", python("x = 20 + 1"), python(writes), "", text("42"), bash("cat kept"), text("twice twice"))
    assert executed(page, "a.md").markdown == page


def test_what_differs_from_run_to_run_is_shown_as_it_was():
    said = executed(of(python("import os\nprint('process', os.getpid())"), text("process ...")), "a.md").markdown
    assert said.endswith(of(text(f"process {os.getpid()}")))


def test_pages_do_not_see_each_other():
    executed(of(python("hidden = 1\nopen('left', 'w').close()")), "a.md")
    with pytest.raises(PageFailedError, match="NameError: name 'hidden'"):
        executed(of(python("hidden")), "b.md")
    with pytest.raises(PageFailedError, match="ended with 2"):
        executed(of(bash("ls left")), "b.md")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (of("# A", "", python("1\n1 / 0")), r"a.md, line 3: (.|\n)*line 5(.|\n)*ZeroDivisionError"),
        (of(bash("false | cat\necho never")), r"a.md, line 1: ended with 1\n$"),
        (of(bash("echo out\necho why >&2\nexit 3")), r"ended with 3\nout\nwhy"),
        (of(python("print(2)"), text("3")), r"a.md, line 4: shows\n3\nwhere this is printed:\n2"),
        (of(python("print(2)"), "", "Prose.", "", text("2")), r"a.md, line 1: does not show what it prints:\n2"),
        (of(python("print(2)")), r"does not show what it prints"),
        (of(python("x = 2"), text("2")), r"shows\n2\nwhere this is printed:\n$"),
        (of(python("x = 2"), "<!-- x.svg: a picture -->"), r"a.md, line 4: no block has written x.svg"),
    ],
)  # fmt: skip
def test_a_block_that_fails_or_says_something_else_is_named(page, said):
    with pytest.raises(PageFailedError, match=said):
        executed(page, "a.md")


def test_what_a_block_wrote_is_shown_where_the_page_says():
    page = of(
        bash("mkdir out; echo '<svg/>' > out/x.svg; echo hello > out/x.html"), "<!-- out/x.svg: A [Y] picture -->",
        "<!-- out/x.html: The page -->", "<!-- a remark -->", "```text", "<!-- out/x.svg: in a block -->", "```",
    )  # fmt: skip
    found = executed(page, "a.md", shown_under="made/a/")
    assert found.files == {"made/a/out/x.svg": b"<svg/>\n", "made/a/out/x.html": b"hello\n"}
    picture, link, remark, *fenced = found.markdown.splitlines()[3:]
    assert picture == "[![A [Y] picture](made/a/out/x.svg)](made/a/out/x.svg){ .picture }"
    assert link == "[The page](made/a/out/x.html)"
    assert (remark, fenced[1]) == ("<!-- a remark -->", "<!-- out/x.svg: in a block -->")


def test_only_python_and_bash_are_run():
    page = of("```sh\nexit 1\n```", "```sql\nSELECT\n```", '```python title="x"\n1 / 0\n```')
    assert executed(page, "a.md").markdown == page


def test_examples_of_docstrings_become_blocks_of_code():
    said = "Asks.\n\n>>> 1 + 1\n2\n>>> print(3)\n3\n\nAnd more.\n\n>>> 4\n4"
    assert doctests.fenced(said) == (
        "Asks.\n\n```pycon\n>>> 1 + 1\n2\n>>> print(3)\n3\n```\n\nAnd more.\n\n```pycon\n>>> 4\n4\n```"
    )
    assert doctests.fenced("Nothing to run.") == "Nothing to run."


# -- the tutorials


def languages(page: Path) -> set[str]:
    return {b.language for b in blocks(page.read_text(encoding="utf-8").splitlines())}


def test_a_tutorial_is_of_python_or_of_the_shell():
    """So that none is run twice: `test_docs` runs the Python of every page."""
    assert [p.stem for p in STORIES if len(languages(p) & {"python", "bash"}) != 1] == []
    assert {p.stem for p in STORIES if "bash" in languages(p)} == {"audit", "run"}


def test_the_index_names_every_tutorial_and_runs_nothing():
    index = (ROOT / "docs" / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert [p.name for p in STORIES if f"]({p.name})" not in index] == []
    assert not languages(TUTORIALS[[p.stem for p in TUTORIALS].index("index")]) & {"python", "bash"}


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_as_its_tutorial_says(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    page = ROOT / "docs" / "tutorials" / "run.md"
    found = executed(page.read_text(encoding="utf-8"), page.name)
    assert all(content.startswith((b"<?xml", b"<!doctype", b"<!DOCTYPE")) for content in found.files.values())
    assert "..." not in "".join(b.text for b in blocks(found.markdown.splitlines()) if b.language == "text")


def test_the_site_is_built_without_running_when_asked_so(tmp_path):
    """Strictly; and no page asks another host for a script, a style, a font or a picture."""
    pytest.importorskip("material")
    env = {**os.environ, "ENGRAM_DOCS": "as-written", "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        for line in page.read_text(encoding="utf-8").split("<")[1:]:
            if line.startswith(("script", "link", "img", "iframe", "source")):
                assert "://" not in line.split(">")[0], (page, line)
