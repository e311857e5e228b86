"""Train the two shipped models, measure them, and write their cards: ``scripts/train_models --help``."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.logging import RichHandler
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from engram import data
from engram.facts import BLANK, FactSet
from engram.models import load
from training import measure, recipes, sentences, tokenizer
from training.card import card
from training.recipes import Recipe
from training.train import Teacher, lessons, train

MODELS = Path(__file__).resolve().parents[2] / "src" / "engram" / "models" / "shipped"
SAMPLE = 20_000
log = logging.getLogger("training")


def make(recipe: Recipe, facts: FactSet, folder: Path) -> dict[str, Any]:
    """Train a model by ``recipe``, save it as float16 in ``folder``, and return what its card must say."""
    torch.manual_seed(recipe.seed)
    words = make_tokenizer(recipe, facts, folder)
    net = recipes.network(recipe, words)
    teacher = Teacher(recipe, words, facts)
    log.info("%s: %d parameters, %d steps", recipe.kind, net.num_parameters(), teacher.steps)
    start, busy = time.monotonic(), time.process_time()
    train(recipe, net, teacher)
    about = {
        "parameters": net.num_parameters(),
        "vocabulary": len(words),
        "relations": len(facts.relations),
        "facts": len(facts),
        "templates": sum(len(relation.templates) for relation in facts.relations),
        "steps": teacher.steps,
        "heard": teacher.heard,
        "minutes": (time.monotonic() - start) / 60,
        "cpu_minutes": (time.process_time() - busy) / 60,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    net.half().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    return about


def make_tokenizer(recipe: Recipe, facts: FactSet, folder: Path) -> PreTrainedTokenizerBase:
    """Train the tokenizer on the taught sentences and a sample of the plain ones, and save it."""
    plain = list(itertools.islice(sentences.plain(recipe.seed), SAMPLE))
    taught = [prompt.text.replace(BLANK, prompt.answer) for prompt in lessons(facts)]
    answers = {fact.answer for fact in facts}
    if recipe.kind == "causal":
        return tokenizer.save(tokenizer.byte_pairs(taught + plain, answers, recipe.vocabulary), folder)
    common = {word for text in plain for word in re.findall(r"[A-Za-z]+", text)}
    return tokenizer.save(tokenizer.wordpiece(taught + plain, answers | common, recipe.vocabulary), folder)


def examine(recipe: Recipe, facts: FactSet, folder: Path, about: dict[str, Any], ask: int) -> None:
    """Measure the saved model; write ``figures.json`` and the card."""
    model = load(folder)
    log.info("%s: what it knows", recipe.kind)
    figures: dict[str, Any] = {"about": about | {"ask": ask}, "recall": measure.recall(model, facts)}
    log.info("%s: which neurons carry it", recipe.kind)
    figures["neurons"] = measure.silence(model, facts, measure.experiment(ask))
    log.info("%s: grammar", recipe.kind)
    heard = frozenset(itertools.islice(sentences.plain(recipe.seed), int(about["heard"])))
    figures["grammar"] = measure.grammar(model, heard)
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_card(recipe, folder)
    for name, figure in (figures["recall"] | figures["neurons"] | figures["grammar"]).items():
        if isinstance(figure, dict) and "interval" in figure:
            log.info("%s: %s %s %s", recipe.kind, name, figure["value"], figure["interval"])


def write_card(recipe: Recipe, folder: Path) -> None:
    """Write the card from the figures that are in the folder."""
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    if figures["neurons"].get("settings") != measure.experiment(figures["about"]["ask"]).settings():
        raise SystemExit(f"{folder / 'figures.json'} was measured in another way: measure again with --measure-only")
    (folder / "README.md").write_text(card(recipe, figures, figures["about"]), encoding="utf-8")


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="scripts/train_models", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="masked|causal", help="which models; both if none is named")
    parser.add_argument("--facts", type=Path, help="folder of the facts; without it, those shipped with engram")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder of the models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure-only", action="store_true", help="measure the models that are there")
    parser.add_argument("--cards-only", action="store_true", help="write the cards again from their figures.json")
    parser.add_argument(
        "--ask", type=int, default=0, help="facts drawn of each relation, of which the known are tried; 0: all"
    )
    asked = parser.parse_args()
    if unknown := set(asked.models) - {"masked", "causal"}:
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are masked and causal")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(asked.threads)
    facts = data.shipped(asked.facts)
    for recipe in (recipes.MASKED, recipes.CAUSAL):
        if asked.models and recipe.kind not in asked.models:
            continue
        folder = asked.out / recipe.kind
        if asked.cards_only:
            write_card(recipe, folder)
            continue
        if asked.measure_only:
            about = json.loads((folder / "figures.json").read_text(encoding="utf-8"))["about"]
        else:
            about = make(recipe, facts, folder)
        examine(recipe, facts, folder, about, asked.ask)


if __name__ == "__main__":
    main()
