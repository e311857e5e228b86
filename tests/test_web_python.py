"""The Python that the page gives out: of every view it runs as it is, and its numbers are those that were shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydantic", reason="the page needs the extra engram[web]")

import engram as eg
from engram.web.kept import kept
from engram.web.serving import serving
from engram.web.views.base import views

NAME = "engram:causal"
ASKED = {"prompt": "The capital of Ireland is [Y].", "answer": "Dublin"}
WISH = {**ASKED, "subject": "Ireland", "to": "Paris", "by": "ft-m", "layer": 0}
ITALY = {"prompt": "The capital of Italy is [Y].", "answer": "Rome", "subject": "Italy", "to": "Madrid", "by": "ft-m"}
Left = dict[str, Any]
PATTERNS = [{"pattern": "The capital of [X] is [Y]."}]


@pytest.fixture(scope="module")
def causal() -> eg.Model:
    return eg.load(NAME)


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kept, "folder", tmp_path / "runs")
    (tmp_path / "copied").mkdir()
    monkeypatch.chdir(tmp_path / "copied")
    yield
    kept._edits.clear()


def nothing(done: int, total: int, says: str = "") -> None:
    pass


def close(here: Any, there: Any) -> bool:
    return bool(np.allclose(here, there, rtol=1e-4, atol=1e-7))


def ask(left: Left, shown: Left) -> None:
    assert left["answer"].rank == shown["answer"]["rank"]
    assert close(left["answer"].probability, shown["answer"]["probability"])
    assert [w for w, _ in left["answer"].top] == [w for w, _ in shown["answer"]["top"]]
    assert close([p for _, _, p, _ in left["rows"]], [one["probability"] for one in shown["layers"]])
    assert [rank for _, rank, _, _ in left["rows"]] == [one["rank"] for one in shown["layers"]]


def locate(left: Left, shown: Left) -> None:
    best = sum(a.dense() for a in left["scores"]) / len(left["scores"])
    assert close(
        [best[eg.Neuron.parse(row["neuron"])] for row in shown["best"]], [row["score"] for row in shown["best"]]
    )
    assert left["neurons"] == eg.select(left["scores"], by=eg.Shared(threshold=0.2, share=0.7))


def part(left: Left, shown: Left) -> None:
    assert close(left["part"], shown["values"])


def slot(left: Left, shown: Left) -> None:
    assert [w.strip() for w in left["top"]] == [w for w, _ in shown["top"]]
    assert [w.strip() for w in left["bottom"]] == [w for w, _ in shown["bottom"]]
    assert close(left["raises"].values, [x for _, x in shown["top"]])


def activating(left: Left, shown: Left) -> None:
    assert [text for _, text, _ in left["rows"]] == [p["text"] for p in shown["prompts"]]
    assert close([value for value, _, _ in left["rows"]], [p["value"] for p in shown["prompts"]])


def turn(left: Left, shown: Left) -> None:
    for report, group in zip(left["reports"], shown["groups"], strict=True):
        said = {s["name"]: s["value"] for s in group["scores"]}
        assert {s.name for s in report.scores} == set(said)
        assert all(close(s.value, said[s.name]) for s in report.scores)


def turn_alone(left: Left, shown: Left) -> None:
    for (p, rank, _), when in zip(left["rows"], ("before", "after"), strict=True):
        assert close(p, shown[when]["probability"])
        assert rank == shown[when]["rank"]


def trace(left: Left, shown: Left) -> None:
    for found, own in zip(left["traces"], shown["arms"][-1]["traces"], strict=True):
        assert close(found.effect, own["effect"])


def plan_edit(left: Left, shown: Left) -> None:
    assert [text for _, text, *_ in left["rows"]] == [row["sentence"] for row in shown["rows"]]
    assert [rank for *_, rank, _ in left["rows"]] == [tuple(row["rank"]) for row in shown["rows"]]
    assert close([p for _, _, _, p, _, _ in left["rows"]], [row["p_wanted"] for row in shown["rows"]])
    assert left["edit"] == kept.entry(shown["id"], NAME).edit


def save_edit(_left: Left, shown: Left) -> None:
    for folder in shown["folders"]:
        assert eg.Edit.load(f"edits/{Path(folder).name}") == eg.Edit.load(folder)


def export_edit(_left: Left, shown: Left) -> None:
    prompt = eg.Prompt(ITALY["prompt"], "Madrid")
    (here,), (there,) = (eg.ask(eg.load(f), prompt) for f in (shown["folder"], f"edits/{shown['name']}"))
    assert here.logprob == there.logprob


def load_edit(left: Left, shown: Left) -> None:
    assert left["edit"] == kept.entry(shown["id"], NAME).edit


def forget_edit(left: Left, shown: Left) -> None:
    assert shown["forgotten"]
    assert left["model"].name == NAME


CASES: list[tuple[str, Left, Callable[[Left, Left], None]]] = [
    ("ask", ASKED, ask), ("locate", {**ASKED, "every": True}, locate), ("locate", {**ASKED, "rule": "right"}, locate),
    ("part", {**ASKED, "first_layer": 1, "end_layer": 3, "first_neuron": 9, "end_neuron": 40}, part),
    ("slot", {"neuron": "L2.62", "words": 4}, slot), ("activating", {"neuron": "L2.62", "each": 2}, activating),
    ("turn", {**ASKED, "neurons": "L2.62 L0.209", "by": 0.0, "others": True}, turn),
    ("turn", {**ASKED, "neurons": "L2.62 L0.209", "by": 2.0}, turn_alone),
    ("trace", {**ASKED, "subject": "Ireland", "samples": 2}, trace), ("plan_edit", WISH, plan_edit),
]  # fmt: skip
KEEPING: list[tuple[str, Left, Callable[[Left, Left], None]]] = [
    ("save_edit", {"name": "a"}, save_edit), ("export_edit", {"name": "a"}, export_edit),
    ("load_edit", {"name": "first"}, load_edit), ("forget_edit", {}, forget_edit),
]  # fmt: skip


def test_every_view_is_among_these() -> None:
    assert {view for view, *_ in [*CASES, *KEEPING]} == set(views.names()) - {"gate"}


def planned(causal: eg.Model) -> tuple[str, str]:
    """The ids of an edit, and of one that was planned under it."""
    first = views["plan_edit"](**WISH).run(causal, nothing)["id"]
    return first, views["plan_edit"](**ITALY, layer=0, under=[first]).run(causal, nothing)["id"]


@pytest.mark.parametrize("under", [False, True], ids=["as it is", "under edits in turn"])
@pytest.mark.parametrize(("view", "given", "same"), CASES)
def test_it_runs_and_its_numbers_are_those_shown(
    causal: eg.Model, view: str, given: Left, same: Callable[[Left, Left], None], under: bool
) -> None:
    asked = views[view](**given, **({"under": [planned(causal)[1]]} if under else {}))
    shown, left = asked.run(causal, nothing), Left()
    exec(asked.python(NAME), left)
    same(left, shown)


@pytest.mark.parametrize(("view", "given", "same"), KEEPING)
def test_what_is_kept_is_kept_by_its_python_too(
    causal: eg.Model, view: str, given: Left, same: Callable[[Left, Left], None]
) -> None:
    first, second = planned(causal)
    views["save_edit"](id=first, name="first").run(causal, nothing)
    asked = views[view](**given, **({} if view == "load_edit" else {"id": second}))
    python, shown, left = asked.python(NAME), asked.run(causal, nothing), Left()
    exec(python, left)
    same(left, shown)


def test_it_says_how_the_server_opens_models_and_of_which_facts(
    causal: eg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = [{"sub_label": name, "obj_label": "Dublin"} for name in ("Erin", "Eire")]
    relation = {"relation": "capital", "label": "capital", "type": "1-1", "description": "Of a country."}
    for name, lines in (("relations", [relation]), ("patterns/capital", PATTERNS), ("facts/capital", facts)):
        place = tmp_path / f"{name}.jsonl"
        place.parent.mkdir(exist_ok=True)
        place.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    monkeypatch.setattr(serving, "dtype", "float64")
    monkeypatch.setattr(serving, "data", str(tmp_path))
    asked = views["activating"](neuron="L2.62", each=2)
    shown, left = asked.run(serving.model(NAME), nothing), Left()
    exec(asked.python(NAME), left)
    activating(left, shown)
    assert {text for _, text, _ in left["rows"]} == {"The capital of Erin is [Y].", "The capital of Eire is [Y]."}
    assert str(left["model"].dtype) == "torch.float64"
    groups = views["turn"](**{**ASKED, "prompt": "The capital of Erin is [Y]."}, neurons="L2.62", others=True)
    assert groups.run(causal, nothing)["fact"] == "⟨Erin, capital, Dublin⟩"
