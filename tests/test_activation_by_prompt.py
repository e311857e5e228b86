"""Table 4: what is hidden in which text, what is read there, and what the numbers add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

import engram as eg
from engram.errors import BadSetting, NotFinite, UnaskablePrompt, UnknownName
from engram.experiments import ActivationByPrompt, Neurons
from engram.experiments.neurons import Sets
from engram.experiments.prompt_types import PromptTypes, entities
from engram.facts import Fact, FactSet, Prompt, Relation
from engram.models import Model
from engram.models.activations import activations, slot_row
from engram.neurons import NeuronSet
from engram.testing import tiny
from engram.texts import Mentions, Texts

CAPITAL = Relation("P36", "capital", ("The capital of [X] is [Y].",))
FACTS = FactSet("mine", (CAPITAL,), {"P36": (CAPITAL.fact("Ireland", "Dublin"), CAPITAL.fact("France", "Paris"))})
IRELAND = Mentions(
    ("Once upon a time Dublin was the capital of Ireland", "Ireland is in a city and Dublin is the city of Dublin"),
    ("A city of Ireland", "Ireland has Dublin and Limerick"),
)
FRANCE = Mentions(
    ("The city of France is Paris", "Paris is the capital of France and Paris is a city"), ("The France",)
)
ORDINARY = ("The city of Lyon is a city", "Once upon a time Limerick was a city")
TEXTS = Texts("mine", {"P36": (IRELAND, FRANCE)}, ORDINARY)
ARMS = {"attribution": "L0.1 L2.5", "activation": "L1.3", "chance": "L0.7 L2.9"}
CASE = {"relation": "P36", "facts": [0, 1]}


@dataclass(frozen=True)
class Given:
    """Stands in for `Neurons`: the same planted neurons for every fact."""

    arms: dict[str, str] = field(default_factory=lambda: dict(ARMS))
    seed: int = 0
    mean: tuple[float, float] = (2, 5)

    def cases(self, facts: FactSet) -> list[dict[str, Any]]:
        return [CASE]

    def settings(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def sets(self, model: Model, facts: FactSet, case: dict[str, Any], *, progress: Any = None) -> Sets:
        own = tuple(facts.facts(case["relation"])[i] for i in case["facts"])
        about = {"drawn": len(own), "askable": len(own), "known": None, "widths": list(model.widths), "shares": {}}
        arms = {arm: (NeuronSet.parse(names),) * len(own) for arm, names in self.arms.items()}
        return Sets(case["relation"], own, tuple(case["facts"]), arms, about)


@pytest.fixture(scope="module")
def bert() -> Model:
    return eg.load(*tiny("bert"))


@pytest.fixture(scope="module")
def gpt2() -> Model:
    return eg.load(*tiny("gpt2"))


def by_hand(net: Any, modules: list[Any], ids: list[int], at: int, **more: Any) -> list[np.ndarray]:
    """What goes into these maps at this position, seen by plain hooks."""
    seen: list[np.ndarray] = []
    hooks = [
        m.register_forward_pre_hook(lambda _m, args: seen.append(args[0][0, at].detach().numpy())) for m in modules
    ]
    with torch.no_grad():
        net(torch.tensor([ids]), **more)
    for hook in hooks:
        hook.remove()
    return seen


def read(model: Model, text: str) -> dict[str, float]:
    """The planted neurons of a masked model at its mask, by hand."""
    ids = model.tokenizer(text)["input_ids"]
    layers = [block.output.dense for block in model.net.bert.encoder.layer]
    seen = by_hand(model.net, layers, ids, ids.index(model.tokenizer.mask_token_id))
    return {str(n): float(seen[n.layer][n.index]) for names in ARMS.values() for n in NeuronSet.parse(names)}


def types(model: Model, texts: Texts = TEXTS, fact: int = 0, seed: int = 0, **chosen: Any) -> dict[str, list[str]]:
    """The texts of the prompts of each type."""
    chosen = {"clean": True, "slot": "word", "others": "neither", **chosen}
    said = PromptTypes(texts, seed=seed, **chosen).of(model, FACTS.facts("P36")[fact], fact, Counter())
    return {kind: [p.text for p in prompts] for kind, prompts in said.items()}


def test_rows_and_summary_are_those_of_a_small_example_worked_by_hand(bert):
    asked = {  # the answer, the subject, a name: hidden by hand, one mask each
        0: {"T1": ["Once upon a time [MASK] was the capital of Ireland"], "T2": ["A city of [MASK]"]},
        1: {"T1": ["The city of France is [MASK]"], "T2": ["The [MASK]"]},
    }
    texts = replace(TEXTS, neither=ORDINARY[:1])
    experiment = ActivationByPrompt(texts, Given(), slot="entity")
    result = experiment.run(bert, FACTS, CASE)
    expected = {}
    for number, own in asked.items():
        for kind, masked in {**own, "T3": ["The city of [MASK] is a city"]}.items():
            values = [read(bert, text) for text in masked]
            for name in values[0]:
                expected[number, name, kind] = np.mean([v[name] for v in values])
    found = {(r["number"], r["neuron"], r["type"]): r["activation"] for r in result["rows"]}
    assert found == pytest.approx(expected, rel=1e-5)
    assert {r["n"] for r in result["rows"]} == {1}
    assert all(list(r) == list(ActivationByPrompt.columns) for r in result["rows"])
    assert (result["tried"], result["skipped"]) == (2, [])

    report = experiment.summary([result])
    own = {k: np.mean([found[f, n, k] for f in (0, 1) for n in ("L0.1", "L2.5")]) for k in ("T1", "T2", "T3")}
    for name, value in {**own, "T1 − T2": own["T1"] - own["T2"], "T1 − T3": own["T1"] - own["T3"]}.items():
        score = report[f"attribution: {name}"]
        assert (score.value, score.n) == (pytest.approx(value), 2)
        assert score.interval[0] <= score.value <= score.interval[1]
    assert report["facts tried"].value == 2


def test_a_relation_counts_once_however_many_facts_and_neurons_it_has(bert):
    row = dict.fromkeys(ActivationByPrompt.columns, "") | {"arm": "attribution", "n": 1}
    many = [row | {"relation": "a", "number": n, "neuron": "L0.0", "type": t, "activation": 1.0}
            for n in range(9) for t in ("T1", "T2", "T3")]  # fmt: skip
    few = [row | {"relation": "b", "number": n, "neuron": "L0.0", "type": t, "activation": 5.0 + n}
           for n in range(2) for t in ("T1", "T2", "T3")]  # fmt: skip
    about = {"tried": 0, "skipped": [], "texts_left_out": {}, "drawn": 0, "askable": 0, "shares": {}}
    results = [{"rows": rows, "relation": rows[0]["relation"], **about} for rows in (many, few)]
    score = ActivationByPrompt(TEXTS, Given()).summary(results)["attribution: T1"]
    assert (score.value, score.n) == (3.25, 11)
    assert score.interval == (3.0, 3.5)  # of two facts, both, or one twice


def test_clean_leaves_out_texts_that_blur_the_difference_and_the_paper_keeps_them(bert):
    twice = "Ireland is a city"  # counts as a text of T1, and does not name the answer
    members = {"P36": (Mentions((*IRELAND.both, twice), (*IRELAND.head, twice)), FRANCE)}
    texts = replace(TEXTS, members=members)
    assert types(bert, texts)["T1"] == ["Once upon a time [Y] was the capital of Ireland"]
    assert len(types(bert, texts)["T2"]) == 1  # one mentions Dublin, one is a text of T1
    paper = types(bert, texts, clean=False)
    assert paper["T1"][1] == "Ireland is in a city and [Y] is the city of Dublin"
    assert len(paper["T2"]) == 3
    assert all("Ireland" in t or "[Y]" in t for t in paper["T2"])


def test_as_many_other_texts_are_drawn_as_there_are_of_t1_and_none_about_the_fact_when_clean(bert):
    everything = types(bert, clean=False, others="all")
    assert len(everything["T3"]) == len(everything["T1"]) == 2
    for seed in range(20):
        assert all("Ireland" not in t and "Dublin" not in t for t in types(bert, others="all", seed=seed)["T3"])
    drawn = {t for seed in range(20) for t in types(bert, clean=False, others="all", seed=seed)["T3"]}
    assert any("Ireland" in t for t in drawn)


def test_a_word_is_drawn_from_all_but_the_subject_with_the_marks_that_stick_to_it(bert):
    fact = CAPITAL.fact("Tall France", "Paris")
    texts = Texts("x", {"P36": (Mentions(("Paris in Tall France",), ("The city, Tall France, is.",)),)}, ("A B",))
    said = [
        PromptTypes(texts, True, "word", "neither", seed).of(bert, fact, 0, Counter())["T2"][0] for seed in range(60)
    ]
    expected = {"The", "city,", "Tall France,", "is."}  # the mark makes the last but one another word than the subject
    assert {p.answer for p in said} == expected
    bare = Texts("x", {"P36": (Mentions(("Paris in Tall France",), ("The city Tall France is",)),)}, ("A B",))
    said = [
        PromptTypes(bare, True, "word", "neither", seed).of(bert, fact, 0, Counter())["T2"][0] for seed in range(60)
    ]
    assert {p.answer for p in said} == {"The", "city", "is"}


def test_words_come_from_the_first_fifty(bert):
    long = eg.load(*tiny("bert", max_position_embeddings=256), masks="together")
    long.tokenizer.model_max_length = 256
    text = " ".join(["a"] * 50 + ["Rome"] * 50)
    texts = Texts("x", {"P36": (Mentions(("Dublin in Ireland",) * 30, ("Ireland is",)),)}, (text,) * 30)
    assert {p.split().index("[Y]") < 50 for p in types(long, texts)["T3"]} == {True}


def test_a_causal_model_is_asked_behind_the_subject_and_reads_what_is_before_the_place(gpt2):
    paper = types(gpt2, clean=False, fact=1)
    assert paper["T1"] == ["The city of France is [Y]", "Paris is the capital of France and [Y] is a city"]
    assert types(gpt2)["T1"] == []  # Dublin stands before Ireland, or there twice
    for seed in range(10):
        (ireland,) = [t for t in types(gpt2, seed=seed, clean=False)["T2"] if t.startswith("Ireland")]
        assert ireland.index("[Y]") > 0
    row = slot_row(gpt2, Prompt("The city of [Y] is a city", "Lyon"))
    assert gpt2.tokenizer.decode(list(row.ids)) == "The city of"
    assert row.at == len(row.ids) - 1
    with pytest.raises(UnaskablePrompt, match="nothing before the blank"):
        slot_row(gpt2, Prompt("[Y] is a city", "Lyon"))


def test_a_place_of_several_tokens_is_one_mask(bert):
    row = slot_row(bert, Prompt("The city of [Y] is", "Tallinn Cork"))
    assert bert.tokenizer.convert_ids_to_tokens(row.ids) == ["[CLS]", "The", "city", "of", "[MASK]", "is", "[SEP]"]


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "modernbert", "gpt2", "opt", "llama", "t5", "bart"])
def test_activations_are_those_of_plain_hooks_in_every_family_and_the_same_one_by_one(family):
    model = eg.load(*tiny(family))
    prompts = [Prompt(t, "Rome") for t in ("The capital of France is [Y]", "The city of Italy is [Y]", "A city is [Y]")]
    neurons = [NeuronSet.parse(n) for n in ("L0.1 L1.3", "L2.5", "L0.1 L2.5")]
    together = activations(model, prompts, neurons)
    alone = activations(replace(model, budget=1), prompts, neurons)
    for prompt, own, one, other in zip(prompts, neurons, together, alone, strict=True):
        row = slot_row(model, prompt)
        more = {"decoder_input_ids": torch.tensor([row.decoder])} if row.decoder else {}
        expected = []
        for n in own:
            layer = model.layers[n.layer]
            at = row.at if layer.side == "input" or not row.decoder else len(row.decoder) - 1
            passes: list[np.ndarray] = []
            hook = layer.down.register_forward_pre_hook(
                lambda _m, args, at=at, passes=passes: passes.append(
                    args[0].reshape(-1, args[0].shape[-1])[at].detach()
                )
            )
            with torch.no_grad():
                model.net(torch.tensor([row.ids]), **more)
            hook.remove()
            shared = len(passes) > 1  # ALBERT's layers are one and the same module
            expected.append(float(passes[n.layer if shared else 0][n.index]))
        assert one.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert other.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_reading_leaves_the_model_as_it_was_and_names_a_neuron_that_is_not_there(bert):
    activations(bert, [Prompt("It is [Y]", "a")], [NeuronSet.parse("L0.1")])
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in bert.net.modules())
    assert activations(bert, [Prompt("It is [Y]", "a")], [NeuronSet()])[0].shape == (0,)
    with pytest.raises(BadSetting, match=r"no neuron L0\.99"):
        activations(bert, [Prompt("It is [Y]", "a")], [NeuronSet.parse("L0.99")])


def test_what_a_fact_gets_depends_on_neither_the_others_nor_their_order(bert):
    def rows(experiment: ActivationByPrompt, numbers: list[int]) -> list[dict[str, Any]]:
        said = experiment.run(bert, FACTS, {"relation": "P36", "facts": numbers})["rows"]
        return [r for r in said if r["number"] == 1]

    experiment = ActivationByPrompt(TEXTS, Given())
    assert rows(experiment, [0, 1]) == rows(experiment, [0, 1])
    both, alone = rows(experiment, [1, 0]), rows(experiment, [1])
    assert [r["activation"] for r in both] == pytest.approx([r["activation"] for r in alone], rel=1e-5)
    assert types(bert, seed=1) != types(bert, seed=4)


def test_a_fact_without_a_neuron_or_without_texts_is_left_out_with_its_reason(bert):
    bare = Texts("bare", {"P36": (Mentions(IRELAND.both), FRANCE)}, ORDINARY)
    experiment = ActivationByPrompt(bare, Given())
    result = experiment.run(bert, FACTS, CASE)
    (left,) = result["skipped"]
    assert left == {"fact": "⟨Ireland, P36, Dublin⟩", "reason": "NoTexts: it has none for T2"}
    assert experiment.summary([result])["facts left out for want of texts"].value == 1

    nothing = ActivationByPrompt(TEXTS, Given({"attribution": "", "chance": ""}))
    result = nothing.run(bert, FACTS, CASE)
    assert [x["reason"].partition(":")[0] for x in result["skipped"]] == ["NoNeurons"] * 2
    with pytest.raises(BadSetting, match=r"no fact was tried.*NoNeurons"):
        nothing.summary([result])


def test_an_arm_without_neurons_has_no_rows_and_the_others_have(bert):
    result = ActivationByPrompt(TEXTS, Given({**ARMS, "attribution": ""})).run(bert, FACTS, CASE)
    assert {r["arm"] for r in result["rows"]} == {"activation", "chance"}


def test_a_text_too_long_for_the_model_is_left_out_and_counted(bert):
    texts = Texts(
        "x", {"P36": (IRELAND, Mentions(("France Paris " + "a " * 80, FRANCE.both[0]), FRANCE.head))}, ORDINARY
    )
    result = ActivationByPrompt(texts, Given()).run(bert, FACTS, CASE)
    assert result["texts_left_out"]["T1: PromptTooLong"] == 1
    assert {r["number"]: r["n"] for r in result["rows"] if r["type"] == "T1"} == {0: 1, 1: 1}


def test_a_fact_whose_answer_is_not_finite_is_left_out_and_the_others_are_not():
    net, words = tiny("bert")
    with torch.no_grad():
        net.bert.embeddings.position_embeddings.weight[10:] = float("nan")  # only one text is so long
    model = eg.load(net, words)
    result = ActivationByPrompt(TEXTS, Given(), slot="entity").run(model, FACTS, CASE)
    assert {r["number"] for r in result["rows"]} == {1}
    assert [x["reason"].partition(":")[0] for x in result["skipped"]] == [NotFinite.__name__]


def test_settings_say_which_texts_and_presets_what_the_paper_does():
    chosen = ActivationByPrompt(TEXTS, Given())
    assert (chosen.clean, chosen.slot, chosen.others) == (True, "word", "neither")
    assert ActivationByPrompt(replace(TEXTS, neither=()), Given()).others == "all"
    paper = ActivationByPrompt(TEXTS, Given(), preset="paper")
    assert paper.settings() == {
        "neurons": {"seed": 0}, "texts": {"name": "mine", "checksum": TEXTS.checksum}, "clean": False, "slot": "word",
        "others": "all",
    }  # fmt: skip
    assert ActivationByPrompt(TEXTS, preset="paper", slot="entity", neurons=Neurons()).slot == "entity"


@pytest.mark.parametrize(
    ("chosen", "error", "words"),
    [
        ({"slot": "name"}, UnknownName, "slot"),
        ({"others": "some"}, UnknownName, "other texts"),
        ({"preset": "hunter2"}, UnknownName, "preset"),
        ({"texts": replace(TEXTS, neither=()), "others": "neither"}, BadSetting, "no ordinary ones"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(chosen, error, words):
    with pytest.raises(error, match=words):
        ActivationByPrompt(**{"texts": TEXTS, "neurons": Given(), **chosen})


def test_names_are_runs_of_capitalised_words_but_the_first_of_a_sentence():
    text = 'He met Mary Ann in Paris. "Bob went," said Tom. I saw O\'Brien and Saint-Malo'
    assert [text[a:b] for a, b in entities(text)] == ["Mary Ann", "Paris", "Tom", "O'Brien", "Saint-Malo"]


def test_a_fact_of_the_shipped_data_is_activated_most_by_texts_that_state_it():
    facts = eg.data.read("shipped").only(["capital", "author", "language"])
    experiment = ActivationByPrompt(eg.data.texts("shipped", facts), Neurons(facts=2))
    report = experiment.summary(experiment.run(eg.load(), facts, case) for case in experiment.cases(facts))
    assert report["attribution: T1 − T3"].interval[0] > 0
    assert report["attribution: T1 − T3"].value > report["chance: T1 − T3"].value


def test_a_fact_is_asked_by_its_own_texts(bert):
    strange = Fact("Ireland", "P99", "Dublin")
    assert PromptTypes(TEXTS, True, "word", "neither", 0).of(bert, strange, 0, Counter())["T1"] == []
