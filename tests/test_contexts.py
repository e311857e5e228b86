"""Facts behind demonstrations: the published set and its counts, the rules that build one, and what they leave out."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import engram as eg
from engram import data
from engram.cli._app import application
from engram.data.contexts import APART, PAPER22, InContext, answer_last, demonstrations_of, shortened
from engram.errors import BadData, BadSetting, UnknownName
from engram.facts import Fact, FactSet, Relation


@pytest.fixture(scope="module")
def published(shared_data: Path) -> FactSet:
    return data.context_pararel(shared_data / "context_pararel")


@pytest.fixture(scope="module")
def pararel(shared_data: Path) -> FactSet:
    return data.pararel(shared_data / "upstream" / "pararel")


def counts(facts: FactSet) -> tuple[int, int, int]:
    return len(facts.relations), len(facts), sum(len(facts.prompts(fact)) for fact in facts)


def asked(facts: FactSet) -> list[tuple[str, str, str]]:
    return [(p.text.split(APART)[-1], p.answer, f.id) for f in facts for p in facts.prompts(f)]


def test_the_published_set_has_as_many_prompts_as_published(published: FactSet) -> None:
    assert counts(published) == (22, 2_153, 17_042)
    assert {demonstrations_of(p) for fact in published for p in published.prompts(fact)} == {4}
    assert tuple(r.id for r in published.relations) == PAPER22


def test_the_published_prompts_are_read_to_the_letter(published: FactSet, shared_data: Path) -> None:
    file = shared_data / "context_pararel" / "prompts.jsonl.gz"
    rows = [json.loads(row) for row in gzip.decompress(file.read_bytes()).splitlines()]
    theirs = [(row["uuid"], row["template_idx"], row["prompt"].rstrip(". ,"), row["answer"]) for row in rows]
    ours = [
        (f.id, p.template, p.text.replace("[Y]", "").rstrip(". ,"), p.answer)
        for f in published for p in published.prompts(f, blank_last=True)
    ]  # fmt: skip
    assert ours == theirs


def test_the_rules_build_as_many_prompts_as_published_in_the_same_sentences(
    pararel: FactSet, published: FactSet
) -> None:
    built = data.with_demonstrations(pararel, variant="paper22")
    assert counts(built) == (22, 2_153, 17_042)
    assert asked(built) == asked(published)
    assert [r.templates for r in built.relations] == [r.templates for r in published.relations]
    assert built.notes == ()


def test_the_rule_that_they_state_gives_two_relations_more(pararel: FactSet) -> None:
    auto = data.with_demonstrations(pararel, variant="auto")
    assert counts(auto) == (24, 2_353, 18_142)
    assert {r.id for r in auto.relations} ^ set(PAPER22) == {"P131", "P1376", "P407", "P530"}


def test_a_template_is_kept_where_the_answer_is_last_as_they_take_it() -> None:
    assert answer_last("[X] is located in [Y] .") == "[X] is located in [Y]."
    assert answer_last("Is [X] in [Y]?") == "Is [X] in [Y]?"
    assert answer_last("[X] is in [Y] now.") is None


@pytest.mark.parametrize("demonstrations", [1, 4])
def test_demonstrations_are_other_facts_with_other_answers_in_the_same_words(demonstrations: int) -> None:
    shipped = data.shipped()
    facts = data.with_demonstrations(shipped, variant="auto", demonstrations=demonstrations, most=9)
    assert len(facts.relations) == 29
    assert len(facts) == 29 * 9
    drawn = []
    for fact in facts:
        known = {(f.subject, f.answer) for f in shipped.facts(fact.relation)}
        for prompt in facts.prompts(fact):
            template = facts.relation(fact.relation).templates[prompt.template or 0]
            form = re.escape(template).replace(r"\[X\]", "(.+)").replace(r"\[Y\]", "(.+)")
            *before, asking = prompt.text.split(APART)
            found = [m.groups() for line in before if (m := re.fullmatch(form, line)) is not None]
            assert len(found) == demonstrations
            assert asking == template.replace("[X]", fact.subject)
            assert all(pair in known for pair in found)
            assert len({fact.answer, *(answer for _, answer in found)}) == demonstrations + 1
            assert fact.subject not in [subject for subject, _ in found]
            drawn.append((fact.id, *found))
    assert len(set(drawn)) > 0.9 * len(drawn)  # anew for every sentence


def test_a_sentence_depends_on_its_fact_and_the_seed_alone() -> None:
    shipped = data.shipped()
    whole = data.with_demonstrations(shipped, variant="auto", demonstrations=2, most=5)
    part = data.with_demonstrations(shipped.only(["symbol"]), variant="auto", demonstrations=2, most=3)
    own = {f.subject: [p.text for p in whole.prompts(f)] for f in whole.facts("symbol")}
    assert all([p.text for p in part.prompts(f)] == own[f.subject] for f in part)
    other = data.with_demonstrations(shipped, variant="auto", demonstrations=2, most=5, seed=1)
    assert [f.subject for f in other] == [f.subject for f in whole]
    assert other.own != whole.own


def test_facts_are_the_first_or_drawn_by_the_seed() -> None:
    capital = data.shipped().only(["capital"])
    first, drawn, again, other = (
        [f.subject for f in data.with_demonstrations(capital, variant="auto", most=20, **given)]  # type: ignore[arg-type]
        for given in ({}, {"sampled": True}, {"sampled": True}, {"sampled": True, "seed": 1})
    )
    everyone = [f.subject for f in capital]
    assert first == everyone[:20]
    assert drawn == again != other
    assert drawn != first
    assert drawn == [s for s in everyone if s in drawn]


def test_the_same_sentences_behind_fewer_demonstrations_or_none() -> None:
    shipped = data.shipped().only(["capital"])
    facts, none = (data.with_demonstrations(shipped, variant="auto", demonstrations=n, most=4) for n in (3, 0))
    assert data.fewer_demonstrations(facts, 0).own == none.own
    assert none.notes == ()
    assert {demonstrations_of(p) for own in none.own.values() for p in own} == {0}
    prompt = facts.prompts(facts.facts("capital")[1])[2]
    two = data.fewer_demonstrations(facts, 2).prompts(facts.facts("capital")[1])[2]
    assert two.text == APART.join(prompt.text.split(APART)[1:])
    assert two.fact == prompt.fact
    with pytest.raises(BadSetting, match="3 demonstrations, not 4"):
        shortened(prompt, 4)


def mine(*answers: str, subjects: str = "abcdefgh", templates: int = 4) -> FactSet:
    last = tuple(f"[X] {'very ' * i}is [Y]." for i in range(templates))
    few = Relation("few", "few", last)
    return FactSet("mine", (few,), {"few": tuple(few.fact(s, a) for s, a in zip(subjects, answers, strict=False))})


def test_a_relation_or_fact_with_too_few_other_answers_is_left_out_and_said() -> None:
    both = FactSet(
        "both", (*mine("x").relations, *data.shipped().only(["capital"]).relations),
        {**mine("x", "y", "x", "y").members, **data.shipped().only(["capital"]).members},
    )  # fmt: skip
    found = data.with_demonstrations(both, variant="auto", demonstrations=2, most=4)
    assert [r.id for r in found.relations] == ["capital"]
    assert found.notes == ("few: 4 of 4 facts are left out: fewer than 2 other answers are about other subjects",)
    same = data.with_demonstrations(mine("x", "y", "z", subjects="aab"), variant="auto", demonstrations=1)
    assert [f.answer for f in same] == ["x", "y", "z"]
    assert all("a" not in p.text.split(APART)[0][:1] for f in same if f.subject == "a" for p in same.prompts(f))
    with pytest.raises(BadSetting, match="no fact of mine is left: few: 2 of 2"):
        data.with_demonstrations(mine("x", "y"), variant="auto")
    with pytest.raises(BadSetting, match="no relation has the templates"):
        data.with_demonstrations(mine("x", "y", "z", templates=3), variant="auto", demonstrations=1)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(BadSetting, match="variant='auto'"):
        data.with_demonstrations(data.shipped())
    with pytest.raises(UnknownName):
        data.with_demonstrations(data.shipped(), variant="all")  # type: ignore[arg-type]
    for given in ({"demonstrations": -1}, {"most": 0}, {"least": 0}, {"seed": -1}):
        with pytest.raises(BadSetting):
            data.with_demonstrations(data.shipped(), variant="auto", **given)  # type: ignore[arg-type]


def test_facts_without_an_id_of_their_own_are_called_by_relation_and_number() -> None:
    facts = data.with_demonstrations(mine("x", "y", "z"), variant="auto", demonstrations=1)
    assert [f.id for f in facts] == ["few.0", "few.1", "few.2"]
    part = facts.only(["few"])
    assert isinstance(part, InContext)
    assert part.own == facts.own
    relation = mine().relations[0]
    twice = FactSet("twice", (relation,), {"few": tuple(Fact(s, "few", s, "same") for s in "abc")})
    assert next(f.id for f in data.with_demonstrations(twice, variant="auto", demonstrations=1)) == "same"
    assert len(data.with_demonstrations(twice, variant="auto", demonstrations=1).own) == 3


ROW = {"uuid": "1", "relation": "P36", "template_idx": 0, "answer": "Dublin",
       "prompt": "The capital of Italy is Rome.\nThe capital of Ireland is"}  # fmt: skip


def folder(path: Path, *rows: dict[str, object]) -> Path:
    patterns = {"relation": "P36", "pattern": "The capital of [X] is [Y]."}
    (path / "patterns.jsonl").write_text(json.dumps(patterns), encoding="utf-8")
    (path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_a_folder_of_its_form_is_known_by_its_layout(tmp_path: Path) -> None:
    facts = eg.data.read(folder(tmp_path, ROW))
    assert facts.name == "context_pararel"
    (prompt,) = facts.prompts(facts.fact("Ireland", "capital"))
    assert prompt.text == "The capital of Italy is Rome.\nThe capital of Ireland is [Y]."
    assert prompt.answer == "Dublin"
    assert prompt.blank_last


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"template_idx": 1}, "no template 1"), ({"template_idx": "0"}, "whole number"), ({"relation": "P37"}, "P37"),
        ({"prompt": "The capital of Italy is Rome.\nIreland's capital is"}, "last line"),
        ({"prompt": "The capital of  is"}, "last line"), ({"answer": 3}, "'answer'"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(BadData, match=message) as caught:
        data.context_pararel(folder(tmp_path, ROW, {**ROW, **changed}))
    assert caught.value.line == 2


def test_what_was_built_is_written_and_read_again(tmp_path: Path) -> None:
    facts = data.with_demonstrations(data.shipped(), variant="auto", demonstrations=3, most=7)
    data.save_contexts(facts, tmp_path / "new" / "folder")
    again = data.context_pararel(tmp_path / "new" / "folder")
    assert (again.relations, again.members, again.own) == (
        tuple(Relation(r.id, r.name, r.templates, r.type) for r in facts.relations), facts.members, facts.own
    )  # fmt: skip
    with pytest.raises(BadSetting, match="is not asked in a template"):
        data.save_contexts(data.cases("shipped", records=2), tmp_path)
    with pytest.raises(BadData, match="folder to write into"):
        data.save_contexts(facts, tmp_path / "new" / "folder" / "prompts.jsonl")


def test_the_command_counts_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "contexts"
    said = CliRunner().invoke(application(), ["data", "contexts-from", "shipped", "--most", "3", "--out", str(out)])
    assert said.exit_code == 0, said.output
    assert "87 facts of 29 relations in 687 sentences, each behind 2 others" in " ".join(said.output.split())
    assert len(data.context_pararel(out)) == 87
    plain = CliRunner().invoke(application(), ["data", "contexts-from", str(out), "--demonstrations", "1", "--json"])
    found = json.loads(plain.output)
    assert (found["facts"], found["sentences"], found["demonstrations"]) == (87, 687, 1)


def test_an_id_is_of_one_fact_only(tmp_path: Path) -> None:
    other = {**ROW, "prompt": "The capital of Italy is", "answer": "Rome"}
    with pytest.raises(BadData, match="in the lines before"):
        data.context_pararel(folder(tmp_path, ROW, other))
