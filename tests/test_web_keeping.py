"""Edits of the page in turn: planned under others with second moments, saved, exported, and read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydantic", reason="the page needs the extra engram[web]")

import engram as eg
from engram.errors import BadSetting, OtherWeights, UnknownName
from engram.experiments.elsewhere import elsewhere
from engram.models.moments import asked_moments
from engram.web.kept import kept
from engram.web.views.base import views
from engram.web.views.keeping import saved

WISH = {"prompt": "The capital of Ireland is [Y].", "answer": "Dublin", "subject": "Ireland", "to": "Paris"}
ITALY = {"prompt": "The capital of Italy is [Y].", "answer": "Rome", "subject": "Italy", "to": "Madrid"}
QUICK = {"by": "ft-m", "layer": 0}
NAME = "engram:causal"


@pytest.fixture(scope="module")
def causal() -> eg.Model:
    return eg.load(NAME)


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kept, "folder", tmp_path)
    yield
    kept._edits.clear()


def nothing(done: int, total: int, says: str = "") -> None:
    assert 0 <= done <= total


def edit_of(name: str) -> eg.Edit:
    return kept.entry(name, NAME).edit


def test_an_edit_is_planned_under_another_and_held_after_it(causal: eg.Model) -> None:
    first = views["plan_edit"](**WISH, **QUICK).run(causal, nothing)
    second = views["plan_edit"](**ITALY, **QUICK, under=[first["id"]]).run(causal, nothing)
    one, other = edit_of(first["id"]), edit_of(second["id"])
    assert kept.under([second["id"]], NAME) == kept.under([first["id"], second["id"]], NAME) == [one, other]
    for wish, row in ((WISH, first["rows"][0]), (ITALY, second["rows"][0])):
        (answer,) = eg.ask(causal, eg.Prompt(wish["prompt"], wish["to"]), under=[one] if wish is WISH else [one, other])
        assert row["p_new"][1] == pytest.approx(answer.probability, rel=1e-5)
        (unedited,) = eg.ask(causal, eg.Prompt(wish["prompt"], wish["to"]))
        assert answer.probability > 10 * unedited.probability
    with pytest.raises(OtherWeights):  # it was not made from the weights as they are
        eg.ask(causal, eg.Prompt(ITALY["prompt"], "Madrid"), under=other)
    there: dict[str, object] = {"eg": eg, "model": causal}
    exec(kept.python([second["id"]], NAME), there)
    assert there["under"] == [one, other]


def test_the_before_of_an_edit_in_turn_is_the_model_under_the_earlier_ones(causal: eg.Model) -> None:
    first = views["plan_edit"](**WISH, **QUICK).run(causal, nothing)["id"]
    again = views["plan_edit"](**{**WISH, "answer": "Paris", "to": "Rome"}, **QUICK, under=[first]).run(causal, nothing)
    (before,) = eg.ask(causal, eg.Prompt(WISH["prompt"], "Paris"), under=edit_of(first))
    assert again["first"]["before"][0][0] == before.top[0][0] == "Paris"
    assert again["rows"][0]["p_old"][0] == pytest.approx(before.probability, rel=1e-5)


def test_what_another_edit_rests_on_is_not_forgotten_first(causal: eg.Model) -> None:
    first = views["plan_edit"](**WISH, **QUICK).run(causal, nothing)["id"]
    second = views["plan_edit"](**ITALY, **QUICK, under=[first]).run(causal, nothing)["id"]
    with pytest.raises(BadSetting, match=f"{second} was planned under {first}"):
        kept.forget(first)
    assert kept.forget(second)
    assert kept.forget(first)
    base = kept.keep(NAME, kept_erasure(causal), "a", "")
    top = kept.keep(NAME, kept_erasure(causal), "b", "", on=[base])
    for i in range(kept.most - 1):
        kept.keep(NAME, kept_erasure(causal), str(i), "")
    assert not {base, top} & {one["id"] for one in kept.listed(NAME)}  # with the oldest goes what rests on it


def test_an_edit_of_the_oldest_is_kept_and_the_oldest_with_it(causal: eg.Model) -> None:
    names = [kept.keep(NAME, kept_erasure(causal), str(i), "") for i in range(kept.most)]
    last = kept.keep(NAME, kept_erasure(causal), "last", "", on=[names[0]])
    assert [one["id"] for one in kept.listed(NAME)] == [names[0], *names[2:], last]


def kept_erasure(model: eg.Model) -> eg.Edit:
    wish = eg.Fact("a", "b", "c").becoming(None)
    return eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1")))


@pytest.mark.parametrize(("by", "layer"), [("r-rome", 1), ("memit", 1), ("alphaedit", 1)])
def test_second_moments_are_those_that_were_named(causal: eg.Model, by: str, layer: int) -> None:
    told: list[str] = []
    given = {**WISH, "by": by, "layer": layer, "token": "subject", "covariance": "shipped", "tokens": 600}
    found = views["plan_edit"](**given).run(causal, lambda done, total, says="": told.append(says))
    texts = eg.data.texts("shipped", eg.data.shipped())
    c = eg.second_moments(causal, [*texts.everything, *texts.neither], [0, 1], tokens=600)
    fact = eg.Fact("Ireland", "The capital of [X] is [Y].", "Dublin").becoming("Paris")
    editor = {
        "r-rome": lambda: eg.ROME(1, c[1], preset="r-rome", token="subject"),
        "memit": lambda: eg.MEMIT((0, 1), c, token="subject"),
        "alphaedit": lambda: eg.AlphaEdit((0, 1), c, token="subject"),
    }[by]()
    edit = eg.rewrite(causal, fact, by=editor, prompt=eg.Prompt(WISH["prompt"], "Dublin"))
    assert edit_of(found["id"]) == edit
    assert found["moments"] == "of 600 tokens of ordinary text"
    assert any(says.startswith("Reading second moments: ") and says.endswith(" of 600") for says in told)
    assert any(says.startswith("Planning the edit: ") and "passes" in says for says in told)
    plain = views["plan_edit"](**{**given, "covariance": "none"}).run(causal, nothing)["id"]
    assert edit_of(plain) != edit


def test_keys_of_other_facts_are_asked_where_their_answers_are_told(causal: eg.Model) -> None:
    asked = elsewhere(causal, eg.data.shipped(), {"Ireland"})
    assert len(asked) == 1500
    assert "Ireland" not in {p.fact.subject for p in asked}
    found = views["plan_edit"](**WISH, by="r-rome", layer=0, token="asked", covariance="asked").run(causal, nothing)
    by = eg.ROME(0, asked_moments(causal, asked, [0])[0], preset="r-rome", token="asked")
    fact = eg.Fact("Ireland", "The capital of [X] is [Y].", "Dublin").becoming("Paris")
    assert edit_of(found["id"]) == eg.rewrite(causal, fact, by=by, prompt=eg.Prompt(WISH["prompt"], "Dublin"))


def test_planning_can_be_stopped_between_two_passes(causal: eg.Model) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int, says: str = "") -> None:
        if says.startswith("Planning the edit: 3 "):
            raise Stopped

    weights = causal.layers[0].down.weight.clone()
    with pytest.raises(Stopped):
        views["plan_edit"](**WISH, by="r-rome", layer=0, token="subject").run(causal, stop)
    assert kept.listed(NAME) == []
    assert np.array_equal(causal.layers[0].down.weight, weights)


def test_edits_in_turn_are_saved_in_turn_and_read_again(causal: eg.Model, tmp_path: Path) -> None:
    first = views["plan_edit"](**WISH, **QUICK).run(causal, nothing)["id"]
    second = views["plan_edit"](**ITALY, **QUICK, under=[first]).run(causal, nothing)["id"]
    said = views["save_edit"](id=second, name="two").run(causal, nothing)
    assert [Path(f).name for f in said["folders"]] == ["two-1", "two-2"]
    assert said["saved"] == saved() == ["two-1", "two-2"]
    edits = [edit_of(first), edit_of(second)]
    assert [eg.Edit.load(f) for f in said["folders"]] == edits
    kept._edits.clear()  # the server ended
    with pytest.raises(OtherWeights):
        views["load_edit"](name="two-2").run(causal, nothing)
    one = views["load_edit"](name="two-1").run(causal, nothing)["id"]
    other = views["load_edit"](name="two-2", under=[one]).run(causal, nothing)["id"]
    assert kept.under([other], NAME) == edits
    there: dict[str, object] = {"eg": eg, "model": causal}
    exec(kept.python([other], NAME), there)
    assert there["under"] == edits


def test_only_what_lies_in_the_folder_is_read(causal: eg.Model, tmp_path: Path) -> None:
    name = views["plan_edit"](**WISH, **QUICK).run(causal, nothing)["id"]
    edit_of(name).save(tmp_path / "elsewhere")
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits" / "link").symlink_to(tmp_path / "elsewhere")
    for wrong in ("../elsewhere", "link", "none"):
        with pytest.raises(UnknownName, match="saved edit"):
            views["load_edit"](name=wrong).run(causal, nothing)
    assert saved() == []


@pytest.mark.parametrize("deep", [1, 2])
def test_the_whole_model_is_exported_with_its_edits(causal: eg.Model, deep: int, tmp_path: Path) -> None:
    name = views["plan_edit"](**WISH, **QUICK).run(causal, nothing)["id"]
    if deep == 2:
        name = views["plan_edit"](**ITALY, **QUICK, under=[name]).run(causal, nothing)["id"]
    said = views["export_edit"](id=name, name="whole").run(causal, nothing)
    exported = eg.load(said["folder"])
    for wish in (WISH, ITALY)[:deep]:
        prompt = eg.Prompt(wish["prompt"], wish["to"])
        (here,), (there,) = eg.ask(causal, prompt, under=kept.under([name], NAME)), eg.ask(exported, prompt)
        assert there.logprob == here.logprob
    with pytest.raises(BadSetting, match="another name"):
        views["export_edit"](id=name, name="whole").run(causal, nothing)
