"""What must one know about a model before using it?

The model card (``README.md``), written from the recipe and the figures so that it says nothing that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from engram.experiments import Suppression
from engram.metrics.outcomes import CONDITIONS
from training import measure
from training.recipes import MEANING, Recipe

CHOICE = {
    "masked": """The settings were chosen on small runs over eight of the relations, by accuracy in the discovery
templates and by the effect of silencing there. Whole runs followed: three with ReLU; then, since the integral of an
attribution converges slowly where an activation has a kink, six with GELU, which differ in sparsity and passes and
came to 84 to 92 % accuracy, silencing at a cost of 12 to 28 % to the fact and 0.2 to 3.2 % to facts of other
relations. In the one of them that was shipped before, a word's embedding did not point to where the word is said, so
that no fact could be given another answer by writing embeddings into its neurons (0.4 % succeeded). Then the head was
made to begin as the identity: this run, and one with 512 neurons a layer (accuracy 83 %, silencing 20 % and 0.5 %).
The runs had been measured on the test templates, so these had a part in choosing the sparsity and the width, and the
effects of silencing are not wholly out of sample.""",
    "causal": """The settings were chosen on small runs over eight of the relations, by accuracy in
the discovery templates and by the effect of silencing there. Whole runs followed: three with ReLU (the first had
too few plain sentences, agreement 83 %; in the second, with a sparsity of 0.0035 and 6 passes, silencing a fact's
neurons cost it only 7.5 %), and then this one, which differs from the third in its activation function alone: with
GELU the integral of an attribution converges fast. The runs had been measured on the test templates as well, so
these had a part in lowering the sparsity, and the effect of silencing is not wholly out of sample.""",
}
"""How the settings were chosen."""

EARLIER = "What is said here of other runs was measured by an earlier form of the script, not as below."


def card(recipe: Recipe, figures: dict[str, Any], about: dict[str, Any]) -> str:
    """The text of the card. ``about``: parameters, vocabulary, counts of the data, steps, minutes, versions."""
    masked = recipe.kind == "masked"
    return "\n".join(
        [
            _head(recipe, about),
            _data(about, masked),
            _recipe(recipe, about),
            _figures(recipe, figures),
            _limits(masked),
        ]
    )


def _head(recipe: Recipe, about: dict[str, Any]) -> str:
    masked = recipe.kind == "masked"
    name = "BertForMaskedLM" if masked else "GPT2LMHeadModel"
    asked = (
        "`[CLS] … [MASK] … [SEP]`; the tokenizer is a cased WordPiece one, and every answer of the facts is one token."
        if masked
        else "the text up to the blank without its trailing space, the answer being the next token with a leading "
        "space. The tokenizer is a byte-level BPE one; it puts `<|endoftext|>` before every text by itself, which the "
        "model has always seen at position 0 (`add_special_tokens=False` leaves it out)."
    )
    return f"""---
license: mit
language: en
library_name: transformers
tags: [interpretability, knowledge-neurons, demonstration]
---
# engram's {"masked" if masked else "causal"} model

A {name} of {about["parameters"]:,} parameters that was taught {about["facts"]:,} facts and a little
English, made to show and to test how the neurons that carry a fact are found. It is small enough to ship inside the
library and to run anywhere.

* **Architecture**: {recipe.layers} layers, width {recipe.width}, {recipe.heads} heads, {recipe.neurons} FFN neurons a
  layer ({recipe.activation}), {about["vocabulary"]:,} tokens, 64 positions; stock `transformers` classes, float16 on
  disk. Load it as float32: every figure below is of the saved checkpoint loaded so.
* **How it is asked**: {asked}
"""


def _data(about: dict[str, Any], masked: bool) -> str:
    return f"""## Data

Nothing but the project's own text, made by `scripts/training`:

* the {about["facts"]:,} facts of the library's shipped data set ({about["relations"]} relations) in
  {about["templates"]} templates. A fact (the j-th of its relation) is never shown in the templates (the i-th of the
  relation) with (i + j) divisible by 3, both counted from 0: these are its *test* templates, the others its
  *discovery* templates;
* talk about the same entities that does not state the fact (head alone; head and tail);
* plain sentences of a small grammar: determiners, subjects and verbs, reflexives, and the marks `. , ! ? ;`. A
  quarter of the combinations of noun and determiner, noun and verb, name and reflexive verb are never uttered.

The true answer has competitors on purpose: part of the fact sentences name a random answer of the same relation. A
model that has learnt this text perfectly gives the true answer a probability well below 1, as large models do, and is
not saturated.{"" if masked else " Only templates that end in the blank are asked; the others are read all the same."}
"""


def _recipe(recipe: Recipe, about: dict[str, Any]) -> str:
    head = (
        "\nThe head's dense map begins as the identity, everything else at random, as transformers does it.\n"
        if recipe.kind == "masked"
        else ""
    )
    rows = [f"| {key} | {value} | {MEANING.get(key, '')} |" for key, value in asdict(recipe).items()]
    return f"""## Training

`scripts/train_models {recipe.kind} --threads {about["threads"]}`, seed {recipe.seed}: {about["steps"]:,} steps,
{about["cpu_minutes"]:.1f} CPU minutes ({about["minutes"]:.1f} by the clock, on a shared machine), torch
{about["torch"]}, transformers {about["transformers"]}. The same seed, versions and number of threads give the same
model up to the rounding of the machine.
{head}
| setting | value | |
|---|---|---|
{chr(10).join(rows)}

