"""Words beside singular and plural nouns, counted by hand and by another way, and the line through their shifts."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import engram as eg
from engram.data.counts import NOUNS
from engram.errors import BadData, BadSetting, UnknownName
from engram.metrics import symmetric_fold
from engram.metrics.cooccurrence import log_odds, regress, shifts

TEXTS = ["These old dogs bark, this is a dog.", "All the dogs and both! Cats. That", "Dogs sleep; a dog sleeps"]
WORDS = ("these", "this", "a", "all", "the", "both", "that", "sleep", "sleeps")


def test_the_nearest_noun_counts_if_no_mark_and_no_text_ends_between() -> None:
    found = eg.data.counts(TEXTS, WORDS)
    assert found.of == {
        "these": (0, 1), "this": (1, 0), "a": (2, 0), "all": (0, 1), "the": (0, 1), "both": (0, 0), "that": (0, 0),
        "sleep": (0, 0), "sleeps": (0, 0),
    }  # fmt: skip
    assert (found.words, found.side, found.within) == (20, "behind", 3)
    next_word = eg.data.counts(TEXTS, WORDS, within=1).of
    assert (next_word["these"], next_word["this"], next_word["all"]) == ((0, 0), (0, 0), (0, 0))
    assert (next_word["a"], next_word["the"]) == ((2, 0), (0, 1))
    before = eg.data.counts(TEXTS, WORDS, side="before").of
    assert (before["sleep"], before["sleeps"], before["a"]) == ((0, 1), (1, 0), (0, 0))


def test_a_form_that_is_both_tells_nothing(tmp_path: Path) -> None:
    pairs = [{"singular": "sheep", "plural": "sheep"}, {"singular": "axis", "plural": "axes"},
             {"singular": "axe", "plural": "axes"}, {"singular": "axes", "plural": "axess"}]  # fmt: skip
    for name, text in (("n.json", json.dumps({"nouns": pairs})), ("m.json", json.dumps(pairs)),
                       ("n.jsonl", "\n".join(map(json.dumps, pairs)))):  # fmt: skip
        (tmp_path / name).write_text(text)
        found = eg.data.counts(["the sheep", "the axis", "the axes", "the dog"], ["the"], nouns=tmp_path / name)
        assert (found.of, found.nouns, found.lexicon) == ({"the": (1, 0)}, 4, name)


def test_files_say_what_lists_say_and_what_is_in_them_has_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(json.dumps({"text": t}) for t in TEXTS).encode()))
    listed = eg.data.counts(TEXTS, WORDS)
    lines = eg.data.counts(tmp_path / "b.jsonl", WORDS)
    assert lines.of == listed.of == eg.data.counts(tmp_path / "b.jsonl.gz", WORDS).of
    assert lines.corpus_checksum == listed.corpus_checksum
    whole = eg.data.counts(tmp_path / "a.txt", WORDS)
    assert whole.of["that"] == (0, 1)  # in one text the next line goes on
    assert json.loads(json.dumps(whole.plain()))["of"]["that"] == [0, 1]
    assert eg.data.counts([*TEXTS, "."], WORDS).corpus_checksum != listed.corpus_checksum
    shipped = eg.data.counts("shipped", WORDS)
    assert shipped.words > 5000
    assert sum(shipped.of["the"]) > 100


def test_what_cannot_be_counted_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="from 1 up, not 0"):
        eg.data.counts(TEXTS, WORDS, within=0)
    with pytest.raises(UnknownName, match="side of a word"):
        eg.data.counts(TEXTS, WORDS, side="above")  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match="no texts"):
        eg.data.counts([], WORDS)
    with pytest.raises(BadData, match="missing"):
        eg.data.counts(tmp_path / "none.txt", WORDS)
    (tmp_path / "n.json").write_text("[3]")
    with pytest.raises(BadData, match="'singular' and 'plural'"):
        eg.data.counts(TEXTS, WORDS, nouns=tmp_path / "n.json")


def test_a_published_corpus_is_counted_as_a_pattern_finds_it(shared_data: Path) -> None:
    path = shared_data / "corpora" / "tinystories_1000.jsonl.gz"
    words = ["two", "this", "every", "all"]
    pairs = [json.loads(line) for line in NOUNS.read_text().splitlines()]
    singular, plural = {p["singular"] for p in pairs}, {p["plural"] for p in pairs}
    found = eg.data.counts(path, words, within=1)
    texts = [json.loads(line)["text"].lower() for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    for word in words:
        behind = [w for t in texts for w in re.findall(rf"(?<![\w'’-]){word}\s+(?=([^\W\d_]+(?:['’-][^\W\d_]+)*))", t)]
        assert found.of[word] == (sum(w in singular for w in behind), sum(w in plural for w in behind))
    assert found.of["two"][1] > 30
    blimp = shared_data / "blimp" / "determiner_noun_lexicon.json"
    assert eg.data.counts(path, words, nouns=blimp).nouns == 123


def test_the_shipped_nouns_are_pairs_of_two_forms() -> None:
    pairs = [json.loads(line) for line in NOUNS.read_text().splitlines()]
    assert len({p["singular"] for p in pairs}) == len({p["plural"] for p in pairs}) == len(pairs) > 250
    assert all(p["singular"] != p["plural"] for p in pairs)


# -- the line


def _tables(prompts: int = 12, words: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    odds = rng.normal(size=words)
    before = rng.normal(-4, 1, size=(prompts, words))
    return before, before - 0.4 * odds + 0.1 + rng.normal(0, 0.3, size=(prompts, words)), odds


def test_odds_have_a_half_added_and_need_a_count() -> None:
    assert log_odds({"a": (7, 0), "all": (2, 2), "sole": (0, 0)}, ["a", "all", "sole", "new"]) == {
        "a": pytest.approx(np.log(0.5 / 7.5)), "all": 0.0,
    }  # fmt: skip
    assert log_odds({"sole": (0, 0)}, ["sole"], least=0) == {"sole": 0.0}


def test_shifts_are_the_named_changes_of_every_word() -> None:
    before, after, _ = _tables()
    fold = shifts(before, after, "symmetric fold")
    for i in range(before.shape[1]):
        assert fold[i] == pytest.approx(float(symmetric_fold(np.exp(before[:, i]), np.exp(after[:, i]))))
        assert shifts(before, after, "log ratio")[i] == pytest.approx((after - before)[:, i].mean())
    with pytest.raises(UnknownName, match="measure of a word's shift"):
        shifts(before, after, "ratio")  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["log ratio", "symmetric fold"])
def test_the_line_and_the_rank_correlation_are_those_of_scipy(by: str) -> None:
    before, after, odds = _tables()
    found = regress(before, after, odds, by=by)  # type: ignore[arg-type]
    y = shifts(before, after, by)  # type: ignore[arg-type]
    line = stats.linregress(odds, y)
    assert found is not None
    assert (found.value, found.intercept) == pytest.approx((line.slope, line.intercept))
    assert found.spearman == pytest.approx(stats.spearmanr(odds, y).statistic)
    assert (found.words, found.prompts) == (9, 12)


def test_intervals_are_over_words_and_over_prompts() -> None:
    before, after, odds = _tables()
    found = regress(before, after, odds, n=1500)
    assert found is not None
    assert found.over_words
    assert found.over_prompts
    rng, words, prompts = np.random.default_rng(9), [], []
    for _ in range(1500):
        i, j = rng.integers(9, size=9), rng.integers(12, size=12)
        words.append(stats.linregress(odds[i], (after - before).mean(0)[i]).slope)
        prompts.append(np.polyfit(odds, (after - before)[j].mean(0), 1)[0])
    assert found.over_words == pytest.approx(np.quantile(words, [0.025, 0.975]), abs=0.03)
    assert found.over_prompts == pytest.approx(np.quantile(prompts, [0.025, 0.975]), abs=0.01)


def test_a_line_needs_three_words_with_odds_that_differ() -> None:
    before, after, odds = _tables()
    assert regress(before[:, :2], after[:, :2], odds[:2]) is None
    assert regress(before, after, np.zeros(9)) is None
    alone = regress(before[:1], after[:1], odds)
    assert alone is not None
    assert alone.over_prompts is None
    with pytest.raises(BadSetting, match="do not belong"):
        regress(before, after, odds[:3])
