"""Neurons of marks: against a model of which one knows what its neurons write, numpy, and the published counts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import engram as eg
from engram import Fact, FactSet, Neuron, Prompt, Relation
from engram.cli._app import application
from engram.errors import BadData, BadSetting, UnknownName
from engram.experiments import Punctuation
from engram.metrics.punctuated import OTHERS, OWN, RANDOM, Counted, counted, crossed, held_out, universal
from engram.models import value_slots
from engram.report.beside import published
from engram.report.chapters import chapter
from planted import planted

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("Ireland", "France", "Italy", "Estonia", "Once", "time", "The", "Tall")
MARKS = {"dublin": "Dublin", "paris": "Paris"}  # two "marks" that the planted model has a neuron each for


def sentences(n: int = 8) -> FactSet:
    """The same sentences for each mark, so that what differs is the mark alone."""
    members = {id_: tuple(Fact(f"{w} is", id_, mark, f"{id_}-{w}") for w in WORDS[:n]) for id_, mark in MARKS.items()}
    own = {f.id: (Prompt(f"{f.subject} [Y]", f.answer),) for facts in members.values() for f in facts}
    return FactSet("made", tuple(Relation(id_, mark, ()) for id_, mark in MARKS.items()), members, "", own)


@pytest.fixture(scope="module")
def model():
    """L2.3 writes "Dublin" (that of `planted`), and L2.5, as loud, "Paris"."""
    made = planted()
    with torch.no_grad():
        net = made.net
        net.transformer.h[2].mlp.c_fc.weight[:, 5] = 0
        net.transformer.h[2].mlp.c_fc.bias[5] = 5.0
        word = net.get_input_embeddings().weight[made.rows(Prompt("Ireland [Y]", "Paris"))[0].target]
        value_slots(made.layers[2].down)[5] = 20 * word
    return made


@pytest.fixture(scope="module")
def results(model):
    facts, experiment = sentences(), Punctuation()
    return [experiment.run(model, facts, case) for case in experiment.cases(facts)]


def test_the_planted_neurons_are_found_and_needed_for_their_mark_alone(results) -> None:
    assert [r["neurons"] for r in results] == [["L2.3"], ["L2.5"]]
    effects = {(e.mark, e.whose): e for e in held_out(results)}
    assert set(effects) == {(m, w) for m in MARKS.values() for w in (OWN, RANDOM, OTHERS)}
    for mark in MARKS.values():
        own, luck, others = (effects[mark, whose] for whose in (OWN, RANDOM, OTHERS))
        assert own.part.value < -0.9
        assert abs(luck.part.value) < 0.2
        assert others.change.value > 0  # one word fewer to share with
        assert own.change.value == pytest.approx(own.part.value * own.before.value)
        assert own.change.n == 4
    assert not universal(counted(results), 0.6, strict=False)


def test_held_out_sentences_had_no_part_in_finding(results) -> None:
    for r in results:
        located = {row["number"] for row in r["rows"] if row["condition"] == "located" and row["half"] == "discovery"}
        tried = {row["number"] for row in r["rows"] if row["condition"] == "own" and row["answer"] == r["mark"]}
        assert (len(located), len(tried)) == (4, 4)
        assert not located & tried


def test_a_number_is_what_one_gets_by_asking(model, results) -> None:
    facts = sentences()
    (first, _) = results
    rows = [row for row in first["rows"] if row["condition"] == "own" and row["answer"] == "Paris"]
    prompts = [facts.own[facts.facts("paris")[row["number"]].id][0] for row in rows]
    before = [a.probability for a in eg.ask(model, prompts)]
    after = [a.probability for a in eg.ask(model, prompts, under=eg.suppressed(eg.NeuronSet.parse("L2.3")))]
    assert [row["before"] for row in rows] == pytest.approx(before, rel=1e-6)
    assert [row["after"] for row in rows] == pytest.approx(after, rel=1e-6)
    found = crossed(results)["Dublin", "Paris"]
    assert found.value == pytest.approx(np.mean(np.subtract(after, before)), rel=1e-6)


@pytest.mark.parametrize(
    ("share", "strict", "least"), [(0.6, False, 6), (0.6, True, 7), (1.0, False, 10), (0.7, True, 8)]
)
def test_shares_are_exact(share, strict, least) -> None:
    """Of 10 sentences, 0.6 is 6 and more is 7, whatever binary fractions make of it; more than 1.0 is never."""
    votes = {Neuron(0, i): i for i in range(11)}
    assert min(Counted(".", 10, votes).at(share, strict=strict).values()) == least
    assert not Counted(".", 10, votes).at(1.0, strict=True)


def test_the_published_neurons_are_counted_as_published(shared_data) -> None:
    """Wen & Bai's notebook: what counts at 90 % counts below, and L11.240 of BERT is shared by three marks."""
    found = json.loads((shared_data / "punctuation" / "reference_neurons.json").read_text())["bert-base-uncased"]
    marks = {}
    for mark, by_share in found.items():
        votes = {Neuron(*n): round(200 * float(s)) + 1 for s, own in sorted(by_share.items()) for n in own}
        marks[mark] = Counted(mark, 200, votes)
        for share in (0.6, 0.7, 0.8, 0.9, 1.0):
            assert set(marks[mark].at(share, strict=True)) == {Neuron(*n) for n in by_share[str(share)]}
    assert universal(marks, 0.6, strict=True) == {Neuron(11, 240): (",", "!", ";")}
    rows = next(t for t in published("wen2022")["tables"] if t["place"] == "Section 5.5")["rows"]
    printed = {r["what"]: r["value"] for r in rows if r["kind"] == "masked"}
    assert printed["full stop"] == len(found["."]["0.6"])
    assert printed["question mark"] == len(found["?"]["0.6"])


