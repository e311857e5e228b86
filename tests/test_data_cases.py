"""Cases made of facts: by the recipe, always the same ones, and the same again from their file."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from engram import data
from engram.cases import GROUPS, Case, CaseSet
from engram.data.criteria import FIELDS
from engram.data.sets.shipped import HERE
from engram.errors import BadData, BadSetting, UnknownName
from engram.facts import BLANK, Fact, FactSet, Prompt, Relation, split_of


@pytest.fixture(scope="module")
def shipped() -> CaseSet:
    return data.cases("shipped")


def rows(name: str) -> list[tuple[str, str]]:
    text = (HERE / "facts" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [(r["sub_label"], r["obj_label"]) for r in map(json.loads, text.splitlines())]


def patterns(name: str) -> list[str]:
    text = (HERE / "patterns" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["pattern"] for line in text.splitlines()]


# -- the recipe, against the files themselves


def test_every_shipped_fact_becomes_a_case_with_another_answer_of_its_relation(shipped: CaseSet) -> None:
    for relation in shipped.relations:
        known = rows(relation.id)
        answers = {o for _, o in known}
        cases = [c for c in shipped.cases if c.fact.relation == relation.id]
        assert Counter((c.fact.subject, c.fact.answer) for c in cases) == Counter(known)
        assert [c for c in cases if c.new not in answers or (c.fact.subject, c.new) in known] == []
    assert len(shipped) == 4066


def test_sentences_are_templates_about_the_right_subjects(shipped: CaseSet) -> None:
    for relation in shipped.relations:
        known, cut = rows(relation.id), [t.split(BLANK)[0] + BLANK for t in patterns(relation.id)]
        having = defaultdict(list)
        for s, o in known:
            having[o] += [t.replace("[X]", s) for t in cut]
        for case in (c for c in shipped.cases if c.fact.relation == relation.id):
            own = {t.replace("[X]", case.fact.subject) for t in cut}
            asked = [p.text for p in (case.prompt, *case.paraphrase)]
            assert len(set(asked)) == 3
            assert set(asked) <= own
            assert {f"{t} {BLANK}" for t in case.texts} <= own - set(asked)
            assert {p.text for p in case.neighbour} <= set(having[case.fact.answer]) - own
            assert {p.text for p in case.attribute} <= set(having[case.new]) - own
            assert {p.answer for p in case.neighbour} <= {case.fact.answer}
            assert {p.answer for p in case.attribute} <= {case.new}


def test_the_edited_sentence_was_taught_to_the_shipped_models_and_the_paraphrases_were_not(shipped: CaseSet) -> None:
    for case in shipped.cases:
        number = rows_of(case.fact.relation).index((case.fact.subject, case.fact.answer))
        cut = [t.replace("[X]", case.fact.subject).split(BLANK)[0] for t in patterns_of(case.fact.relation)]
        halves = [split_of(number, cut.index(p.text.split(BLANK)[0])) for p in (case.prompt, *case.paraphrase)]
        assert halves == ["discovery", "test", "test"]


CACHE: dict[str, list[str]] = {}
KNOWN: dict[str, list[tuple[str, str]]] = {}


def rows_of(name: str) -> list[tuple[str, str]]:
    return KNOWN.setdefault(name, rows(name))


def patterns_of(name: str) -> list[str]:
    return CACHE.setdefault(name, patterns(name))


def test_the_new_answer_is_drawn_by_how_many_facts_have_it() -> None:
    members = tuple(Fact(f"s{i}", "r", "often" if i < 60 else "seldom" if i < 90 else "mine") for i in range(490))
    facts = FactSet("x", (Relation("r", "r", ("[X] is [Y].", "It is said of [X]: [Y].")),), {"r": members})
    drawn = Counter(c.new for c in data.counterfact_from(facts).cases if c.fact.answer == "mine")
    assert sum(drawn.values()) == 400
    assert abs(drawn["often"] / 400 - 2 / 3) < 0.07  # three standard deviations


def test_where_a_subject_has_several_answers_none_of_them_is_new_or_a_neighbours() -> None:
    pairs = [("Ann", "cello"), ("Ann", "harp"), ("Bob", "cello"), ("Bob", "lute"), ("Cleo", "cello"), ("Dora", "lute")]
    facts = FactSet(
        "x", (Relation("p", "plays", ("[X] plays the [Y].", "In [X] one hears the [Y].")),),
        {"p": tuple(Fact(s, "p", o) for s, o in pairs)},
    )  # fmt: skip
    for seed in range(20):
        for case in data.counterfact_from(facts, seed=seed).cases:
            true = {o for s, o in pairs if s == case.fact.subject}
            assert case.new not in true
            others = {s for s, o in pairs if o == case.fact.answer} - {case.fact.subject}
            fair = {s for s in others if (s, case.new) not in pairs}
            assert {p.text.split()[0 if p.text.endswith("plays the [Y]") else 1] for p in case.neighbour} == fair


def test_every_other_subject_comes_once_before_one_comes_twice(shipped: CaseSet) -> None:
    for case in (c for c in shipped.cases if c.fact.relation == "occupation"):
        others = {s for s, o in rows_of("occupation") if o == case.fact.answer} - {case.fact.subject}
        met = {s for s in others for p in case.neighbour if s in p.text}
        assert len(met) == min(10, len(others))
        assert len(case.neighbour) == min(10, 8 * len(others))


# -- what should follow


def test_the_reverse_asks_the_new_answer_for_the_subject(shipped: CaseSet) -> None:
    capital = dict(rows("capital"))
    for case in (c for c in shipped.cases if c.fact.relation == "capital"):
        (p,) = case.reverse
        assert (p.text, p.answer) == (f"{case.new} is the capital of [Y]", case.fact.subject)
        assert p.against is not None
        assert capital[p.against] == case.new
    assert {c.fact.relation for c in shipped.cases if c.reverse} == {"capital", "state_capital", "symbol", "demonym"}


def test_fields_and_who_works_in_them_are_said_in_each_others_words(shipped: CaseSet) -> None:
    assert len(set(FIELDS.values())) == len(FIELDS)
    assert {o for _, o in rows("field")} <= set(FIELDS)
    told = {c.fact.relation: 0 for c in shipped.cases if c.synonym}
    for case in (c for c in shipped.cases if c.synonym):
        (p,) = case.synonym
        told[case.fact.relation] += 1
        assert p.against is not None
        pairs = [(case.fact.answer, p.answer), (case.new, p.against)]
        assert set(pairs if case.fact.relation == "field" else [(b, a) for a, b in pairs]) <= FIELDS.items()
    assert told == {"field": 149, "occupation": 81}


def test_one_step_on_is_asked_where_both_answers_lead_to_different_ones(shipped: CaseSet) -> None:
    country = dict(rows("city_country")) | {city: land for land, city in rows("capital")}
    for case in (c for c in shipped.cases if c.fact.relation == "birthplace"):
        old, new = country.get(case.fact.answer), country.get(case.new)
        wanted = [(f"The country in which {case.fact.subject} was born is [Y]", old, new)]
        assert [(p.text, p.answer, p.against) for p in case.onward] == (wanted if old and new and old != new else [])


# -- always the same


def test_fewer_records_are_the_first_of_more_and_relations_only_leave_out_others(shipped: CaseSet) -> None:
    assert data.cases("shipped", records=50).cases == shipped.cases[:50]
    some = data.cases("shipped", relations=["capital", "field of work"])
    assert list(some.cases) == [c for c in shipped.cases if c.fact.relation in ("capital", "field")]
    assert data.cases("shipped", records=50, seed=1).cases != shipped.cases[:50]
    few = data.cases("shipped", records=50, neighbours=4).cases
    assert [c.neighbour for c in few] == [c.neighbour[:4] for c in shipped.cases[:50]]


def test_the_draws_of_seed_0_do_not_depend_on_the_machine(shipped: CaseSet) -> None:
    first = shipped.cases[0]
    assert (str(first.fact), first.new) == ("⟨Piauí, state_capital, Teresina⟩", "Fuzhou")


@pytest.mark.parametrize("masked", [False, True])
def test_what_is_written_is_read_again_as_the_same_cases(tmp_path: Path, masked: bool) -> None:
    cases = data.cases("shipped", relations=["symbol", "capital", "field", "birthplace"], masked=masked)
    data.save_cases(cases, tmp_path / "a.jsonl")
    again = data.cases(tmp_path / "a.jsonl")
    assert (again.cases, again.notes, again.name) == (cases.cases, cases.notes, "a")
    data.save_cases(again, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    whole = [c for c in cases.cases if c.prompt.text.endswith(".")]
    assert len(whole) == (len(cases) if masked else 0)
    assert any(not p.blank_last for c in cases.cases for p in c.paraphrase) is masked


def test_others_can_read_what_is_written_as_counterfact(tmp_path: Path, shipped: CaseSet) -> None:
    data.save_cases(shipped, tmp_path / "a.jsonl")
    written = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    for row, case in zip(map(json.loads, written), shipped.cases, strict=True):
        wish = row["requested_rewrite"]
        assert f"{wish['prompt'].format(wish['subject'])} {BLANK}" == case.prompt.text
        assert (wish["target_new"]["str"], wish["target_true"]["str"]) == (case.new, case.fact.answer)
        assert not any(BLANK in t for key, texts in row.items() if key.endswith("_prompts") for t in map(str, texts))


def test_cases_that_the_form_cannot_hold_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    fact = Fact("Peru", "P36", "Lima", "0")
    prompt = Prompt("The capital of Peru is [Y]", "Lima", fact)
    for case in (
        Case("0", fact, "Quito", prompt, paraphrase=(Prompt("Peru: [Y]", "Cusco"),)),
        Case("0", fact, "Quito", Prompt("Its capital is [Y]", "Lima", fact)),
    ):
        with pytest.raises(BadSetting, match="case 0"):
            data.save_cases(CaseSet.of("x", (Relation("P36", "capital", ()),), [case]), tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


# -- what cannot become a case


def test_what_is_left_out_is_counted_in_the_notes() -> None:
    relations = tuple(
        Relation(r, r, ("[X]: [Y].", "[X] is [Y].", "[Y] is [X].")[:n]) for r, n in (("a", 3), ("b", 3), ("c", 1))
    )
    members = {
        "a": (Fact("s", "a", "1"), Fact("t", "a", "1"), Fact("s", "a", "1"), Fact("u", "a", "2")),
        "b": (Fact("s", "b", "1"), Fact("t", "b", "1")),
        "c": (Fact("s", "c", "1"), Fact("t", "c", "2")),
    }
    cases = data.counterfact_from(FactSet("x", relations, members))
    assert {(c.fact.subject, c.fact.relation) for c in cases.cases} == {("s", "a"), ("t", "a"), ("u", "a")}
    assert cases.notes[1:] == (
        "Left out: 1 facts that stand there twice (a 1)",
        "Left out: 2 facts with fewer than 2 sentences (c 2)",
        "Left out: 2 facts without another answer to take (b 2)",
        "No neighbours: each answer has one subject (c)",
    )
    with pytest.raises(BadSetting, match="no case can be made of x: Left out: 2 facts without another answer"):
        data.counterfact_from(FactSet("x", relations, members), relations=["b"])


def test_facts_with_sentences_of_their_own_are_asked_in_these(shared_data: Path) -> None:
    known = data.read(shared_data / "known_1000")
    with pytest.raises(BadSetting, match="1,209 facts with fewer than 2 sentences"):
        data.counterfact_from(known)
    cases = data.counterfact_from(known, paraphrases=0)
    texts = {f"{p.text.split(BLANK)[0]}{BLANK}" for own in known.own.values() for p in own}
    assert len(cases) > 1000
    assert {p.text for c in cases.cases for g in ("rewrite", "neighbour") for p in c.asked(g)} <= texts  # type: ignore[arg-type]


def test_pararel_becomes_cases_with_the_published_numbers_of_sentences(shared_data: Path) -> None:
    cases = data.counterfact_from(data.read(shared_data / "upstream" / "hunter"), records=300)
    assert len(cases) == 300
    assert sum(len(c.paraphrase) == 2 for c in cases.cases) > 200
    assert sum(len(c.neighbour) == 10 for c in cases.cases) > 200
    assert {g for c in cases.cases for g in GROUPS if c.asked(g)} >= {"paraphrase", "neighbour", "attribute"}


@pytest.mark.parametrize("wrong", [{"neighbours": -1}, {"records": 0}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadSetting, match=rf"{next(iter(wrong))} is . or more"):
        data.cases("shipped", **wrong)


def test_a_data_set_without_wishes_is_refused_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"pararel has facts, but no wishes.*counterfact_from"):
        data.cases("pararel")
    with pytest.raises(UnknownName, match=r"'recods'\. Did you mean records\?"):
        data.cases("shipped", recods=3)
    with pytest.raises(UnknownName, match="Did you mean counterfact"):
        data.cases("counterfct")
    with pytest.raises(BadData, match="laid out"):
        data.cases(tmp_path)


def test_the_blank_is_not_taken_for_a_subject_called_y(tmp_path: Path) -> None:
    fact = Fact("Y", "letter", "W", "x")
    cases = CaseSet.of(
        "x", (Relation("letter", "letter", ()),), [Case("x", fact, "V", Prompt("[Y] is before Y.", "W", fact))]
    )
    data.save_cases(cases, tmp_path / "a.jsonl")
    assert json.loads((tmp_path / "a.jsonl").read_text())["requested_rewrite"]["prompt"] == "[Y] is before {}."
    assert data.cases(tmp_path / "a.jsonl").cases == cases.cases


def test_in_a_folder_of_several_data_sets_the_cases_are_read(tmp_path: Path) -> None:
    for name in ("patterns", "facts"):
        (tmp_path / name).mkdir()  # laid out as facts of one's own, which come before zsRE
    row = {"subject": "A", "src": "Is A?", "pred": "no", "alt": "yes", "answers": ["oh"], "loc_ans": "x"}
    (tmp_path / "zsre_mend_eval.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert data.cases(tmp_path).cases[0].new == "oh"
