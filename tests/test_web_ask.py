"""Ask: the answer, and what each layer would say, held against what the network's own parts say by hand."""

from __future__ import annotations

import pytest
import torch

import engram as eg
from engram.errors import BadSetting, NotOneBlank, UnknownName
from engram.testing.networks import tiny
from engram.web.kept import kept
from engram.web.views.ask import Ask

PROMPT = "The author of Hamlet is [Y]."
CAPITAL = "The capital of Ireland is [Y]."


@pytest.fixture(scope="module")
def masked() -> eg.Model:
    return eg.load("engram:masked")


@pytest.fixture(scope="module")
def causal() -> eg.Model:
    return eg.load("engram:causal")


def by_hand(model: eg.Model, prompt: eg.Prompt) -> list[torch.Tensor]:
    """Of each layer: log-probabilities [vocabulary], from transformers' hidden states, its last norm and its head."""
    (row,) = model.rows(prompt)
    with torch.no_grad():
        states = model.net(torch.tensor([row.ids]), output_hidden_states=True).hidden_states[1:]
        if model.family.name == "bert":
            return [model.net.cls(x[:, row.at]).log_softmax(-1)[0] for x in states]
        last = len(states) - 1  # transformers gives the last state out normalised already
        norm = model.net.transformer.ln_f
        ready = [x if i == last else norm(x) for i, x in enumerate(states)]
        return [model.net.lm_head(x[:, row.at]).log_softmax(-1)[0] for x in ready]


@pytest.mark.parametrize(("name", "text", "answer"), [("masked", PROMPT, "Shakespeare"), ("causal", CAPITAL, "Dublin")])
def test_a_layer_says_what_the_last_norm_and_the_head_make_of_its_state(name, text, answer, request):
    model = request.getfixturevalue(name)
    prompt = eg.Prompt(text, answer)
    (layers,) = eg.lens(model, prompt)
    (row,) = model.rows(prompt)
    assert list(layers) == [0, 1, 2, 3]
    for found, expected in zip(layers.values(), by_hand(model, prompt), strict=True):
        assert found.logprob == pytest.approx(float(expected[row.target]), abs=1e-4)
        assert found.rank == int((expected > expected[row.target]).sum()) + 1
        assert found.top[0][1] == pytest.approx(float(expected.max().exp()), abs=1e-5)


@pytest.mark.parametrize(("name", "text"), [("masked", "[Y] is the capital of Ireland."), ("causal", CAPITAL)])
def test_the_last_layer_is_the_answer_also_of_several_tokens_under_a_condition_and_among_others(name, text, request):
    model = request.getfixturevalue(name)
    under = eg.suppressed(eg.NeuronSet.parse("L1.3 L3.7"))
    prompts = [eg.Prompt(text, "Dublin"), eg.Prompt(text, "Shakespeare Dublin"), eg.Prompt(CAPITAL, "Paris")]
    for condition in (None, under):
        answers = eg.ask(model, prompts, under=condition)
        for answer, layers in zip(answers, eg.lens(model, prompts, under=condition), strict=True):
            assert layers[3].logprob == pytest.approx(answer.logprob, abs=1e-4)
            assert (layers[3].rank, layers[3].tokens) == (answer.rank, answer.tokens)


def test_little_memory_does_not_change_what_layers_say(masked):
    prompts = [eg.Prompt(PROMPT, "Shakespeare"), eg.Prompt(CAPITAL, "Dublin"), eg.Prompt(PROMPT, "Tolstoy")]
    little = eg.Model(masked.net, masked.tokenizer, masked.family, masked.name, budget=1)
    for one, other in zip(eg.lens(masked, prompts), eg.lens(little, prompts), strict=True):
        assert [one[i].logprob for i in one] == pytest.approx([other[i].logprob for i in other], abs=1e-4)


@pytest.mark.parametrize("kind", ["t5", "bart", "albert", "opt", "gemma2", "modernbert"])
def test_it_is_so_in_stacks_of_two_where_weights_are_shared_and_under_other_ends(kind):
    model = eg.load(*tiny(kind))
    prompts = [eg.Prompt(CAPITAL.rstrip("."), "Dublin"), eg.Prompt("A city in Ireland is [Y]", "Tallinn Dublin")]
    said = [x.index for x in model.layers if x.side == model.layers[-1].side]
    for answer, layers in zip(eg.ask(model, prompts), eg.lens(model, prompts), strict=True):
        assert list(layers) == said
        assert layers[said[-1]].logprob == pytest.approx(answer.logprob, abs=1e-4)
        assert layers[said[0]].logprob != pytest.approx(answer.logprob, abs=1e-3)


