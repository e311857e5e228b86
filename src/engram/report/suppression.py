"""What `Suppression` found, as pictures, tables and pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..metrics import RelationChanges
from ..neurons import Neuron
from ..results import Report, Score
from . import pictures
from .aims import verdicts
from .canvas import svg
from .page import Folded, Items, Page, Picture, Section
from .pictures import Effect
from .tables import Table, flat, percent, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LISTED = 2000  # facts; a page with more of them would not open


@dataclass(frozen=True)
class Outcome:
    """The results of every relation, what they say on the whole and for each relation, and what it was made with.

    `results` are the experiment's plain values; `conditions` says in words what each condition is, `names` what each
    relation is called; `about` holds what else is to be recorded: model, data, versions.

    >>> outcome = Outcome((), Report("suppression", (Score("suppressed", -0.4, 40, "ratio of means"),)), {})
    >>> outcome.document()["title"]
    'suppression'
    """

    results: Sequence[Mapping[str, Any]]
    report: Report
    relations: Mapping[str, RelationChanges]
    conditions: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """All but the results, as plain values."""
        relations = {
            condition: {
                "mean": _plain(c.mean),
                "relations": [
                    {"relation": r.relation, **_plain(r.change), "facts": r.facts, "p": r.p, "q": r.q} for r in c.rows
                ],
                "left_out": list(c.left_out),
            }
            for condition, c in self.relations.items()
        }
        said = self.report.to_dict()
        return {**said, "relations": relations, "conditions": dict(self.conditions), "about": dict(self.about)}

    @property
    def counts(self) -> str:
        """How many facts were drawn, and how many of them were left out, and why."""
        drawn, askable = (sum(r[key] for r in self.results) for key in ("drawn", "askable"))
        known = [r["known"] for r in self.results if r["known"] is not None]
        said = f"{drawn:,} facts were drawn; {askable:,} of them can be asked of this model"
        if known:
            said += f", and {sum(known):,} are known to it (its first word in at least half of their discovery prompts)"
        return f"{said}; {self.report['facts'].n:,} were tried."

    @property
    def effects(self) -> list[Effect]:
        """The conditions that were tried, in order."""
        return [
            Effect(
                condition, self.report[f"{condition}: P(answer) before"], self.report[f"{condition}: P(answer) after"],
                self.report[condition], {r.relation: r.change for r in c.rows}, sum(r.facts for r in c.rows),
            )
            for condition, c in self.relations.items()
        ]  # fmt: skip

    def pictures(self) -> dict[str, Figure]:
        """By name, those that there is something to draw for."""
        effects = {e.condition: e for e in self.effects}
        drawn = {"conditions": pictures.conditions(list(effects.values()), self.conditions)} if effects else {}
        pairs = [("suppressed", "chance suppressed"), ("amplified", "chance amplified")]
        if all(c in effects for pair in pairs for c in pair):
            own, loud = ((effects[a], effects[b]) for a, b in pairs)
            drawn["relations"] = pictures.by_relation(own, loud, self.names)
        carried = {
            r["relation"]: [[Neuron.parse(n) for n in row["neurons"]] for row in _of(r, "suppressed")]
            for r in self.results
            if r["rows"]
        }
        if any(own for facts in carried.values() for own in facts):
            drawn["layers"] = pictures.layers(carried, max(len(r["widths"]) for r in self.results))
            drawn["neurons"] = pictures.carriers(carried, self.names)
        return drawn

    def page(self, drawn: Mapping[str, Figure], *, title: str, under: str, before: Sequence[Section] = ()) -> Page:
        """One page of it all, behind other sections if there are any."""
        return Page(title, under, [*before, *self.sections({name: [Picture(svg(f))] for name, f in drawn.items()})])

    def sections(self, drawn: Mapping[str, Sequence[Picture]]) -> Iterator[Section]:
        """What there is to say, around pictures under the names of `pictures`."""
        found = verdicts(self.report.scores)
        facts, neurons = self.report["facts"], self.report["neurons per fact"]
        without = self.report["facts without a neuron"]
        yield Section(
            "What one sees",
            (
                f"{facts.n:,} facts were asked in templates that had no part in finding their neurons, once as the "
                "model is, then with those neurons silent or amplified. A neuron is one input of the second linear "
                "map of a layer's FFN; a fact's neurons are those that score high in most of its other prompts. "
                "They are changed at the position of the blank only.",
                Items([str(v) for v in found], [v.kind for v in found]),
                "An aim is met if the number and its whole 95 % interval lie where they should, not met if the number "
                "does not, and open if only the interval reaches out.",
                *drawn.get("conditions", ()),
                self._conditions(),
                *self._points(),
                f"A fact has {neurons.value:.2f} neurons on average; {100 * without.value:.1f} % of the facts have "
                "none, and count as unchanged.",
            ),
        )
        if "relations" in drawn:
            yield Section("Each relation", (*drawn["relations"], self._relations()))
        if "layers" in drawn:
            yield Section("The neurons", (*drawn["layers"], *drawn["neurons"], *self._facts()))
        yield Section("Left out, and settings", tuple(self._rest()))

    def _conditions(self) -> Table:
        def row(e: Effect) -> list[str]:
            p, right = (
                [self.report[f"{e.condition}: {what} {when}"].value for when in ("before", "after")]
                for what in ("P(answer)", "accuracy")
            )
            return [
                f"{e.condition}\n{self.conditions.get(e.condition, '')}", f"{p[0]:.3f} → {p[1]:.3f}",
                f"{100 * right[0]:.1f} → {100 * right[1]:.1f}", percent(e.change),
                percent(self.relations[e.condition].mean), f"{e.change.n:,}", f"{e.facts:,}",
            ]  # fmt: skip

        columns = (
            "condition", "P(answer) #", "answered first (%) #", "change of P (%) #", "its mean over relations (%) #",
            "prompts #", "facts #",
        )  # fmt: skip
        caption = (
            "P(answer), and how often it is the model's first word, before → after. In brackets: 95 % intervals, facts "
            "resampled; the mean over relations has one where every relation has two facts or more"
        )
        return Table(caption, columns, [row(e) for e in self.effects])

    def _points(self) -> Iterator[Table]:
        """The changes in probability, where the run was to tell them."""
        known = {s.name: s for s in self.report.scores}
        rows = []
        for e in self.effects:
            name = f"{e.condition}: absolute change"
            pooled, mean = known.get(name), known.get(f"{name}, mean over relations")
            if pooled is not None and mean is not None:
                rows.append([e.condition, percent(pooled), percent(mean), f"{pooled.n:,}", f"{e.facts:,}"])
        if rows:
            columns = ("condition", "change of P (points) #", "its mean over relations (points) #", "prompts #",
                       "facts #")  # fmt: skip
            yield Table("The same in points: P after − P before, as Wen & Bai (2022) report it", columns, rows)

    def _relations(self) -> Table:
        of = {c: {r.relation: r for r in changes.rows} for c, changes in self.relations.items()}
        every = ("suppressed", "baseline suppressed", "chance suppressed", "amplified", "chance amplified")
        shown = [c for c in every if c in of]
        rows = []
        for r in self.results:
            if not r["rows"]:
                continue
            own = of.get("suppressed", {}).get(r["relation"])
            sizes = [len(row["neurons"]) for row in _of(r, "suppressed")]
            changes = [of[c].get(r["relation"]) for c in shown]
            rows.append(
                [
                    self._name(r["relation"]), f"{len(sizes)} of {r['drawn']}", f"{sum(sizes) / len(sizes):.1f}",
                    r["shares"]["attribution"]["share"], *(percent(x.change) if x else "–" for x in changes),
                    _small(own.q) if own else "–",
                ]
            )  # fmt: skip
        columns = ("relation", "facts #", "neurons #", "share #", *(f"{c} (%) #" for c in shown), "q #")
        caption = (
            "Change of P(answer) by relation. Neurons: per fact, on average. Share: of the discovery prompts, which "
            "must agree on a neuron. q: of the suppression, by a paired test (sign flips over facts), "
            "Benjamini-Hochberg over relations"
        )
        return Table(caption, columns, rows)

    def _facts(self) -> Iterator[str | Folded]:
        total = sum(len(_of(r, "suppressed")) for r in self.results)
        if total > _LISTED:
            yield f"The {total:,} facts are too many for a page; they stand in results.json, each with its neurons."
            return
        rows = []
        for r in self.results:
            for own, loud in zip(_of(r, "suppressed"), _of(r, "amplified"), strict=True):
                p = [sum(x) / len(x) for x in (own["before"], own["after"], loud["after"])]
                change = signed(100 * (p[1] / p[0] - 1)) if p[0] > 0 else "–"
                rows.append(
                    [self._name(r["relation"]), own["subject"], own["answer"], " ".join(own["neurons"]) or "none",
                     *(f"{x:.3f}" for x in p), change]
                )  # fmt: skip
        columns = (
            "relation",
            "subject",
            "answer",
            "neurons",
            "P before #",
            "suppressed #",
            "amplified #",
            "change suppressed (%) #",
        )
        table = Table("P(answer), mean over the fact's test prompts. L3.17 is neuron 17 of layer 3", columns, rows)
        yield Folded(f"All {total:,} facts and their neurons", (table,))

    def _rest(self) -> Iterator[str | Items | Folded | Table]:
        yield self.counts
        if self.report.notes:
            yield Items(self.report.notes)
        skipped = [(self._name(r["relation"]), x["fact"], x["reason"]) for r in self.results for x in r["skipped"]]
        if skipped:
            table = Table("Not tried", ("relation", "fact", "reason"), skipped[:_LISTED])
            yield Folded(f"Left out, with reasons: {len(skipped):,}", (table,))
        settings = list(flat(self.report.settings))
        yield Table("Settings of the experiment", ("setting", "value"), settings)
        yield Table("Made with", ("what", "which"), [(k, str(v)) for k, v in self.about.items()])

    def _name(self, relation: str) -> str:
        return self.names.get(relation, relation)


def _of(result: Mapping[str, Any], condition: str) -> list[Mapping[str, Any]]:
    """What was said under one condition, fact by fact."""
    return [row for row in result["rows"] if row["condition"] == condition]


def _small(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _plain(score: Score) -> dict[str, Any]:
    return asdict(score)
