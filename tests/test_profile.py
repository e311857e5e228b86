"""Words without a number's neurons: against direct questions, scipy, and a neuron of which one knows what it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting, UnknownName
from engram.experiments import Profile
from engram.experiments.numbered import in_halves
from engram.experiments.profile import WORDS, Words
from engram.metrics import false_discovery, paired_test, symmetric_fold
from engram.metrics.profiles import slopes, tables, word_changes
from engram.models import value_slots
from engram.models.words import choice, logprobs
from engram.report.chapters import chapter
from engram.report.words import published
from engram.store import open_run
from test_chapters import Read

PAIRS = eg.data.read("pairs").only(["noun_determiner"])
FAST = eg.IntegratedGradients(steps=4, rule="gauss")
PLURAL = ("these", "those", "two", "several")
SINGULAR = ("this", "that", "one", "a", "an")
PLANTED = eg.Neuron(3, 0)


@pytest.fixture(scope="module")
def model() -> eg.Model:
    return eg.load()


@pytest.fixture(scope="module")
def planted() -> eg.Model:
    """The shipped model with a neuron that is always on and writes what makes plural determiners likelier."""
    model = eg.load()
    layer = model.layers[PLANTED.layer]
    up = layer.block.intermediate.dense
    prompts = [p for f in PAIRS for p in PAIRS.prompts(f) if p.answer in ("these", "those")][:6]
    seen: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, out: torch.Tensor) -> torch.Tensor:
        seen.append(out.detach().requires_grad_())
        return seen[-1]

    with torch.no_grad():
        up.weight[PLANTED.index] = 0
        up.bias[PLANTED.index] = 5.0
        value_slots(layer.down)[PLANTED.index] = 0
    handle = layer.down.register_forward_hook(keep)
    told = torch.zeros(value_slots(layer.down).shape[1])
    for prompt in prompts:
        (row,) = model.rows(replace(prompt, against=None))
        said = model.net(torch.tensor([row.ids])).logits[0, row.at].log_softmax(-1)
        ids = [model.rows(replace(prompt, answer=w, against=None))[0].target for w in (*PLURAL, *SINGULAR)]
        wanted = said[ids[: len(PLURAL)]].mean() - said[ids[len(PLURAL) :]].mean()
        told += torch.autograd.grad(wanted, seen.pop())[0][0, row.at]
    handle.remove()
    with torch.no_grad():
        value_slots(layer.down)[PLANTED.index] = 0.4 * told / told.norm()
    return model


@pytest.fixture(scope="module")
def found(planted: eg.Model) -> tuple[Profile, dict[str, Any]]:
    experiment = Profile(
        locator=FAST, draws=3, facts=48, corpus=["These dogs, those cats, a dog, this cat, the dog, all dogs."]
    )
    (case,) = experiment.cases(PAIRS)
    return experiment, dict(experiment.run(planted, PAIRS, case))


# -- asking


@pytest.mark.parametrize("name", ["engram:masked", "engram:causal"])
def test_words_are_as_likely_as_one_asks_for_them(name: str) -> None:
    model = eg.load(name)
    texts = ["Anna saw [Y] horses.", "[Y] dogs run."] if name.endswith("masked") else ["The dogs [Y]", "A big dog [Y]"]
    words = ("these", "this", "the") if name.endswith("masked") else ("are", "is", "was")
    prompts = [eg.Prompt(t, words[0].title() if t[0] == "[" else words[0]) for t in texts]
    silent = eg.suppressed(eg.NeuronSet.parse("L1.3 L2.7 L3.9"))
    known = [choice(model, p, words) for p in prompts]
    assert all(not k.left_out for k in known)
    for under in (None, silent):
        rows = logprobs(model, [(k.row, list(k.tokens.values())) for k in known], under=under)
        for p, own in zip(prompts, rows, strict=True):
            written = [w.title() if p.answer[0].isupper() else w for w in words]
            asked = eg.ask(model, [p.asking_for(w) for w in written], under=under)
            assert own == pytest.approx([a.logprob for a in asked], abs=1e-5)


def test_a_word_of_several_tokens_is_left_out_and_said(model: eg.Model) -> None:
    prompt = eg.Prompt("Anna saw [Y] horses.", "these", against="this")
    known = choice(model, prompt, ["this", "multiple", "Ж"])
    assert list(known.tokens) == ["this"]
    assert known.left_out["multiple"].endswith("tokens")
    causal = choice(eg.load("engram:causal"), eg.Prompt("The dogs [Y]", "are"), ["is", "fights"])
    assert (list(causal.tokens), causal.left_out) == (["is"], {"fights": "2 tokens"})
    with pytest.raises(eg.errors.UnaskablePrompt, match="words of one token"):
        choice(model, eg.Prompt("Anna saw [Y] horses.", "multiple"), ["this"])


# -- what is found


def test_the_neuron_that_writes_plurals_is_found_on_the_other_half(found: tuple[Profile, dict[str, Any]]) -> None:
    experiment, result = found
    ((name, own, others),) = result["found"]["plural"]
    assert (name, others) == (str(PLANTED), 0.0)
    assert own > 0.9
    pairs = [f.subject for f in PAIRS]
    tried = {pairs[i] for r in result["rows"] for i in r["numbers"]}
    assert tried
    assert tried != set(pairs)
    assert {r["label"] for r in result["rows"]} == {"plural", "singular"}
    assert experiment.settings()["corpus"]["of"]["these"] == [0, 1]


def test_its_profile_falls_for_plural_words_and_rises_for_singular_ones(found: tuple[Profile, dict[str, Any]]) -> None:
    experiment, result = found
    table = next(t for t in tables([result]) if t.label == "plural")
    by = {c.word: c for c in word_changes(table)}
    assert all(by[w].fold.value < 0 and by[w].log_ratio.value < 0 for w in ("these", "those"))
    assert np.mean([by[w].log_ratio.value for w in PLURAL]) < -0.1
    assert np.mean([by[w].log_ratio.value for w in SINGULAR]) > 0.3
    assert all(max(map(abs, by[w].chance)) < abs(by[w].fold.value) for w in ("these", "this", "that"))
    assert by["this"].significant
    assert by["these"].significant
    report = experiment.summary([result])
    name = "noun_determiner, plural neurons"
    assert report[f"{name}: singular words"].value > 0.3 > abs(report[f"{name}: singular words, random neurons"].value)
    slope = slopes(table, experiment.settings()["corpus"]["of"])["all words"]
    assert slope is not None
    assert slope.value < 0
    assert report[f"{name}: co-occurrence, all words: slope"].value == slope.value


def test_rows_are_what_the_model_says_when_asked_directly(
    planted: eg.Model, found: tuple[Profile, dict[str, Any]]
) -> None:
    _, result = found
    facts = PAIRS.facts("noun_determiner")
    rows = [r for r in result["rows"] if r["word"] in ("these", "the") and (r["condition"], r["draw"]) != ("chance", 1)]
    assert len(rows) == 12
    for row in rows:
        prompts = [PAIRS.prompts(facts[i])[0].asking_for(row["word"]) for i in row["numbers"]]
        prompts = [replace(p, against=None) for p in prompts]
        silent = eg.suppressed(eg.NeuronSet.parse(" ".join(row["neurons"])))
        assert row["before"] == pytest.approx([a.logprob for a in eg.ask(planted, prompts)], abs=1e-5)
        assert row["after"] == pytest.approx([a.logprob for a in eg.ask(planted, prompts, under=silent)], abs=1e-5)
        assert {PAIRS.prompts(facts[i])[0].answer for i in row["numbers"]} <= set(
            ("these", "those") if row["label"] == "plural" else ("this", "that")
        )


def test_random_neurons_are_others_of_the_same_layer(found: tuple[Profile, dict[str, Any]]) -> None:
    rows = [r for r in found[1]["rows"] if r["label"] == "plural"]
    drawn = {r["draw"]: r["neurons"] for r in rows if r["condition"] == "chance"}
    assert sorted(drawn) == [0, 1, 2]
    assert len({tuple(n) for n in drawn.values()}) > 1
    assert all(n.startswith("L3.") and n != str(PLANTED) for own in drawn.values() for n in own)


def test_effects_and_tests_are_those_of_scipy_and_by_hand(found: tuple[Profile, dict[str, Any]]) -> None:
    (real, _) = tables([found[1]])
    assert [c.word for c in word_changes(real)] == [w for w in WORDS["determiners"].groups if w in real.words]
    rng = np.random.default_rng(0)  # small changes: no p-value is at its end
    before = rng.normal(-3, 1, size=real.before.shape)
    table = replace(real, before=before, after=before + rng.normal(0.1, 0.4, size=before.shape))
    changes = word_changes(table)
    before, after = np.exp(table.before), np.exp(table.after)
    ps = []
    for i, c in enumerate(changes):
        b, a = before[:, i], after[:, i]
        assert c.fold.value == pytest.approx((a.mean() - b.mean()) / min(a.mean(), b.mean()))
        assert c.fold.value == float(symmetric_fold(b, a))
        assert c.log_ratio.value == pytest.approx(np.log(a / b).mean())
        assert c.published == pytest.approx(stats.ttest_ind(b, a).pvalue)
        ps.append(paired_test(b, a, table.numbers).p)
        assert c.paired == ps[-1]
        assert c.fold.interval is not None
        assert c.fold.interval[0] <= c.fold.value <= c.fold.interval[1]
    assert [c.q for c in changes] == pytest.approx(list(false_discovery(ps)))


# -- settings


def test_neurons_that_are_given_are_tried_on_all_pairs(model: eg.Model) -> None:
    experiment = Profile(neurons={"plural": "L3.5 L2.1"}, draws=1, words=Words("determiner", ("these",), ("this",)))
    (case,) = experiment.cases(PAIRS)
    result = experiment.run(model, PAIRS, case)
    assert {r["label"] for r in result["rows"]} == {"plural"}
    plural = [i for i, f in enumerate(PAIRS.facts("noun_determiner")) if f.answer in ("these", "those")]
    assert all(r["numbers"] == plural for r in result["rows"])
    assert experiment.settings()["neurons"] == {"plural": "{L2.1, L3.5}"}
    assert experiment.settings()["locator"] is None
    assert result["found"] == {"plural": [["L2.1", None, None], ["L3.5", None, None]]}


def test_halves_share_no_deciding_word_and_depend_on_nothing_else(model: eg.Model) -> None:
    experiment = Profile(seed=4)
    (case,) = experiment.cases(PAIRS)
    pairs = experiment.pairs(model, PAIRS, case, [])
    first, second = in_halves(pairs, 4, "noun_determiner")
    assert len(first) + len(second) == len(pairs)
    assert first
    assert second
    words = [{p.prompt.fact.subject for p in half} for half in (first, second)]
    assert not words[0] & words[1]
    assert in_halves(pairs[::-1], 4, "noun_determiner")[1] == second[::-1]
    assert in_halves(pairs, 5, "noun_determiner")[0] != first


def test_a_causal_model_is_asked_for_verbs() -> None:
    model = eg.load("engram:causal")
    facts = eg.data.read("pairs").only(["subject_be", "noun_determiner"])
    experiment = Profile(words="verbs", locator=FAST, draws=1, facts=16, corpus=["Dogs are here. A dog is."])
    (case,) = experiment.cases(facts)
    result = experiment.run(model, facts, case)
    assert case["relation"] == "subject_be"
    assert result["rows"]
    assert experiment.settings()["corpus"]["side"] == "before"
    assert experiment.counted is not None
    assert experiment.counted.of["are"] == (0, 1)
    none = Profile()
    (case,) = none.cases(facts)
    with pytest.raises(BadSetting, match="nothing was tried: 0 pairs could be asked"):
        none.summary([none.run(model, facts, case)])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UnknownName, match="list of words"):
        Profile(words="nouns")
    with pytest.raises(UnknownName, match="word's shift"):
        Profile(shift="ratio")  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match="one has none"):
        Profile(neurons={"plural": ""})
    with pytest.raises(BadSetting, match="size is a number from 1 up, not 0"):
        Profile(size=0)
    with pytest.raises(BadSetting, match="for halves, not 1"):
        Profile(facts=1)
    with pytest.raises(BadSetting, match="a verb has its noun before it"):
        Profile(words="verbs", corpus=eg.data.counts(["the dog"], ["the"]))
    with pytest.raises(BadSetting, match="no minimal pair with a determiner"):
        Profile().summary([])
    assert Profile().cases(eg.data.read("shipped")) == []


def test_determiners_of_blimp_are_asked_in_four_paradigms(shared_data: Path, model: eg.Model) -> None:
    blimp = eg.data.blimp(shared_data / "blimp")
    experiment = Profile(facts=14, locator=FAST, draws=1)
    cases = experiment.cases(blimp)
    assert [c["relation"] for c in cases] == [
        "determiner_noun_agreement_2", "determiner_noun_agreement_irregular_2", "determiner_noun_agreement_with_adj_2",
        "determiner_noun_agreement_with_adj_irregular_2",
    ]  # fmt: skip
    assert len(Profile(words="verbs").cases(blimp)) == 4
    result = experiment.run(model, blimp, cases[0])
    assert result["asked"] == 14
    assert "multiple" in result["left_out_words"]


# -- telling


def engram(*arguments: object) -> Any:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


def test_a_run_is_told_with_pictures_and_tables(tmp_path: Path) -> None:
    out = tmp_path / "profile"
    ran = engram("run", "profile", "--facts", 24, "--steps", 4, "--rule", "gauss", "--draws", 2, "--corpus", "shipped",
                 "--out", out)  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "co-occurrence, all words: slope" in ran.output
    there = {p.name for p in (out / "report").iterdir()}
    assert {"profile-0.png", "profile-1.svg", "co-occurrence-0.png"} <= there
    text = (out / "report" / "report.html").read_text()
    assert Read(text).fetched == []
    assert "published, BERT (%)" in text
    assert "−134 *" in text
    run = open_run(out)
    told = chapter(run)
    assert [s.title for s in told.sections][:2] == [
        "noun determiner: plural neurons",
        "noun determiner: singular neurons",
    ]
    figure = told.figures["profile-0"]
    (moved, _) = tables(run.results())
    heights = [100 * c.fold.value for c in word_changes(moved)]
    assert [b.get_height() for axes in figure.axes for b in axes.patches] == pytest.approx(heights)


def test_the_published_profile_is_whole() -> None:
    figure = published("figure_3")
    for profile in figure["profiles"].values():
        assert list(profile["values"]) == list(WORDS["determiners"].groups)
        assert set(profile["significant"]) <= set(profile["values"])
    assert len(figure["profiles"]["plural"]["significant"]) == 15
    assert figure["profiles"]["singular"]["significant"] == ["these", "those", "one"]
    assert len(published("figure_6b")["values"]) == 4
