"""The page's edits: planned, tried on other sentences, kept, saved, forgotten; the Python makes the same one."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="the page needs the extra engram[web]")

from pydantic import ValidationError

import engram as eg
from engram.editors import editors
from engram.errors import BadSetting, UnknownName
from engram.experiments.before_after import before_after, together
from engram.experiments.pointing import pointed
from engram.web.kept import kept
from engram.web.plans import Plan, offered
from engram.web.views.base import views

WISH = {"prompt": "The capital of Ireland is [Y].", "answer": "Dublin", "subject": "Ireland", "to": "Paris"}
QUICK = {**WISH, "by": "ft-m", "layer": 0}
PROMPT = eg.Prompt(WISH["prompt"], WISH["answer"])
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "engram_example" / "src"


@pytest.fixture(scope="module")
def causal() -> eg.Model:
    return eg.load("engram:causal")


@pytest.fixture(autouse=True)
def _clean(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "folder", tmp_path)
    yield
    kept._edits.clear()


def _nothing(done: int, total: int, says: str = "") -> None:
    assert 0 <= done <= total


def test_a_plan_is_told_kept_and_changes_nothing(causal):
    before = eg.ask(causal, PROMPT)[0]
    found = views["plan_edit"](**WISH).run(causal, _nothing)
    assert json.loads(json.dumps(found, allow_nan=False))["id"] == found["id"]
    assert eg.ask(causal, PROMPT)[0].logprob == before.logprob
    assert kept.listed(causal.name) == [{"id": found["id"], "says": "Ireland: Dublin → Paris (r-rome)"}]
    (edit,) = kept.under([found["id"]], causal.name)
    assert found["first"]["after"] == eg.ask(causal, PROMPT, under=edit)[0].top
    assert found["first"]["before"][0][0] == "Dublin"
    assert found["first"]["after"][0][0] == "Paris"


def test_the_sentences_are_those_of_the_shipped_facts(causal):
    found = views["plan_edit"](**QUICK).run(causal, _nothing)
    facts = eg.data.shipped()
    ireland = facts.fact("Ireland", "capital")
    own = {group["group"]: [r for r in found["rows"] if r["group"] == group["group"]] for group in found["groups"]}
    others = [p.text for p in facts.prompts(ireland, blank_last=True) if p.text != WISH["prompt"]]
    assert [r["sentence"] for r in own["paraphrase"]] == others
    case = eg.data.case_of(facts, ireland.becoming("Paris"))
    assert [r["sentence"] for r in own["reverse"]] == [p.text for p in case.reverse]
    assert [r["sentence"] for r in own["attribute"]] == [p.text for p in case.attribute]
    assert all(r["wanted"] == r["old"] != "Dublin" for r in own["same relation"])
    capitals = {f.answer for f in facts.facts("capital")}
    assert {r["old"] for r in own["same relation"]} <= capitals
    asked = {p.text for f in facts.facts("capital") for p in facts.prompts(f)}
    assert not {r["sentence"] for r in own["other relations"]} & asked
    (edit,) = kept.under([found["id"]], causal.name)
    row = own["paraphrase"][2]
    asked = eg.Prompt(row["sentence"], "Paris")
    for i, under in enumerate((None, edit)):
        (answer,) = eg.ask(causal, asked, under=under)
        assert row["p_new"][i] == pytest.approx(answer.probability, rel=1e-4)
        assert row["rank"][i] == answer.rank


def test_a_synonym_stands_where_the_facts_have_one(causal):
    fact = eg.data.shipped().fact("Albert Einstein", "field")
    asked = {
        "prompt": "The main field of Albert Einstein was [Y].",
        "answer": fact.answer,
        "subject": "Albert Einstein",
    }
    found = views["plan_edit"](**asked, to="history", by="surgery").run(causal, _nothing)
    (row,) = (r for r in found["rows"] if r["group"] == "synonym")
    assert (row["wanted"], row["old"]) == ("historian", "physicist")
    assert any(r["group"] == "neighbour" for r in found["rows"])


def test_groups_are_means_of_their_sentences(causal):
    edit = Plan(PROMPT, "Ireland", "Paris", "ft-m").made(causal, 0, None)
    told = before_after(causal, edit, PROMPT, eg.data.shipped(), same=5, elsewhere=4)
    for group in together(told):
        own = [t for t in told if t.group == group.group]
        assert group.n == len(own)
        assert group.p[1] == pytest.approx(sum(t.p_wanted[1] for t in own) / len(own))
        assert group.right[0] == sum(t.rank[0] == 1 for t in own)
        if group.interval is not None:
            low, high = group.interval
            assert low - 1e-9 <= group.p[1] - group.p[0] <= high + 1e-9
    assert {g.group: g.n for g in together(told)}["same relation"] == 5
    assert {g.group: g.n for g in together(told)}["other relations"] == 4


def test_what_the_shipped_facts_do_not_know_is_said(causal):
    found = views["plan_edit"](**{**QUICK, "answer": "Rome"}).run(causal, _nothing)
    assert {g["group"] for g in found["groups"]} == {"rewrite", "other relations"}
    assert "do not have Ireland with the answer Rome" in found["notes"][0]


@pytest.mark.parametrize("by", offered())
def test_each_editor_writes_where_it_says_and_its_python_makes_the_same(causal, by):
    asked = views["plan_edit"](**{**WISH, "by": by})
    plan = asked._plan()
    at = pointed(causal, PROMPT, "Ireland") if plan.placed else None
    layer, token = (at.layer, str(at.token)) if at else (None, None)
    edit = plan.made(causal, layer, token)
    there: dict[str, object] = {"eg": eg, "model": causal}
    exec(plan.python(None, None), there)
    assert there["edit"] == edit
    if at is not None:
        assert edit.layers[-1] == at.layer


@pytest.fixture
def plugged(monkeypatch):
    """The example's editor, as an installed package would bring it, for the length of a test."""
    editors.names()
    monkeypatch.setattr(editors, "_classes", dict(editors._classes))
    monkeypatch.syspath_prepend(EXAMPLE)
    importlib.import_module("engram_example.editor")
    yield "swapped"
    for module in [name for name in sys.modules if name.partition(".")[0] == "engram_example"]:
        del sys.modules[module]


