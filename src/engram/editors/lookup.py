"""Where a fact is looked up, behind several openings: the rows of its sentence, and a token in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import BadSetting, UnknownName
from ..facts import Prompt
from ..models import Model, hooks
from ..models.batching import by_shape, rows_within
from ..models.questions import Batch, Row
from ..models.spans import span_of

TOKENS = ("subject", "subject_first", "asked")
Token = str | int  # one of TOKENS, or the number of a token of the prompt's own row


@dataclass(frozen=True, slots=True)
class Lookup:
    """One row that asks for the answer's `nth` token, the token in it that is looked up, and how much it counts."""

    row: Row
    at: int
    nth: int = 0
    weight: float = 1.0


def known(token: Token) -> None:
    """Is this a token that can be looked up? Raises BadSetting, UnknownName."""
    if isinstance(token, str):
        if token not in TOKENS:
            raise UnknownName("token to look up", token, TOKENS)
    elif isinstance(token, bool) or not isinstance(token, int) or token < 0:
        raise BadSetting(f"token is {', '.join(TOKENS)}, or a token's number in the prompt from 0 up, not {token!r}")


def lookups(
    model: Model, prompt: Prompt, subject: str, openings: Sequence[str], token: Token = "subject", layer: int = 0
) -> list[Lookup]:
    """The prompt's rows by itself and behind each opening: first the prompt's own, in the order of its answer's tokens.

    Each opening counts the same, and so does each token of the answer. What is looked up is where the first token of
    the answer is asked: the subject's last token ("subject") or its first ("subject_first"), the position at which the
    answer is told ("asked": a causal prompt's last token, a mask), or the token with this number in the prompt's own
    row, and the same one behind an opening. Raises UnaskablePrompt, NoSubject, BadSetting.
    """
    found: list[Lookup] = []
    for opening in ("", *openings):
        text = f"{opening}. " if opening else ""
        longer = replace(prompt, text=text + prompt.text)
        rows = model.rows(longer)
        own = found[0].row if found else rows[0]
        if isinstance(token, int):
            at = _numbered(model, own, rows[0], token, layer)
        else:
            at = _named(model, longer, subject, rows[0], token, layer, behind=len(text))
        found += [Lookup(row, at, i, 1 / ((1 + len(openings)) * len(rows))) for i, row in enumerate(rows)]
    return found


def whole(model: Model, subject: str, token: Token = "subject", layer: int = 0, essence: str = "{} is a") -> Lookup:
    """The row that asks what the model says of the subject itself, at its last token in "… is a".

    Where `token` is "asked", that is at the position that goes on from "… is a".
    """
    prompt = Prompt(essence.format(subject) + " [Y]", "man")
    (row, *_) = model.rows(prompt)
    at = _named(model, prompt, subject, row, "asked" if token == "asked" else "subject", layer)
    return Lookup(row if token == "asked" else replace(row, at=at, target=row.ids[at]), at)


def _named(model: Model, prompt: Prompt, subject: str, row: Row, token: str, layer: int, behind: int = 0) -> int:
    decoded = _decoded(model, row, layer)
    if token == "asked":
        return len(row.decoder) - 1 if decoded else row.at
    if decoded:
        raise BadSetting(
            f"layer {layer} of {model.name} is in the decoder, which does not read the subject: take a layer of the "
            "encoder, or token='asked'"
        )
    span = span_of(model, prompt, subject, row, behind=behind)
    return span.first if token == "subject_first" else span.end - 1


def _numbered(model: Model, own: Row, row: Row, number: int, layer: int) -> int:
    """The token of `row` that is the token with this number in the prompt's own row: an opening moves it."""
    read, longer = (own.decoder, row.decoder) if _decoded(model, own, layer) else (own.ids, row.ids)
    if number >= len(read):
        raise BadSetting(f"the prompt has tokens 0 to {len(read) - 1} where it is asked, and token is {number}")
    special = set(model.tokenizer.all_special_ids)
    start = next((i for i, t in enumerate(read) if t not in special or i == own.at), 0)  # such tokens stay in front
    return number if number < start else number + len(longer) - len(read)


def _decoded(model: Model, row: Row, layer: int) -> bool:
    return bool(row.decoder) and model.layers[layer].side == "output"


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Lookups of one shape: the batch, the position of each, and their numbers."""

    batch: Batch
    at: Tensor
    numbers: tuple[int, ...]

    @property
    def here(self) -> tuple[Tensor, Tensor]:
        """To index [row, position]."""
        return torch.arange(len(self.at), device=self.at.device), self.at


def groups(model: Model, found: Sequence[Lookup], *, most: bool = False) -> list[Group]:
    """Batches without padding; `most`: none with more rows than may run at once without a gradient."""
    made = []
    for same in by_shape([x.row.shape for x in found]):
        size = rows_within(model, sum(found[same[0]].row.shape), gradient=False) if most else len(same)
        for numbers in (same[i : i + size] for i in range(0, len(same), size)):
            at = torch.tensor([found[i].at for i in numbers], device=model.device)
            made.append(Group(Batch.of([found[i].row for i in numbers], model.device), at, tuple(numbers)))
    return made


@contextmanager
def adding(model: Model, layer: int, group: Group, delta: Tensor, place: hooks.Place = "ffn") -> Iterator[list[Tensor]]:
    """Within the block, the FFN of a layer (or its block) gives out `delta` more at the lookups.

    Yields what it gave out there without.
    """
    seen: list[Tensor] = []

    def change(x: Tensor) -> Tensor:
        seen.append(x[group.here].detach().clone())
        return x.index_put(group.here, delta.to(x.dtype).expand(len(group.at), -1), accumulate=True)

    with hooks.rewriting(model.net, model.layers, {layer: change}, place=place):
        yield seen


def keys_and_values(model: Model, layer: int, found: Sequence[Lookup]) -> tuple[Tensor, Tensor]:
    """What goes into the FFN's second map at each lookup, [lookup, neuron], and what comes out of it, [lookup, hidden].

    float64.
    """
    keys, values = looked_up(model, found, ((layer, "neurons"), (layer, "ffn")))
    return keys, values


def looked_up(model: Model, found: Sequence[Lookup], places: Sequence[tuple[int, hooks.Place]]) -> list[Tensor]:
    """What stands at each lookup in each of these places of a layer, [lookup, width], float64. Changes nothing."""
    into: list[dict[int, Tensor]] = [{} for _ in places]

    def kept(group: Group, rows: dict[int, Tensor]) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            rows.update(zip(group.numbers, x[group.here].double().cpu(), strict=True))
            return x

        return change

    with torch.no_grad(), hooks.quiet(model.net):
        for group in groups(model, found, most=True):
            with ExitStack() as stack:
                for (layer, place), rows in zip(places, into, strict=True):
                    change = {layer: kept(group, rows)}
                    stack.enter_context(hooks.rewriting(model.net, model.layers, change, place=place))
                model.finite(model.logits(group.batch))
    return [torch.stack([rows[i] for i in range(len(found))]) for rows in into]
