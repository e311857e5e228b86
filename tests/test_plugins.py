"""Plug-ins of every kind: the example package, installed and used by name in fresh processes, and broken packages."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import textwrap
import warnings
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import engram as eg
from engram import registry
from engram.data import DataSet, data_sets
from engram.editors import Editor
from engram.editors.base import edited
from engram.errors import BrokenPlugin, UnknownName, UnsupportedModel
from engram.experiments import Attributions, Experiment
from engram.facts import FactSet
from engram.locators import Activation, Locator, Scores, locators
from engram.metrics import Flips, Metric, compare
from engram.models import family
from engram.registry import GROUPS, Registry, plugins
from engram.results import Answer
from engram.selectors import Selector, Top
from engram.testing import (
    ContractBroken,
    check_data_set,
    check_editor,
    check_experiment,
    check_locator,
    check_metric,
    check_selector,
    tiny,
)

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "engram_example"
DUBLIN = ("The capital of Ireland is [Y].", "--answer", "Dublin")


# -- the example package, installed


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder into which pip installs the example, as it would into an environment."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", folder, EXAMPLE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def fresh(site: Path, *arguments: str | Path, at: Path | None = None) -> str:
    """What a new process prints that has the packages of `site`."""
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, cwd=at, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass_where_it_is_installed(site, tmp_path):
    said = fresh(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, EXAMPLE / "tests", at=tmp_path)
    assert "failed" not in said
    assert int(said.split(" passed")[0].split()[-1]) >= 8


def test_what_is_installed_is_told_without_importing_any_of_it(site):
    code = """
        import sys
        from engram.registry import plugins
        for p in plugins():
            print(p.kind, p.name, p.distribution, p.version)
        print([m for m in sys.modules if m.split(".")[0] in ("engram_example", "torch")])
    """
    *told, imported = fresh(site, "-c", textwrap.dedent(code)).splitlines()
    found = [line.removesuffix(" engram-example 1.0") for line in told if line.endswith(" engram-example 1.0")]
    assert sorted(found) == [
        "data set moons", "editor swapped", "experiment consistency", "family home_made", "family starcoder2",
        "locator written", "metric halved", "selector mass",
    ]  # fmt: skip
    assert imported == "[]"


COMMANDS = [
    ("locate", *DUBLIN, "--method", "written", "--json"),
    ("run", "attribution", "--relation", "capital", "--limit", "2", "--method", "written", "--out", "a", "--json"),
    ("select", "a", "--by", "mass", "--set", "part=0.8", "--json"),
    ("edit", *DUBLIN, "-s", "Ireland", "--to", "Paris", "--by", "swapped", "--set", "times=1", "--json"),
    ("ask", *DUBLIN, "--suppress", "L3.187", "--metric", "halved part=0.9", "--metric", "flips", "--json"),
    ("data", "moons", "--json"),
    ("run", "consistency", "-r", "capital", "--limit", "3", "--set", "shard=2", "--out", "c", "--json"),
    ("verify", "c", "--json"),
    ("models", "--json"),
]
USED = """
import contextlib, io, json, sys
import engram as eg
from engram.cli import main
from engram.testing import tiny

said = []
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main()
    said.append(json.loads(out.getvalue()))