def test_an_editor_of_a_plug_in_is_offered_and_its_python_makes_the_same(causal, plugged):
    assert "swapped" in offered()
    name = views["plan_edit"](**{**WISH, "by": plugged}).run(causal, _nothing)["id"]
    edit = kept.entry(name, causal.name).edit
    assert edit.method == "swapped"
    there: dict[str, object] = {"eg": eg, "model": causal}
    exec(views["plan_edit"](**{**WISH, "by": plugged})._plan().python(None, None), there)
    assert there["edit"] == edit


def test_the_trace_that_points_is_that_of_one_ffn(causal):
    found = eg.trace(causal, PROMPT, subject="Ireland", by=eg.CausalTracing(kind="ffn", window=1))
    at = pointed(causal, PROMPT, "Ireland")
    rows = {"subject": found.effect[found.subject[1] - 1], "asked": found.effect[found.at]}
    assert at.effect == max(x.max() for x in rows.values()) == rows[str(at.token)][at.layer]
    assert pointed(causal, PROMPT, "Ireland", layers=[2], token="subject_first").layer == 2
    for wrong in ({"layers": [9]}, {"token": 99}, {"token": "last"}):
        with pytest.raises((BadSetting, UnknownName)):
            pointed(causal, PROMPT, "Ireland", **wrong)


def test_the_python_of_a_plan_runs(causal, capsys):
    asked = views["plan_edit"](**QUICK)
    found = asked.run(causal, _nothing)
    there: dict[str, object] = {}
    exec(asked.python("engram:causal"), there)
    (edit,) = kept.under([found["id"]], causal.name)
    assert there["edit"] == edit
    there = {"eg": eg, "model": causal}
    exec(kept.python([found["id"]], causal.name), there)
    assert there["under"] == [edit]
    assert len(capsys.readouterr().out.splitlines()) == len(found["rows"])


