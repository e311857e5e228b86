"""Edits of other edits: one made weaker or stronger, and several made one. No model is needed, only what they say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch

from ..edits import Edit, LowRank, Network, Patch, Place, Slot, Wishes, said
from ..errors import BadSetting, EditConflict

Where = tuple[str, int | None]  # the path of a map, and the number of a neuron; None: all of the map


def scaled(edit: Edit, by: float) -> Edit:
    """The edit `by` times as large; see `Edit.scaled`. Raises BadSetting, EditConflict.

    >>> import engram as eg
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> edit = eg.rewrite(eg.load(), wish, by=eg.Erasure(eg.NeuronSet.parse("L0.1")))
    >>> scaled(edit, 1) is edit, scaled(scaled(edit, 0.5), 0.5).settings["scaled"]
    (True, 0.25)
    """
    if not math.isfinite(by):
        raise BadSetting(f"an edit is scaled by a finite number, not {by}")
    if by == 1:
        return edit
    for one, other in combinations(edit.patches, 2):
        if _meet(_where(one, edit), _where(other, edit)):
            raise EditConflict(
                f"this edit ({edit.method}) changes {_said(_where(other, edit), other)} twice, the second time from "
                "what the first leaves: it cannot be scaled. Scale the first, and plan the second under it"
            )
    again = set(edit.settings) == {"scaled", "of"}  # some editors have a setting of their own that is called so
    of, before = (edit.settings["of"], edit.settings["scaled"]) if again else (dict(edit.settings), 1)
    settings = {"scaled": by * before, "of": of}
    return replace(edit, patches=tuple(_scaled(p, by) for p in edit.patches), settings=settings)


def _scaled(p: Patch, by: float) -> Patch:
    if isinstance(p, LowRank):
        return replace(p, values=p.values * np.float32(by))
    before, after = (x.astype(np.float64) for x in (p.before, p.after))
    rounded = torch.tensor(before + by * (after - before)).to(getattr(torch, p.dtype))  # numpy has no bfloat16
    kept = rounded.to(torch.float32) if p.dtype == "bfloat16" else rounded
    return replace(p, after=p.before if by == 0 else kept.numpy().astype(p.before.dtype))


def stacked(*edits: Edit) -> Edit:
    """Which one edit does what all of these do? They were planned on the same weights, not one under the other.

    Changes of low rank of one layer are added: their ranks stand one behind the other, and the sum is rounded once.
    What several edits change in the same way, to the last bit, is changed once. `wish` is all their wishes,
    `settings["edits"]` all their settings. Nothing is changed where two edits want the same place: raises EditConflict
    for a slot that becomes two things, for a slot in a layer that another edit changes as a whole, and for edits made
    from other weights or for other networks; BadSetting where there are none.

    >>> import engram as eg
    >>> model, wish = eg.load(), eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> one, other = (eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse(n))) for n in ("L0.1", "L0.1 L1.2"))
    >>> print(stacked(one, other).neurons)
    {L0.1, L1.2}
    """
    if not edits:
        raise BadSetting("stacked puts edits together, and was given none")
    if len(edits) == 1:
        return edits[0]
    network = _network(edits)
    for (i, first), (j, second) in combinations(enumerate(edits), 2):
        for p in first.patches:
            for q in second.patches:
                _check(p, q, (i, first), (j, second))
    told = [{"method": e.method, "wish": said(e.wish), "settings": dict(e.settings)} for e in edits]
    return Edit("stacked", _wishes(edits), _together(edits), edits[0].model, {"edits": told}, network)


def _together(edits: Sequence[Edit]) -> tuple[Patch, ...]:
    """Every patch once and in its order; what is of low rank of one map is one patch, where its first one stands."""
    found: dict[object, list[Patch]] = {}
    for n, edit in enumerate(edits):
        places = [_where(p, edit) for p in edit.patches]
        for k, (p, at) in enumerate(zip(edit.patches, places, strict=True)):
            parts = found.setdefault(at if places.count(at) == 1 else (n, k), [])
            if p not in parts:
                parts.append(p)
    return tuple(map(_added, found.values()))


def _added(parts: Sequence[Patch]) -> Patch:
    first, *others = parts
    if not others or not isinstance(first, LowRank):
        return first
    keys, values = (np.concatenate([getattr(p, name) for p in parts]) for name in ("keys", "values"))
    return replace(first, keys=keys, values=values)


def _check(p: Patch, q: Patch, first: tuple[int, Edit], second: tuple[int, Edit]) -> None:
    """Can both be done at once? Raises EditConflict."""
    (i, one), (j, other) = first, second
    here, there = _where(p, one), _where(q, other)
    if not _meet(here, there):
        return
    advice = "Plan the second under the first (`with holding(first, model):`), and hold both, under=(first, second)"
    if isinstance(p, Slot) and isinstance(q, Slot):
        if p.before.tobytes() != q.before.tobytes():
            why = "was planned on other weights, or under another edit, in one of them"
        elif p.after.tobytes() != q.after.tobytes():
            why = "is to become two different things"
        else:
            return
    elif isinstance(p, LowRank) and isinstance(q, LowRank):
        twice = any(sum(_where(x, e) == here for x in e.patches) > 1 for e in (one, other))
        if p.before == q.before and not twice:
            return
        why = "was planned on other weights, or under another edit, in one of them"
        advice = (
            f"If the second was planned under the first, hold both as they are, under=(first, second). Else: {advice}"
        )
    else:
        why = "is changed by one of them as a whole, and by the other in single value slots"
    raise EditConflict(
        f"edits {i} ({one.method} of {said(one.wish)}) and {j} ({other.method} of {said(other.wish)}) both change "
        f"{_said(there, q)}, which {why}. {advice}"
    )


def _meet(one: Where, other: Where) -> bool:
    return one[0] == other[0] and (None in (one[1], other[1]) or one[1] == other[1])


def _where(p: Patch, edit: Edit) -> Where:
    """Maps that share their weight are one place; without a network, so is a layer."""
    place = next((x for x in edit.network.places if x.layer == p.layer), None) if edit.network else None
    path = min((place.path, *place.tied)) if place else f"layer {p.layer}"
    return path, p.index if isinstance(p, Slot) else None


def _said(at: Where, p: Patch) -> str:
    return f"the value slot of {p.neuron}" if isinstance(p, Slot) and at[1] is not None else f"layer {p.layer}"


def _network(edits: Sequence[Edit]) -> Network | None:
    """The one network that all are for, with the places of all. Raises EditConflict."""
    first, *others = (e.network for e in edits)
    places = {x.layer: x for x in (first.places if first else ())}
    for i, other in enumerate(others, 1):
        if (first is None) != (other is None) or (first and other and not _same(first, other, places)):
            said_ = " and ".join(f"{e.model or 'another model'} ({e.network.kind if e.network else '?'})"
                                 for e in (edits[0], edits[i]))  # fmt: skip
            raise EditConflict(
                f"edits 0 and {i} were planned on different networks: {said_}. Plan both on the model that is to have "
                "them"
            )
        places |= {x.layer: x for x in (other.places if other else ())}
    return replace(first, places=tuple(places[i] for i in sorted(places))) if first else None


def _same(one: Network, other: Network, places: dict[int, Place]) -> bool:
    alike = (one.kind, one.library, one.asks) == (other.kind, other.library, other.asks)
    return alike and all(places.get(x.layer, x) == x for x in other.places)


def _wishes(edits: Sequence[Edit]) -> Wishes:
    def each() -> Iterator[Wishes]:
        for e in edits:
            yield from e.wish if isinstance(e.wish, tuple) else (e.wish,)

    return tuple(dict.fromkeys(each()))  # type: ignore[arg-type]