def test_the_view_says_what_asking_says(masked):
    steps = []
    found = Ask(prompt=PROMPT, answer="Shakespeare", top=3).run(masked, lambda done, total: steps.append((done, total)))
    (said,) = eg.ask(masked, eg.Prompt(PROMPT, "Shakespeare"), top=3)
    assert found["answer"]["rank"] == said.rank == 1
    assert [word for word, _ in found["answer"]["top"]] == [word for word, _ in said.top]
    assert found["base"] is None
    assert found["layers"][-1]["probability"] == pytest.approx(said.probability, abs=1e-5)
    assert steps[-1][0] == steps[-1][1] > 0


def test_an_edit_is_looked_under_and_the_model_without_it_shown_beside(masked):
    edit = planned(masked)
    name = kept.keep(masked.name, edit, "Tolstoy wrote it", "edit = None")
    try:
        found = Ask(prompt=PROMPT, answer="Shakespeare", under=[name]).run(masked, lambda *_: None)
        (edited,) = eg.ask(masked, eg.Prompt(PROMPT, "Shakespeare"), under=edit)
        (base,) = eg.ask(masked, eg.Prompt(PROMPT, "Shakespeare"))
        assert found["answer"]["logprob"] == pytest.approx(edited.logprob)
        assert found["base"]["logprob"] == pytest.approx(base.logprob)
        assert edited.logprob != base.logprob
        assert found["base_layers"][3]["logprob"] == pytest.approx(base.logprob, abs=1e-4)
        assert found["layers"][3]["logprob"] == pytest.approx(edited.logprob, abs=1e-4)
        assert found["base_layers"][0]["logprob"] == pytest.approx(found["layers"][0]["logprob"])  # the edit is above
        assert dict(zip([word for word, _ in found["answer"]["top"]], found["before"], strict=True))[
            "Shakespeare"
        ] == pytest.approx(base.probability, abs=1e-5)
    finally:
        kept.forget(name)


def planned(model: eg.Model) -> eg.Edit:
    wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming("Tolstoy")
    by = eg.KnowledgeSurgery(eg.NeuronSet.parse("L3.5"))
    return eg.rewrite(model, wish, by=by, prompt=eg.Prompt(PROMPT, "Shakespeare"))


@pytest.mark.parametrize("quote", ["Shakespeare", "O'Neill", 'a "b"\\'])
def test_the_python_runs_and_says_the_same(quote, capsys):
    python = Ask(prompt=PROMPT, answer="Shakespeare", top=2).python("engram:masked")
    exec(compile(python, "page", "exec"), {})
    first, *layers = capsys.readouterr().out.splitlines()
    assert first.startswith("1 0.61")
    assert [line.strip("(").split(", ")[:2] for line in layers][-1] == ["3", "1"]
    compile(Ask(prompt=f"{quote} [Y]", answer=quote).python("x'y"), "page", "exec")  # quotes cannot break out


def test_the_python_makes_the_edits_that_were_looked_under(masked, capsys):
    made = (
        "wish = eg.Fact('Hamlet', 'author', 'Shakespeare').becoming('Tolstoy')\n"
        "by = eg.KnowledgeSurgery(eg.NeuronSet.parse('L3.5'))\n"
        f"edit = eg.rewrite(model, wish, by=by, prompt=eg.Prompt({PROMPT!r}, 'Shakespeare'))\n"
    )
    edit = planned(masked)
    name = kept.keep(masked.name, edit, "Tolstoy wrote it", made)
    try:
        exec(compile(Ask(prompt=PROMPT, answer="Shakespeare", under=[name]).python(masked.name), "page", "exec"), {})
        (edited,) = eg.ask(masked, eg.Prompt(PROMPT, "Shakespeare"), under=edit)
        said = capsys.readouterr().out.split()
        assert float(said[1]) == pytest.approx(edited.probability, abs=1e-6)
        (base,) = eg.ask(masked, eg.Prompt(PROMPT, "Shakespeare"))
        assert float(said[1]) != pytest.approx(base.probability, abs=1e-6)
    finally:
        kept.forget(name)


def test_what_cannot_be_asked_is_refused_in_words(masked):
    with pytest.raises(NotOneBlank):
        Ask(prompt="no blank", answer="x").run(masked, lambda *_: None)
    with pytest.raises(UnknownName, match="edit-999"):
        Ask(prompt=PROMPT, answer="Shakespeare", under=["edit-999"]).run(masked, lambda *_: None)


def test_an_edit_of_another_model_is_not_looked_under(masked):
    name = kept.keep("another", planned(masked), "", "edit = None")
    try:
        with pytest.raises(BadSetting, match="planned for another"):
            Ask(prompt=PROMPT, answer="Shakespeare", under=[name]).run(masked, lambda *_: None)
    finally:
        kept.forget(name)