net, tokenizer = tiny("home_made")
net.save_pretrained("net"), tokenizer.save_pretrained("net")
(answer,) = eg.ask(eg.load(net, tokenizer), eg.Prompt("The capital of Ireland is [Y]", "Dublin"))
print(json.dumps([said, answer.logprob]))
"""


@pytest.fixture(scope="module")
def used(site, tmp_path_factory) -> tuple[Path, list, float]:
    """A folder in which all commands were done, what they said, and what a home-made network says that was kept there.

    One process for all, because most of the time goes into starting one.
    """
    folder = tmp_path_factory.mktemp("used")
    return folder, *json.loads(fresh(site, "-c", USED, json.dumps(COMMANDS), at=folder).splitlines()[-1])


def test_every_kind_is_found_by_name_on_the_command_line(used):
    folder, said, _ = used
    located, stored, selected, edited, asked, moons, run, verified, models = said
    assert located["settings"]["relative"] is False
    assert stored["complete"]
    assert selected["settings"] == {"by": "mass", "part": 0.8, "least": 0.2}
    assert all(fact["neurons"] for fact in selected["facts"])
    assert edited["edit"]["method"] == "swapped"
    halved, flips = asked["metrics"]
    assert (halved["name"], halved["unit"], halved["n"], flips["value"]) == ("halved", "fraction", 1, 0.0)
    assert halved["settings"] == {"name": "halved", "part": 0.9}
    before, after = (asked["answers"][0][when]["probability"] for when in ("before", "after"))
    assert halved["value"] == (after < 0.9 * before)
    assert (moons["name"], moons["facts"]) == ("moons", 18)
    assert (run["complete"], run["experiment"]) == (True, "consistency")
    assert (verified["complete"], verified["shards"], verified["rows"]) == (True, 2, 3)
    assert {"home_made", "starcoder2"} <= {f["family"] for f in models["families"]}
    assert (folder / "c" / "report" / "report.html").is_file()


def test_a_checkpoint_of_a_home_made_architecture_is_opened_by_its_path(site, used):
    folder, _, logprob = used
    code = """
        import engram as eg
        model = eg.load("net")
        (answer,) = eg.ask(model, eg.Prompt("The capital of Ireland is [Y]", "Dublin"))
        print(model.family.name, repr(answer.logprob))
    """
    assert fresh(site, "-c", textwrap.dedent(code), at=folder).split()[-2:] == ["home_made", repr(logprob)]


# -- plug-ins that are broken


BODY = """
from dataclasses import dataclass
from engram.locators import Locator, Scores, locators
"""
CLASS = """
class Mine(Locator):
    name = "mine"
    def score(self, model, batch):
        return Scores(())
