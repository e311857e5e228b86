"""Sentences alone and behind demonstrations: against transformers itself, what is left out, runs and their pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting
from engram.experiments import Demonstrations
from engram.report.chapters import chapter

SHIPPED = eg.data.read("shipped").only(["capital", "symbol"])
FACTS = eg.data.with_demonstrations(SHIPPED, variant="auto", demonstrations=2, most=6)


def done(model: eg.Model, known: Any = FACTS, **settings: Any) -> tuple[Demonstrations, list[Any]]:
    experiment = Demonstrations(**{"counts": (0, 1, 2), "prompts": 2, "facts": 2, **settings})
    return experiment, [experiment.run(model, known, case) for case in experiment.cases(known)]


@pytest.mark.parametrize(("name", "ends"), [("engram:masked", "[MASK]."), ("engram:causal", "")])
def test_answers_are_what_transformers_says_of_the_last_lines(name: str, ends: str) -> None:
    model = eg.load(name)
    _, results = done(model)
    rows = [row for r in results for row in r["rows"]]
    assert len(rows) == 8
    assert all(len(row["logprob"]) == 3 for row in rows)
    for row in rows[::3]:
        for n, logprob in enumerate(row["logprob"]):
            text = "\n".join(row["prompt"].split("\n")[2 - n :]).replace("[Y].", ends).rstrip()
            ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
            at = int((ids[0] == model.tokenizer.mask_token_id).nonzero()[0]) if ends else -1
            with torch.no_grad():
                said = model.net(input_ids=ids).logits[0, at].log_softmax(-1)
            (target,) = model.tokenizer((" " if not ends else "") + row["answer"], add_special_tokens=False)[
                "input_ids"
            ]
            assert logprob == pytest.approx(float(said[target]), abs=1e-4)
            assert row["rank"][n] == int((said > said[target]).sum()) + 1


def test_a_sentence_too_long_behind_the_most_is_not_asked_alone_either() -> None:
    model = eg.load("engram:causal")
    facts = eg.data.with_demonstrations(SHIPPED, variant="auto", demonstrations=8, most=4)
    experiment, results = done(model, facts, counts=(0, 4), facts=None, prompts=None)
    rows, skipped = ([x for r in results for x in r[key]] for key in ("rows", "skipped"))
    assert rows
    assert skipped
    assert len(rows) + len(skipped) == sum(map(len, facts.own.values()))
    assert all(s["reason"].startswith("PromptTooLong") for s in skipped)
    assert all(len(model.rows(eg.Prompt(row["prompt"], row["answer"]))[0].ids) <= 64 for row in rows)
    report = experiment.summary(results)
    assert report["left out"].value == len(skipped)
    assert f"left out: {len(skipped)} (PromptTooLong)" in report.notes
    with pytest.raises(BadSetting, match="no sentence was asked"):
        experiment.summary([{**r, "rows": []} for r in results])


def test_facts_whose_sentences_have_too_few_demonstrations_are_refused() -> None:
    model = eg.load("engram:causal")
    for facts, counts in ((SHIPPED, (0, 1)), (FACTS, (0, 4))):
        with pytest.raises(BadSetting, match=r"data\.with_demonstrations"):
            done(model, facts, counts=counts)


@pytest.mark.parametrize("counts", [(0,), (1, 2), (0, 2, 1), (0, 1, 1)])
def test_counts_rise_from_none(counts: tuple[int, ...]) -> None:
    with pytest.raises(BadSetting, match="rise from 0"):
        Demonstrations(counts)


def test_the_summary_is_what_the_rows_say_and_no_shard_changes_it() -> None:
    model = eg.load("engram:causal")
    experiment, results = done(model)
    report = experiment.summary(results)
    p = np.exp([row["logprob"] for r in results for row in r["rows"]])
    assert report["alone: P(answer)"].value == pytest.approx(p[:, 0].mean())
    assert report["behind 2: change"].value == pytest.approx((p[:, 2] - p[:, 0]).mean())
    facts = (p[:, 1] - p[:, 0]).reshape(4, 2).mean(1)
    low, high = report["behind 1: change"].interval or (0, 0)
    assert facts.min() <= low <= facts.mean() <= high <= facts.max()
    flips = [abs((signs * facts).sum()) >= abs(facts.sum()) - 1e-12
             for signs in np.array(np.meshgrid(*[[1, -1]] * 4)).reshape(4, -1).T]  # fmt: skip
    assert report["behind 1: p-value"].value == pytest.approx(np.mean(flips))
    _, apart = done(model, shard=1)
    logprobs = [np.array([row["logprob"] for r in rs for row in r["rows"]]) for rs in (results, apart)]
    assert len(apart) == 4
    assert np.allclose(*logprobs, atol=1e-4)


def test_notes_of_the_data_reach_the_report() -> None:
    model = eg.load("engram:causal")
    noted = type(FACTS)(FACTS.name, FACTS.relations, FACTS.members, own=FACTS.own, notes=("few: too few",))
    experiment, results = done(model, noted)
    assert experiment.summary(results).notes.count("few: too few") == 1


def test_the_command_puts_demonstrations_before_the_shipped_facts_and_makes_a_page(tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = ["run", "demonstrations", "-m", "engram:causal", "-r", "capital", "-r", "symbol", "--facts", "2",
             "--prompts", "1", "--out", str(out)]  # fmt: skip
    said = CliRunner().invoke(application(), given)
    assert said.exit_code == 0, said.output
    assert CliRunner().invoke(application(), given).exit_code == 0  # goes on where it was: at the end
    run = eg.open_run(out)
    report = run.summary()
    assert report is not None
    assert report.settings["counts"] == [0, 1, 2]
    assert set(chapter(run).figures) == {"demonstrations", "relations"}
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert f"{report['behind 2: P(answer)'].value:.3f}" in page
    assert "0.1411" in page
    assert "chemical symbol" in page
    assert "trained on sentences that stand alone" in page