def test_no_neuron_means_nothing_to_try(model) -> None:
    facts = sentences()
    results = [Punctuation(tried=1.0, threshold=0.999).run(model, facts, c) for c in Punctuation().cases(facts)]
    results[0] |= {"neurons": [], "rows": [{**r, "neurons": []} for r in results[0]["rows"]]}
    effects = held_out(results)
    assert ("Dublin", OWN) not in {(e.mark, e.whose) for e in effects}
    assert "Dublin has no neuron at a share of 0.6" in " ".join(Punctuation().summary(results).notes)


def test_shipped_sentences_are_asked_whole_or_cut_off() -> None:
    facts = eg.data.punctuation()
    assert [(r.name, len(facts.facts(r.id))) for r in facts.relations] == [(m, 60) for m in ".,!?;"]
    comma = facts.facts("comma")[0]
    whole, cut = facts.prompts(comma)
    assert whole.text.startswith(cut.text)
    assert whole.text != cut.text == f"{comma.subject}[Y]"
    assert len({f.subject for f in facts}) == 300
    masked, causal = eg.load("engram:masked"), eg.load("engram:causal")
    semicolons = [facts.prompts(f) for f in facts.facts(";")[:10]]
    seen = [eg.ask(masked, [p[k] for p in semicolons]) for k in (0, 1)]
    assert np.mean([a.knows for a in seen[0]]) == 1  # the rest of the sentence tells
    assert np.mean([a.knows for a in seen[1]]) == 0
    asked = [Punctuation(preset=p)._prompt(m, facts, comma).text for m in (masked, causal) for p in (None, "published")]
    assert asked == [whole.text, cut.text, cut.text, cut.text.replace("[Y]", " [MASK][Y]")]


def test_the_sample_is_read_where_it_lies(shared_data) -> None:
    facts = eg.data.punctuation(shared_data / "punctuation")
    assert len(facts) == 2355
    assert {r.name for r in facts.relations} == set(".,!?;")
    few = eg.data.punctuation(shared_data / "punctuation", limit=5)
    assert len(few.facts(".")) == 15  # of each of three sources
    assert len(eg.data.read(str(shared_data / "punctuation"))) == 2355


def test_bad_lines_and_settings_are_named(tmp_path) -> None:
    for row, words in (({"mark": ":", "text": "a"}, "the mark is one of"), ({"mark": ".", "text": "a "}, "space")):
        (tmp_path / "prompts.jsonl").write_text(json.dumps(row) + "\n")
        with pytest.raises(BadData, match=words):
            eg.data.punctuation(tmp_path)
    for wrong in ({"threshold": 0}, {"shares": ()}, {"tried": 1.5}, {"sentences": 1}, {"seed": -1}):
        with pytest.raises(BadSetting):
            Punctuation(**wrong)
    with pytest.raises(UnknownName):
        Punctuation(preset="publishd")


def test_a_run_is_kept_and_told(tmp_path) -> None:
    out = tmp_path / "marks"
    done = CliRunner().invoke(application(), [
        "run", "punctuation", "--model", "engram:causal", "--mark", ",", "--mark", "full_stop", "--sentences", "8",
        "--out", str(out),
    ])  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    run = eg.store.open_run(out)
    report = run.summary()
    assert report["sentences"].value == 16
    assert report[", neurons at 0.6"].n == 8
    told = chapter(run)
    assert list(told.figures) == ["held-out"]
    text = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "Are they needed?" in text
    again = replace(Punctuation(), relations=("comma", "full_stop"), sentences=8)
    assert run.manifest["settings"] == json.loads(json.dumps(again.settings()))