"""
NO_METHOD = "@locators('mine')\n@dataclass(frozen=True)\nclass Mine(Locator):\n    name = 'mine'\n"
FROZEN = f"@locators('{{}}')\n@dataclass(frozen=True){CLASS}"
BROKEN = [
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    (BODY + FROZEN.format("mine") + "1 / 0", "ZeroDivisionError: division by zero"),  # when it has registered it
    (BODY, "it registers no locator of that name"),
    (BODY + FROZEN.format("other"), "calls itself 'mine'"),
    (BODY + FROZEN.format("ablation"), "two locators are called 'ablation': engram.locators.ablation.Ablation and"),
    (BODY + f"@locators('mine'){CLASS}", "is no frozen dataclass"),
    (BODY + f"@locators('mine')\n@dataclass{CLASS}", "is no frozen dataclass"),
    (BODY + f"@dataclass(frozen=True)\n@locators('mine'){CLASS}", "is no frozen dataclass"),
    (BODY + NO_METHOD, "lacks score"),
    (BODY + "@locators('mine')\nclass Mine:\n    pass\n", "is no subclass of engram.locators.Locator"),
]


@pytest.fixture
def plugged(monkeypatch, tmp_path):
    """Installs a module as a plug-in of this group, for the length of a test; locators and families are read anew."""
    installed: list[EntryPoint] = []
    locators.names()
    for name, value in (("_classes", dict(locators._classes)), ("_broken", {}), ("_read", False), ("_warned", False)):
        monkeypatch.setattr(locators, name, value)
    monkeypatch.setattr(registry, "entry_points", lambda **asked: EntryPoints(installed).select(**asked))
    monkeypatch.syspath_prepend(tmp_path)
    family.read.cache_clear()

    def install(source: str, *, group="engram.locators", name="mine", module="my_plug_in") -> None:
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        info = tmp_path / "my_package-2.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 2.5\n", encoding="utf-8")
        with (info / "entry_points.txt").open("a", encoding="utf-8") as file:
            file.write(f"[{group}]\n{name} = {module}\n")
        from importlib.metadata import PathDistribution

        installed[:] = list(PathDistribution(info).entry_points)

    yield install
    family.read.cache_clear()
    for module in [m for m in sys.modules if m.startswith("my_plug_in")]:
        del sys.modules[module]


@pytest.mark.parametrize(("source", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_a_broken_plug_in_names_its_package_and_its_entry_point_and_is_in_nobodys_way(plugged, source, why):
    plugged(source)
    assert locators["ablation"] is eg.Ablation
    with pytest.raises(BrokenPlugin) as caught:
        _ = locators["mine"]
    whose = "The plug-in 'mine' of my-package 2.5 (engram.locators: mine = my_plug_in) cannot be used: "
    assert str(caught.value).startswith(whose)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="my-package 2.5") as told:
        assert locators.names() == ["ablation", "activation", "gradient_times_activation", "integrated_gradients"]
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is warned of once
        locators.names()
    with pytest.raises(UnknownName, match=r"There is no locator called 'your'.*my-package 2.5"):
        _ = locators["your"]
    assert "mine" in locators
    assert [str(e) for e in locators.broken()] == [str(caught.value)]


def test_a_plug_in_that_is_whole_is_found_and_nothing_is_warned_of(plugged):
    plugged(BODY + FROZEN.format("mine"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "mine" in locators.names()
    assert locators["mine"].__module__ == "my_plug_in"


def test_two_plug_ins_of_one_name_are_told_apart(plugged):
    plugged(BODY + FROZEN.format("mine"))
    plugged(BODY + FROZEN.format("mine").replace("class Mine", "class Yours"), module="my_plug_in_too")
    with pytest.raises(BrokenPlugin, match=r"mine = my_plug_in_too\).*two locators.*my_plug_in.Mine and"):
        _ = locators["mine"]


def test_an_entry_point_that_is_misspelt_takes_nothing_from_others_of_its_module(plugged):
    plugged(BODY + FROZEN.format("mine"), name="meine")
    plugged(BODY + FROZEN.format("mine"))
    with pytest.raises(BrokenPlugin, match="it registers no locator of that name"):
        _ = locators["meine"]
    assert locators["mine"].__module__ == "my_plug_in"


def test_who_asks_in_another_thread_while_plug_ins_are_read_hears_of_all(plugged):
    asks = "import threading\nseen = []\nother = threading.Thread(target=lambda: seen.extend(locators.names()))\n"
    plugged(BODY + asks + "other.start()\nother.join(0.3)\n" + FROZEN.format("mine"))
    assert "mine" in locators
    own = sys.modules["my_plug_in"]
    own.other.join(20)
    assert "mine" in own.seen


def test_a_plug_in_with_a_name_of_engrams_own_does_not_take_its_place(plugged):
    plugged(BODY, name="ablation")
    with pytest.raises(BrokenPlugin, match=r"'ablation' of my-package 2.5.*of that name in engram.locators.ablation"):
        _ = locators["ablation"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "has no table FAMILY"),
        ("FAMILY = 3", "has no table FAMILY"),
        ("from engram.models.family import Family\nFAMILY = Family('yours', ('mine',), 'next', (), '')", "'yours'"),
        ("from engram.models.family import Family\nFAMILY = Family('mine', ('bert',), 'next', (), '')", "family bert"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_broken_family_is_named_where_no_family_serves_a_model(plugged, source, why):
    plugged(source, group="engram.families")
    assert family.family_of(type("C", (), {"model_type": "bert"})).name == "bert"
    with pytest.raises(UnsupportedModel, match=rf"'mine' of my-package 2.5 \(engram.families: mine = .*{why}"):
        family.family_of(type("C", (), {"model_type": "mine"}))
    with pytest.warns(UserWarning, match="my-package 2.5"):
        family.families()


def test_a_group_that_nobody_reads_is_told(plugged):
    plugged("", group="engram.locator")
    (one,) = plugins()
    assert (one.kind, one.group, one.name, one.distribution, one.version) == (
        None, "engram.locator", "mine", "my-package", "2.5",
    )  # fmt: skip


def test_every_registry_is_a_group():
    found = {
        (value.package, value.kind)
        for name, module in list(sys.modules.items())
        if name.startswith("engram.") and not name.startswith("engram.web")
        for value in vars(module).values()
        if isinstance(value, Registry)
    }
    assert found <= set(GROUPS.items())
    assert (family.GROUP, "family") in GROUPS.items()


# -- metrics


def answers(*rows: tuple[float, str]) -> list[Answer]:
    prompts = [eg.Prompt(f"Number {i} is [Y].", "so", fact=eg.Fact(str(i), "r", "so")) for i in range(len(rows))]
    return [
        Answer(p, ("so",), lp, 1, ((word, 0.5),) if word else ()) for p, (lp, word) in zip(prompts, rows, strict=True)
    ]


def test_a_metric_is_the_mean_over_prompts_that_have_it_with_an_interval_over_facts():
    before = answers((-1.0, "so"), (-1.0, "so"), (-1.0, "so"), (-1.0, ""))
    after = answers((-1.0, "so"), (-1.0, "no"), (-1.0, "no"), (-1.0, "no"))
    report = compare(before, after, metrics=["flips"])
    score = report["flips"]
    assert (score.value, score.n, score.unit) == (pytest.approx(2 / 3), 3, "fraction")
    assert report.settings["metrics"] == [{"name": "flips"}]
    assert "metrics" not in compare(before, after).settings
    again = compare(before[:3], after[:3], metrics=[Flips()])["flips"]
    low, high = again.interval
    assert low < again.value < high


def test_a_metric_that_no_prompt_has_is_left_out_and_said():
    some = answers((-1.0, ""), (-1.0, ""))
    report = compare(some, some, metrics=["flips"])
    assert "flips" not in [s.name for s in report.scores]
    assert "flips: left out, no prompt has such a number" in report.notes


def test_metrics_that_are_unknown_or_asked_for_twice_are_refused():
    some = answers((-1.0, "so"))
    with pytest.raises(UnknownName, match=r"no metric called 'flip'. Did you mean flips"):
        compare(some, some, metrics=["flip"])
    with pytest.raises(eg.errors.BadSetting, match="'flips' is asked for twice"):
        compare(some, some, metrics=["flips", Flips()])
    with pytest.raises(eg.errors.BadSetting, match="not int"):
        compare(some, some, metrics=[3])
    with pytest.raises(eg.errors.BadSetting, match="every report has a score called 'p before'"):
        compare(some, some, metrics=[Taken()])


@dataclass(frozen=True)
class Taken(Metric):
    name: ClassVar[str] = "p before"
    unit: ClassVar[str] = "probability"

    def of(self, before: Answer, after: Answer) -> float:
        return 0.0


# -- the checks of engram.testing


@dataclass(frozen=True)
class Loud(Locator):
    """A locator that can be wrong in several ways."""

    name: ClassVar[str] = "loud"
    how: str = ""

    def score(self, model, batch):
        rows = [torch.ones(len(batch), width) for width in model.widths]
        if self.how == "infinite":
            rows[0][0, 0] = torch.inf
        if self.how == "random":
            rows[0][0, 0] = torch.rand(())
        if self.how == "rows":
            rows[0] *= len(batch)
        if self.how == "weights":
            model.layers[0].down.weight[0, 0] += 1
        return Scores(tuple(rows[1:] if self.how == "layer" else rows))


@pytest.mark.parametrize(
    ("how", "breach"),
    [
        ("infinite", "one finite score': a score of .* is not finite"),
        ("layer", "one finite score': ValueError: a locator gives a tensor"),
        ("random", "the same prompts get the same scores"),
        ("rows", "prompts do not see each other"),
        ("weights", "as it was': the weight transformer.h.0.mlp.c_proj.weight is not what it was"),
    ],
)
def test_a_locator_that_breaks_a_promise_is_noticed(how, breach):
    check_locator(Loud())
    with pytest.raises(ContractBroken, match=f"the locator loud breaks .*{breach}"):
        check_locator(Loud(how))


@dataclass(frozen=True)
class Odd(Selector):
    how: str = ""

    def select(self, scores):
        if self.how == "changes":
            scores[0].scores[0, 0] += 1
        return eg.NeuronSet.parse({"padding": "L1.6", "layers": "L2.0"}.get(self.how, "L1.4"))


@pytest.mark.parametrize(
    ("how", "breach"), [("padding", "L1.6 is not in"), ("layers", "L2.0 is not"), ("changes", "scores were changed")]
)
def test_a_selector_that_breaks_a_promise_is_noticed(how, breach):
    check_selector(Odd())
    with pytest.raises(ContractBroken, match=f"the selector Odd breaks .*{breach}"):
        check_selector(Odd(how))


@dataclass(frozen=True)
class Idle(Editor):
    name: ClassVar[str] = "idle"
    how: str = ""

    def plan(self, model, wish, prompt=None):
        if self.how == "writes":
            model.layers[0].down.weight.data += 1
        factor = 1.0 if self.how == "nothing" else float(torch.rand(())) if self.how == "random" else 0.5
        named = replace(self, how="") if self.how != "name" else Named()
        return edited(named, model, wish, eg.NeuronSet.parse("L2.1"), lambda _, slot: factor * slot)


@dataclass(frozen=True)
class Named(Idle):
    name: ClassVar[str] = "other"


@pytest.mark.parametrize(
    ("how", "breach"),
    [
        ("writes", "planning changes nothing"),
        ("random", "the same wish gives the same edit"),
        ("name", "by 'other', not by 'idle'"),
        ("nothing", "to the last bit what it was"),
    ],
)
def test_an_editor_that_breaks_a_promise_is_noticed(how, breach):
    check_editor(Idle())
    with pytest.raises(ContractBroken, match=f"the editor idle breaks .*{breach}"):
        check_editor(Idle(how))


@dataclass(frozen=True)
class Counted(Metric):
    name: ClassVar[str] = "counted"
    unit: ClassVar[str] = "prompts"
    gives: object = 1.0

    def of(self, before, after):
        return self.gives


@dataclass(frozen=True)
class Bare(Counted):
    unit: ClassVar[str] = ""


def test_a_metric_that_breaks_a_promise_is_noticed():
    check_metric(Counted())
    check_metric(Counted(float("inf")))
    with pytest.raises(ContractBroken, match=r"the metric counted breaks .*is to give a float"):
        check_metric(Counted("much"))
    with pytest.raises(ContractBroken, match="it has no unit"):
        check_metric(Bare())
    with pytest.raises(ContractBroken, match="sent elsewhere': its dataclass is not frozen"):
        check_metric(Open())


@dataclass
class Open(Metric):
    name: ClassVar[str] = "open"
    unit: ClassVar[str] = "prompts"

    def of(self, before, after):
        return 1.0


@dataclass(frozen=True)
class Few(DataSet):
    """Facts of one's own."""

    origin: ClassVar[str] = "here"
    licence: ClassVar[str] = "CC0"
    layout: ClassVar[str] = "nothing"
    how: str = ""

    @classmethod
    def fits(cls, folder):
        return False

    def read(self):
        relation = eg.Relation("r", "r", () if self.how == "mute" else ("[X] is [Y].",))
        subject = str(next(NUMBERS)) if self.how == "random" else "x"
        facts = () if self.how == "empty" else (relation.fact(subject, "y"),)
        return FactSet("few", (relation,), {"r": facts}, source="here")


