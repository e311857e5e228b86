"""What every locator, selector, editor, metric, data set and experiment promises, as clauses that can be checked.

Each clause is a small function; its name is what it promises. `checks` has the doors to them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import DataSet
from ..editors import Editor, rewrite
from ..edits import Edit, Wish
from ..experiments import Experiment
from ..facts import FactSet, Prompt
from ..locators import Locator, locate
from ..metrics import Metric, compare
from ..models import Model, ask
from ..results import Answer, Attribution
from ..runs import run
from ..selectors import Selector
from ..store import data_key, shards, verify
from .contract import ContractBroken
from .states import state_of

TOGETHER = 1e-4  # of the largest score: how far scores may be from those of the same prompt asked alone


def it_is_a_value_that_can_be_sent_elsewhere(thing: Any, *_: Any) -> None:
    _must(dataclasses.is_dataclass(thing), "it is no dataclass")
    _must(type(thing).__dataclass_params__.frozen, "its dataclass is not frozen")
    _must(pickle.loads(pickle.dumps(thing)) == thing, "a copy of it is not equal to it")


# -- locators


def every_neuron_of_every_prompt_gets_one_finite_score(it: Locator, model: Model, prompts: Sequence[Prompt]) -> None:
    found = locate(model, prompts, by=it)
    _must([a.prompt for a in found] == list(prompts), "there is not one result for each prompt")
    for a in found:
        expected = (len(model.layers), max(model.widths))
        _must(a.scores.shape == expected, f"scores of {a.prompt.text!r} are {a.scores.shape}, not {expected}")
        _must(bool(np.isfinite(a.scores).all()), f"a score of {a.prompt.text!r} is not finite")
        _must(a.method == it.name, f"the scores say that they are by {a.method!r}, not by {it.name!r}")


def the_same_prompts_get_the_same_scores(it: Locator, model: Model, prompts: Sequence[Prompt]) -> None:
    once, again = locate(model, prompts, by=it), locate(model, prompts, by=it)
    _must(all(np.array_equal(a.scores, b.scores) for a, b in zip(once, again, strict=True)), "they were others again")


def prompts_do_not_see_each_other(it: Locator, model: Model, prompts: Sequence[Prompt]) -> None:
    for a in locate(model, prompts, by=it):
        (alone,) = locate(model, a.prompt, by=it)
        far = float(np.abs(a.scores - alone.scores).max())
        near = far <= TOGETHER * float(np.abs(alone.scores).max())
        _must(near, f"scores of {a.prompt.text!r} among others are {far:.2g} from those alone")


def settings_travel_with_the_scores(it: Locator, model: Model, prompts: Sequence[Prompt]) -> None:
    (found,) = locate(model, prompts[0], by=it)
    json.dumps(dict(found.settings))


def locating_leaves_the_model_as_it_was(it: Locator, model: Model, prompts: Sequence[Prompt]) -> None:
    with _untouched(model):
        locate(model, prompts, by=it)


# -- selectors


def only_neurons_that_there_are_are_named(it: Selector, scores: Sequence[Attribution]) -> None:
    for neuron in it.select(scores):
        there = neuron.layer < len(scores[0].widths) and neuron.index < scores[0].widths[neuron.layer]
        _must(there, f"{neuron} is not in layers of {scores[0].widths} neurons")


def the_same_scores_name_the_same_neurons(it: Selector, scores: Sequence[Attribution]) -> None:
    before = [a.scores.copy() for a in scores]
    _must(it.select(scores) == it.select(scores), "others were named again")
    _must(all(np.array_equal(a.scores, b) for a, b in zip(scores, before, strict=True)), "the scores were changed")


# -- editors


def planning_changes_nothing(it: Editor, model: Model, wish: Wish, prompt: Prompt) -> None:
    with _untouched(model):
        rewrite(model, wish, by=it, prompt=prompt)


def the_same_wish_gives_the_same_edit(it: Editor, model: Model, wish: Wish, prompt: Prompt) -> None:
    once, again = (rewrite(model, wish, by=it, prompt=prompt) for _ in range(2))
    _must(once.patches == again.patches, "it was another one again")
    _must(once.method == it.name, f"the edit says that it is by {once.method!r}, not by {it.name!r}")


def an_edit_changes_what_is_said_and_is_undone(it: Editor, model: Model, wish: Wish, prompt: Prompt) -> None:
    edit = rewrite(model, wish, by=it, prompt=prompt)
    (plain,) = ask(model, prompt)
    with _untouched(model):
        (held,) = ask(model, prompt, under=edit)
    _must(held.logprob != plain.logprob, f"under it, P({prompt.answer}) is to the last bit what it was")
    _must(ask(model, prompt) == [plain], "afterwards, the model says something else")


def an_edit_is_the_same_after_it_was_kept(it: Editor, model: Model, wish: Wish, prompt: Prompt) -> None:
    edit = rewrite(model, wish, by=it, prompt=prompt)
    with tempfile.TemporaryDirectory() as aside:
        edit.save(Path(aside) / "edit")
        _must(Edit.load(Path(aside) / "edit") == edit, "what was saved and loaded is another one")


# -- metrics


def a_number_or_nan_for_every_prompt(it: Metric) -> None:
    for before, after in _answers():
        found = it.of(before, after)
        _must(isinstance(found, float), f"it gives {found!r}, and is to give a float")
        again = it.of(before, after)
        _must(found == again or (math.isnan(found) and math.isnan(again)), "it was another one again")


def a_report_has_it_with_its_unit(it: Metric) -> None:
    pairs = _answers()
    report = compare([b for b, _ in pairs], [a for _, a in pairs], metrics=[it])
    _must(bool(it.unit), "it has no unit")
    known = [x for b, a in pairs if math.isfinite(x := it.of(b, a))]
    found = [s for s in report.scores if s.name == it.name]
    _must(bool(found) is bool(known), "a report lacks it" if known else "a report has it, though no prompt does")
    _must(not found or found[0].n == len(known), "its n is not the number of prompts that have it")


# -- data sets


def what_it_says_of_itself_is_there(it: DataSet) -> None:
    _must(bool((type(it).__doc__ or "").strip()), "its class has no docstring")
    for name in ("origin", "licence", "layout"):
        _must(bool(getattr(it, name, "")), f"it has no {name}")
    with tempfile.TemporaryDirectory() as empty:
        _must(not it.fits(Path(empty)), "it fits an empty folder")


def it_is_read_the_same_again(it: DataSet) -> None:
    _must(data_key(it.read()) == data_key(it.read()), "it was another one again")


def every_fact_can_be_asked(it: DataSet) -> None:
    facts = it.read()
    _must(len(facts) > 0, "it has no facts")
    for fact in facts:
        _must(bool(facts.prompts(fact)), f"{fact} has neither a template nor a sentence")


# -- experiments


def cases_and_settings_are_plain_values(it: Experiment, _model: Model, facts: FactSet) -> None:
    cases = it.cases(facts)
    _must(bool(cases), f"it finds no case in {len(facts)} facts")
    _must(json.loads(json.dumps(cases)) == cases, "its cases are not the same after a journey through JSON")
    json.dumps(it.settings())


def a_case_that_is_done_twice_is_the_same_file(it: Experiment, model: Model, facts: FactSet) -> None:
    case = it.cases(facts)[0]
    with _untouched(model):
        files = [shards.encoded("", 0, it.run(model, facts, case), it.columns) for _ in range(2)]
    _must(files[0] == files[1], f"of the case {case} another one was made again")


def a_run_of_it_is_whole_and_says_what_it_says(it: Experiment, model: Model, facts: FactSet) -> None:
    own = it.summary([it.run(model, facts, case) for case in it.cases(facts)])
    with tempfile.TemporaryDirectory() as aside:
        done = run(it, facts, model, out=Path(aside) / "run", threads=torch.get_num_threads())
        _must(verify(done.path).complete, "its run is not whole")
        said = done.summary()
    _must(said is not None and str(said) == str(own), f"its run says {said}, and the experiment itself {own}")


LOCATOR = (
    every_neuron_of_every_prompt_gets_one_finite_score, the_same_prompts_get_the_same_scores,
    prompts_do_not_see_each_other, settings_travel_with_the_scores, locating_leaves_the_model_as_it_was,
)  # fmt: skip
SELECTOR = (only_neurons_that_there_are_are_named, the_same_scores_name_the_same_neurons)
EDITOR = (
    planning_changes_nothing, the_same_wish_gives_the_same_edit, an_edit_changes_what_is_said_and_is_undone,
    an_edit_is_the_same_after_it_was_kept,
)  # fmt: skip
METRIC = (a_number_or_nan_for_every_prompt, a_report_has_it_with_its_unit)
DATA_SET = (what_it_says_of_itself_is_there, it_is_read_the_same_again, every_fact_can_be_asked)
EXPERIMENT = (
    cases_and_settings_are_plain_values, a_case_that_is_done_twice_is_the_same_file,
    a_run_of_it_is_whole_and_says_what_it_says,
)  # fmt: skip


def _must(kept: bool, otherwise: str) -> None:
    if not kept:
        raise ContractBroken(otherwise)


@contextmanager
def _untouched(model: Model) -> Iterator[None]:
    before = state_of(model)
    yield
    for what, value in state_of(model).items():
        same = torch.equal(value, before[what]) if isinstance(value, Tensor) else value == before[what]
        _must(same, f"{what} is not what it was")


def scores() -> tuple[Attribution, ...]:
    """Those of five prompts, drawn at random, over layers of 7 and of 5 neurons."""
    draw, widths = np.random.default_rng(0), (7, 5)
    nothing = np.full(len(widths), np.nan)
    made = []
    for i in range(5):
        dense = draw.exponential(size=(len(widths), max(widths)))
        dense[1, 5:] = 0  # behind the narrower layer
        made.append(Attribution(Prompt(f"Number {i} is [Y].", "so"), "drawn", dense, nothing, nothing, widths))
    return tuple(made)


def _answers() -> list[tuple[Answer, Answer]]:
    """Before and after: unchanged, lower, higher, gone, and from nothing."""
    pairs = []
    for i, (b, a) in enumerate([(-1.0, -1.0), (-0.5, -3.0), (-4.0, -0.1), (-1.0, -math.inf), (-math.inf, -2.0)]):
        prompt = Prompt(f"Number {i} is [Y].", "so")
        both = (Answer(prompt, ("so",), x, 1 if x > -2 else 9, (("so" if x > -2 else "not", 0.4),)) for x in (b, a))
        pairs.append((next(both), next(both)))
    return pairs