def test_several_kept_edits_hold_together(causal):
    names = [views["plan_edit"](**{**QUICK, "by": by}).run(causal, _nothing)["id"] for by in ("ft-m", "r-rome")]
    edits = [kept.entry(name, causal.name).edit for name in names]
    (both,) = kept.under(names, causal.name)
    assert both == eg.stacked(*edits)
    there: dict[str, object] = {"eg": eg, "model": causal}
    exec(kept.python(names, causal.name), there)
    assert there["under"] == [both]


def test_an_edit_is_saved_by_a_name_and_nowhere_else(causal, tmp_path, monkeypatch):
    name = views["plan_edit"](**QUICK).run(causal, _nothing)["id"]
    saved = views["save_edit"](id=name, name="ireland-paris_1")
    said = saved.run(causal, _nothing)
    assert said["folders"] == [str(tmp_path / "edits" / "ireland-paris_1")]
    assert eg.Edit.load(said["folders"][0]) == kept.entry(name, causal.name).edit
    with pytest.raises(BadSetting, match="another name"):
        saved.run(causal, _nothing)
    for wrong in ("../out", "a/b", "a.b", "ä", " ", "a\n", ".."):
        with pytest.raises(BadSetting, match="letters, digits"):
            views["save_edit"](id=name, name=wrong).run(causal, _nothing)
    assert [p.name for p in (tmp_path / "edits").iterdir()] == ["ireland-paris_1"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    exec(saved.python("engram:causal"), {})
    assert eg.Edit.load("edits/ireland-paris_1") == kept.entry(name, causal.name).edit
    monkeypatch.setattr(kept, "folder", None)
    with pytest.raises(BadSetting, match="--runs"):
        saved.run(causal, _nothing)


def test_a_forgotten_edit_is_gone(causal):
    name = views["plan_edit"](**QUICK).run(causal, _nothing)["id"]
    forget = views["forget_edit"](id=name)
    assert forget.run(causal, _nothing) == {"forgotten": True, "kept": []}
    exec(forget.python("engram:causal"), {})
    for again in (forget, views["save_edit"](id=name, name="gone")):
        with pytest.raises(UnknownName, match="plan it again"):
            again.run(causal, _nothing)


def test_twenty_are_kept_and_no_more(causal):
    edit = eg.rewrite(causal, eg.Fact("a", "b", "c").becoming(None), by=eg.Erasure(eg.NeuronSet.parse("L0.1")))
    names = [kept.keep(causal.name, edit, str(i), "") for i in range(22)]
    assert [k["id"] for k in kept.listed(causal.name)] == names[2:]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layer": 9}, "layers 0 to 3"), ({"layer": 9, "by": "r-rome"}, "layers 0 to 3"), ({"by": "rme"}, "rome"),
        ({"subject": "Wales"}, "Wales"), ({"to": "Dublin"}, "the old one"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_planned_is_refused_in_words(causal, wrong, said):
    with pytest.raises((BadSetting, UnknownName), match=said):
        views["plan_edit"](**{**QUICK, **wrong}).run(causal, _nothing)
    assert kept.listed(causal.name) == []


def test_what_is_sent_is_bounded():
    for wrong in ({"to": "x" * 300}, {"token": "last"}, {"layer": -1}, {"balance": float("nan")}, {"path": "/"}):
        with pytest.raises(ValidationError):
            views["plan_edit"](**{**WISH, **wrong})


def test_a_masked_model_is_edited_too(capsys):
    model = eg.load("engram:masked")
    found = views["plan_edit"](**{**WISH, "by": "r-rome"}).run(model, _nothing)
    assert found["rows"][0]["p_new"][1] > 0.5 > found["rows"][0]["p_new"][0]
    assert any("masked" in note for note in found["notes"])