NUMBERS = itertools.count()


@pytest.mark.parametrize(
    ("how", "breach"),
    [("empty", "has no facts"), ("mute", "neither a template nor a sentence"), ("random", "read the same again")],
)
def test_a_data_set_that_breaks_a_promise_is_noticed(how, breach):
    check_data_set(Few())
    with pytest.raises(ContractBroken, match=f"the data set Few breaks .*{breach}"):
        check_data_set(Few(how=how))


@dataclass(frozen=True)
class Rolled(Experiment):
    name: ClassVar[str] = "rolled"
    columns: ClassVar = {"rolled": "real"}
    how: str = ""

    def cases(self, facts):
        return [{"fact": (i,) if self.how == "cases" else i} for i in range(2)]

    def run(self, model, facts, case, *, progress=None):
        value = float(next(NUMBERS)) if self.how == "random" else 1.0
        return {"rows": [{"rolled": "one" if self.how == "columns" else value}], "skipped": []}

    def settings(self):
        return {"how": {1, 2} if self.how == "settings" else self.how}

    def summary(self, results):
        n = sum(len(result["rows"]) for result in results)
        value = float(next(NUMBERS)) if self.how == "summary" else 1.0
        return eg.Report("rolled", (eg.Score("value", value, n, "rows"),), self.settings())


@pytest.mark.parametrize(
    ("how", "breach"),
    [
        ("cases", "journey through JSON"),
        ("settings", "plain values': TypeError"),
        ("random", "the same file"),
        ("columns", "the same file': ValueError"),
        ("summary", "says what it says': its run says rolled"),
    ],
)
def test_an_experiment_that_breaks_a_promise_is_noticed(how, breach):
    model, facts = eg.load(*tiny("gpt2")), Few().read()
    check_experiment(Rolled(), model, facts)
    with pytest.raises(ContractBroken, match=f"the experiment rolled breaks .*{breach}"):
        check_experiment(Rolled(how), model, facts)


def test_those_that_come_with_engram_keep_their_promises():
    check_locator(eg.IntegratedGradients(rule="gauss"), eg.load(*tiny("bert")))
    check_selector(Top(3))
    check_selector(eg.Shared())
    check_editor(eg.FineTuning(layer=1))
    check_data_set(data_sets["shipped"]())
    check_experiment(Attributions(Activation(), limit=2), eg.load(), eg.data.shipped().only(["capital"]))