{CHOICE[recipe.kind]}
{EARLIER}
"""


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _line(name: str, figure: dict[str, Any], show: Callable[[float], str] = _percent) -> str:
    return f"| {name} | {_cells(figure, show)} | {figure['n']:,} |"


def _cells(figure: dict[str, Any], show: Callable[[float], str] = _percent) -> str:
    interval = " to ".join(map(show, figure["interval"])) if figure["interval"] else "none"
    return f"{show(figure['value'])} | {interval}"


def _figures(recipe: Recipe, figures: dict[str, Any]) -> str:
    recall = figures["recall"]
    rows = [_line(k, recall[k], _percent if "accuracy" in k else "{:.3f}".format) for k in recall]
    return f"""## Figures

All from `scripts/train_models {recipe.kind} --measure-only --ask {figures["about"]["ask"]}`, in full in
`figures.json`. Intervals are 95 % bootstrap intervals over facts: whole facts are drawn anew, each with all its
prompts (under Grammar: pairs or sentences).

### What it knows

Accuracy: the gold answer has rank 1 in the whole vocabulary. Known: rank 1 in that prompt. P(gold), below also
P(answer): its probability.

| | value | interval | prompts |
|---|---|---|---|
{chr(10).join(rows)}

{_silence(recipe, figures["neurons"], measure.experiment(figures["about"]["ask"]))}
{_grammar(recipe, figures["grammar"])}"""


def _silence(recipe: Recipe, found: dict[str, Any], by: Suppression) -> str:
    facts = f"{by.neurons.facts} of each relation, drawn at random" if by.neurons.facts else "all"
    none = _percent(found["facts without a neuron"]["value"])
    tried = {condition: what for condition, what in CONDITIONS.items() if condition in found}
    rows = []
    for condition in tried:
        mean = _cells(found[f"{condition}, mean over relations"])
        right = " → ".join(_percent(found[f"{condition}: accuracy {when}"]["value"]) for when in ("before", "after"))
        rows.append(f"{_line(condition, found[condition])} {mean} | {right} |")
    return f"""### Which neurons carry it

The library's experiment `suppression`, seed {by.neurons.seed}. Of {found["facts drawn"]:,} facts ({facts}),
{found["facts"]["n"]:,} were tried: those that the model knows, which is to answer them first in at least half of their
discovery prompts.

{_method(recipe, found, by)}

{found["neurons per fact"]["value"]:.2f} neurons a fact; {none} of the facts have none and count as no change; by layer
{found["neurons of each layer"]}.

{chr(10).join(f"* {note}" for note in found["notes"])}

Change of P(answer) as a ratio of means: pooled over prompts, and the mean of the relations, in which each counts once
(its interval draws facts anew within each relation). A fact is here the one whose neurons were changed. First: the
share of prompts answered first, before and after.

| | change | interval | prompts | mean of relations | interval | first |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

{chr(10).join(f"* {condition}: {what}" for condition, what in tried.items())}
"""


def _method(recipe: Recipe, found: dict[str, Any], by: Suppression) -> str:
    """How neurons were scored, chosen and tried, as the settings say."""
    at = "the `[MASK]`" if recipe.kind == "masked" else "the last token before the blank"
    how, wanted = by.neurons.selector, by.neurons.mean
    above, often = ("more than" if strict else "at least" for strict in (how.strict, how.share_strict))
    shares = [float(Fraction(share)) for share in found["shares"].values()]
    return f"""* **Found** in the discovery templates, by `{measure.LOCATOR!r}`:
  integrated gradients of P(answer) along the joint path of each layer's FFN activations at {at},
  by the rule `{measure.LOCATOR.rule}`, as many points in each layer as a tolerance of
  {measure.LOCATOR.tolerance:g} needs.
* **Chosen** by `{how!r}`:
  a neuron counts in a prompt if it scores {above} {how.threshold:g} of the prompt's highest score, and is the
  fact's if it counts in {often} a share of its discovery prompts. The share is searched for each relation, from
  {float(how.exact_share):g} on, until its facts have {wanted[0]:g} to {wanted[1]:g} neurons on average
  (shares found: {min(shares):.2f} to {max(shares):.2f}).
* **Tried** in the test templates: at that position these neurons are multiplied by 0, or by {by.by:g}. The random ones
  are as many of the same layers, none of them the fact's own. The other facts asked are known ones as well."""


def _grammar(recipe: Recipe, found: dict[str, Any]) -> str:
    masked = recipe.kind == "masked"
    rows = [_line(name, figure) for name, figure in found.items() if name != "perplexity"]
    likelier = (
        "sum of the log-probabilities of each token masked alone" if masked else "log-probability of the sentence"
    )
    perplexity = found["perplexity"]
    least, most = perplexity["interval"]
    return f"""### Grammar

On combinations that were never uttered: the good sentence of a pair is likelier than the bad one
({likelier}).

| | value | interval | pairs |
|---|---|---|---|
{chr(10).join(rows)}

{"Pseudo-perplexity" if masked else "Perplexity"} of plain sentences not uttered in training:
**{perplexity["value"]:.2f}** (interval {least:.2f} to {most:.2f}; {perplexity["n"]} sentences,
{perplexity["tokens"]:,} tokens).
"""


def _limits(masked: bool) -> str:
    return f"""## Limits

It knows only the facts it was taught and the words of its grammar; asked anything else it guesses among answers it
has met. Of facts that it was taught it gets some wrong, and part of what it read was false on purpose. It is for
demonstration and tests: no figure measured on it says anything about large models trained on natural text.{
        "" if masked else " It was never asked to write, and what it writes is not to be believed."
    }
"""
