"""Reading lines: what is wrong with a file is named with its place, and nothing is half-read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from engram.data import form, jsonl
from engram.errors import BadData
from engram.facts import Fact

GOOD = '{"sub_label": "Éire", "obj_label": "Dublin", "uuid": "u1"}\n{"sub_label": "Italy", "obj_label": "Rome"}\n'
PACKED = gzip.compress(GOOD.encode())


def written(folder: Path, content: str | bytes, name: str = "P36.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def test_facts_come_in_the_order_of_the_file_and_repeated_ones_stay(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "\n" + GOOD)
    assert form.facts(path, "P36") == 2 * (Fact("Éire", "P36", "Dublin", "u1"), Fact("Italy", "P36", "Rome"))


@pytest.mark.parametrize("name", ["P36.jsonl.gz", "P36.jsonl"])
def test_a_gzipped_file_reads_like_a_plain_one_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    plain = form.facts(written(tmp_path, GOOD), "P36")
    assert form.facts(written(tmp_path, PACKED, name), "P36") == plain


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (GOOD[:-20], 2, "not JSON"),
        (GOOD + "nonsense\n", 3, "nonsense"),
        (GOOD + '["Spain", "Madrid"]\n', 3, "object"),
        (GOOD + '{"sub_label": "Spain"}\n', 3, "'obj_label', only 'sub_label'"),
        (GOOD + '{"sub_label": "Spain", "obj_label": 7}\n', 3, "not 7"),
        (GOOD + '{"sub_label": "Spain", "obj_label": null}\n', 3, "obj_label"),
        (GOOD + '{"sub_label": " ", "obj_label": "Madrid"}\n', 3, "empty"),
        (GOOD.encode() + b'{"sub_label": "Espa\xf1a", "obj_label": "Madrid"}\n', 3, "UTF-8"),
        ("", None, "empty"),
        (" \n\n", None, "empty"),
        (PACKED[:-9], None, "gzip"),
        (PACKED[:10] + b"\xff" + PACKED[11:], None, "gzip"),
        (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], None, "gzip"),
    ],
    ids="cut nonsense list no-key number null blank latin1 empty no-line gz-cut gz-bad gz-other".split(" "),  # noqa: SIM905
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, content: str | bytes, line: int | None, words: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(BadData) as caught:
        form.facts(path, "P36")
    assert (caught.value.path, caught.value.line) == (path, line)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["The capital of [X].", "[Y] is [Y] of [X].", "[X] of [X] is [Y].", "The capital of [x] is [y]."]
)
def test_a_template_without_its_two_marks_is_named_with_its_line(tmp_path: Path, pattern: str) -> None:
    path = written(tmp_path, '{"pattern": "[X] is in [Y]."}\n' + f'{{"pattern": "{pattern}"}}\n')
    with pytest.raises(BadData, match="exactly one") as caught:
        form.templates(path)
    assert caught.value.line == 2


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"sub_label": "a\u2028b", "obj_label": "c"}\n')
    assert form.facts(path, "P1")[0].subject == "a\u2028b"


def test_a_relation_that_is_described_twice_or_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    row = '{"relation": "P36", "label": "capital", "type": "1-1"}\n'
    with pytest.raises(BadData, match=r"line 2: .*second time"):
        form.relations(written(tmp_path, row + row))
    with pytest.raises(BadData, match=r"line 1: .*1-N"):
        form.relations(written(tmp_path, row.replace("1-1", "1-N")))


def test_a_whole_json_file_that_is_cut_off_names_the_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{\n"P36": [\n["Ireland", "Dub', "query_pairs.json")
    with pytest.raises(BadData, match="cut off") as caught:
        jsonl.whole(path)
    assert caught.value.line == 3


def test_files_of_a_folder_come_by_number_and_a_plain_one_goes_before_its_gzipped_twin(tmp_path: Path) -> None:
    for name in ("P106.jsonl", "P19.jsonl.gz", "P19.jsonl", "P20.jsonl.gz", "notes.txt"):
        written(tmp_path, GOOD, name)
    assert [(k, v.name) for k, v in jsonl.by_name(tmp_path).items()] == [
        ("P19", "P19.jsonl"),
        ("P20", "P20.jsonl.gz"),
        ("P106", "P106.jsonl"),
    ]


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"relations\.jsonl: is missing"):
        jsonl.existing(tmp_path / "relations.jsonl")
    with pytest.raises(BadData, match="holds none"):
        jsonl.by_name(tmp_path)
    with pytest.raises(BadData, match="cannot be read"):
        jsonl.lines(tmp_path)
