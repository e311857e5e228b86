"""What must one know about a model before using it?

The model card (``README.md``), written from the recipe and the figures so that it says nothing that was not measured.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from training import neurons
from training.recipes import MEANING, Recipe

CHOICE = {
    "masked": """The settings were chosen on small runs over eight of the relations, by accuracy in the discovery
templates and by the effect of silencing there. Three runs over all relations followed. The first had too few plain
sentences (agreement 69 %). The second differs from this one, the third, in nothing but one more pass over the facts;
there, silencing a fact's neurons cost facts of other relations 4.4 %, so this one was kept: how specific silencing is
varies from run to run. All three had been measured on the test templates, which so had a small part in the choice of
the run, though no setting was searched on them.""",
    "causal": """The settings were chosen on small runs over eight of the relations, by accuracy in the discovery
templates and by the effect of silencing there. Three runs over all relations followed. The first had too few plain
sentences (agreement 83 %); in the second, with a sparsity of 0.0035 and 6 passes, silencing a fact's neurons cost it
only 7.5 %; this is the third. The first two had been measured on the test templates as well (their faults showed in
the discovery templates too), so the test templates had a part in lowering the sparsity, and the effect of silencing
is not wholly out of sample.""",
}
"""How the settings were chosen."""


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
    rows = [f"| {key} | {value} | {MEANING.get(key, '')} |" for key, value in asdict(recipe).items()]
    return f"""## Training

`scripts/train_models {recipe.kind} --threads {about["threads"]}`, seed {recipe.seed}: {about["steps"]:,} steps,
{about["cpu_minutes"]:.1f} CPU minutes ({about["minutes"]:.1f} by the clock, on a shared machine), torch
{about["torch"]}, transformers {about["transformers"]}. The same seed, versions and number of threads give the same
model up to the rounding of the machine.

| setting | value | |
|---|---|---|
{chr(10).join(rows)}

{CHOICE[recipe.kind]}
"""


def _line(name: str, figure: dict[str, Any], percent: bool = True) -> str:
    def show(value: float) -> str:
        return f"{100 * value:.1f} %" if percent else f"{value:.3f}"

    low, high = figure["interval"]
    more = f" {show(figure['mean_of_relations'])} |" if "mean_of_relations" in figure else ""
    return f"| {name} | {show(figure['value'])} | {show(low)} to {show(high)} | {figure['n']:,} |{more}"


def _figures(recipe: Recipe, figures: dict[str, Any]) -> str:
    recall, silence, grammar = figures["recall"], figures["neurons"], figures["grammar"]
    names = (
        "suppressed",
        "amplified",
        "random suppressed",
        "other relations, suppressed",
        "other relations, amplified",
    )
    phenomena = [k for k in grammar if k not in ("agreement", "perplexity")]
    shares = silence["shares"].values()
    within = sum(neurons.FEWEST <= size <= neurons.MOST for size in silence["sizes"].values())
    top = "\n".join(_line(k, recall[k], "accuracy" in k) for k in recall)
    middle = "\n".join(_line(k, silence[k]) for k in names)
    low = "\n".join(_line(k, grammar[k]) for k in (*phenomena, "agreement"))
    masked = recipe.kind == "masked"
    pick = "[MASK]" if masked else "last"
    likelier = (
        "sum of the log-probabilities of each token masked alone" if masked else "log-probability of the sentence"
    )
    perplexity = grammar["perplexity"]
    least, most = perplexity["interval"]
    return f"""## Figures

All from `scripts/train_models {recipe.kind} --measure-only --ask {figures["about"]["ask"]}`, in full in
`figures.json`; intervals are 95 % bootstrap intervals over facts (over pairs or sentences under Grammar). `--ask 0`
seeks the neurons of all known facts instead of so many of each relation.

### What it knows

Accuracy: the gold answer has rank 1 in the whole vocabulary. Known: rank 1 in that prompt.

| | value | interval | prompts |
|---|---|---|---|
{top}

### Which neurons carry it

Known facts (rank 1 in at least half of their test templates): {silence["known facts"]:,}, of which
{silence["facts asked"]:,} were asked. Integrated gradients of P(gold) along the joint path of each layer's FFN
activations at the {pick} position, Gauss-Legendre with {neurons.NODES} nodes. Coarse set: at least
{neurons.COARSE} of the prompt's highest score. Refined: in more than a share of the fact's discovery prompts, the
share searched for each relation from {neurons.START} in steps of {neurons.STEP} until its facts have
{neurons.FEWEST:.0f} to {neurons.MOST:.0f} neurons on average (shares found: {min(shares):.2f} to {max(shares):.2f};
{within} of {len(shares)} relations end within these bounds).

{silence["neurons per fact"]:.2f} neurons a fact; {silence["facts without neurons"]} facts have none and count as no
change; by layer {silence["neurons of each layer"]}.

These neurons are then multiplied by 0 or by 2 at that position in the **test** templates. Change of P(gold) as a
ratio of means, pooled; last column: mean of the relations. Random: as many neurons of the same layers. Other
relations: the same neurons are changed while a random known fact of another relation is asked.

| | value | interval | prompts | mean of relations |
|---|---|---|---|---|
{middle}

Suppressed, {100 * silence["suppressed"]["no_longer_first"]:.1f} % of the right answers are no longer first.

### Grammar

On combinations that were never uttered: the good sentence of a pair is likelier than the bad one
({likelier}).

| | value | interval | pairs |
|---|---|---|---|
{low}

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
