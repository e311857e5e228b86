"""What every family promises, as clauses that can be checked on any network of it.

Each clause is a small function; its name is what it promises. All compare with something outside of the table: plain
`transformers`, the network's own maps, or the weights themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import EngramError
from ..facts import Prompt
from ..interventions import suppressed
from ..models import Model, ask, detours, holding, hooks, value_slots, watching
from ..models.batching import by_shape
from ..models.family import Stack
from ..models.hooks import Layer
from ..models.questions import Batch
from ..models.replay import Start, record, replay
from ..neurons import NeuronSet
from .states import state_of, zeroed

PROMPTS = (
    Prompt("The capital of Ireland is [Y].", "Dublin"),
    Prompt("The capital of France is [Y].", "Dublin"),
    Prompt("A city in Ireland is [Y].", "Dublin"),
    Prompt("The capital of Estonia is [Y].", "Tallinn"),
)
NEAR = 1e-5  # of the largest value compared, or of 1


class ContractBroken(AssertionError):
    """A family does not keep a clause of the contract; names the family, the clause, and what was seen.

    >>> from engram.testing import tiny
    >>> from dataclasses import replace
    >>> whole = Model.wrap(*tiny("gpt2"))
    >>> wrong = replace(whole.family.stacks[0], ffn_down="mlp.c_fc")  # the first map in place of the second
    >>> check_family(replace(whole, family=replace(whole.family, stacks=(wrong,))))
    Traceback (most recent call last):
    engram.testing.contract.ContractBroken: the family gpt2 breaks 'neurons times value slots are what the...
    """


class Sample(NamedTuple):
    """What a clause is checked on: prompts, and those of their rows that go through the network together."""

    prompts: Sequence[Prompt]
    batch: Batch

    @property
    def rows(self) -> Tensor:
        return torch.arange(len(self.batch), device=self.batch.at.device)


def check_family(model: Model, prompts: Sequence[Prompt] = PROMPTS) -> None:
    """Does this model's family keep what engram promises of every family? Raises ContractBroken at the first breach.

    The model must be able to answer the prompts; two of them should be equally long, and one have an answer of several
    tokens. Use a small network in float32: its weights are copied meanwhile. It is left as it was.

    >>> import engram as eg
    >>> from engram.testing import tiny
    >>> check_family(eg.load(*tiny("gpt2")))
    """
    for clause in CLAUSES:
        try:
            with torch.no_grad(), hooks.quiet(model.net):
                clause(model, _sample(model, prompts))
        except Exception as error:
            # with a wrong table, a network may fail anywhere and anyhow
            promise, kind = clause.__name__.replace("_", " "), type(error).__name__
            seen = str(error) if isinstance(error, (EngramError, ContractBroken)) else f"{kind}: {error}"
            raise ContractBroken(f"the family {model.family.name} breaks {promise!r}: {seen}") from error


def there_are_as_many_layers_as_the_configuration_says(model: Model, _sample: Sample) -> None:
    said = sum(_layers_said(model, stack) for stack in model.family.stacks)
    _must(len(model.layers) == said, f"the configuration says {said}, the table finds {len(model.layers)}")


def every_layer_is_met_at_every_position(model: Model, sample: Sample) -> None:
    with watching.recording(model.net, model.layers) as seen:
        _plain(model, sample.batch)
    for layer, x, out in zip(model.layers, seen.neurons, seen.left, strict=True):
        read, written = sample.batch.ids, sample.batch.decoder
        tokens = written if written is not None and layer.side == "output" else read
        expected = (*tokens.shape, model.widths[layer.index])
        _must(tuple(x.shape) == expected, f"{layer.path} has neurons {tuple(x.shape)}, not {expected}")
        _must(out is not None, f"the block of {layer.path} gave nothing out")


def neurons_times_value_slots_are_what_the_ffn_writes(model: Model, sample: Sample) -> None:
    with watching.recording(model.net, model.layers) as seen:
        _plain(model, sample.batch)
    for layer, x, out in zip(model.layers, seen.neurons, seen.left, strict=True):
        slots, hidden = value_slots(layer.down).shape[1], out.shape[-1]
        _must(slots == hidden, f"{layer.path} writes vectors of {slots}, the hidden states have {hidden}")
        bias = getattr(layer.down, "bias", None)
        _near(x @ value_slots(layer.down) + (0 if bias is None else bias), layer.down(x), layer.path)


def reading_and_scaling_by_one_change_no_bit(model: Model, sample: Sample) -> None:
    plain = _plain(model, sample.batch)
    with watching.recording(model.net, model.layers):
        _must(torch.equal(_plain(model, sample.batch), plain), "reading changes the logits")
    with hooks.rewriting(model.net, model.layers, {layer.index: lambda x: x * 1.0 for layer in model.layers}):
        _must(torch.equal(_plain(model, sample.batch), plain), "scaling by one changes the logits")
    _must(torch.equal(_plain(model, sample.batch), plain), "the logits are others afterwards")


def the_head_says_at_one_position_what_it_says_there_among_all(model: Model, sample: Sample) -> None:
    everywhere = _plain(model, sample.batch)
    _near(model.logits(sample.batch), everywhere[sample.rows, sample.batch.answered_at], "the asked position")


def rows_do_not_see_each_other(model: Model, sample: Sample) -> None:
    _must(len(sample.batch) > 1, "two prompts of equal length are needed to see this")
    alone = [model.logits(sample.batch.take(i[None])) for i in sample.rows]
    _near(model.logits(sample.batch), torch.cat(alone), "a batch against each row alone")


def an_answer_of_several_tokens_is_the_sum_of_its_tokens(model: Model, sample: Sample) -> None:
    lengths = []
    for prompt, answer in zip(sample.prompts, ask(model, sample.prompts), strict=True):
        batches = [Batch.of([row], model.device) for row in model.rows(prompt)]
        said = [_plain(model, b)[0, b.answered_at[0]].log_softmax(-1)[b.target[0]] for b in batches]
        _near(torch.tensor(answer.logprob), sum(said, torch.zeros(())).cpu(), f"{prompt.answer!r} in {prompt.text!r}")
        lengths.append(len(answer.tokens))
    _must(max(lengths) > 1, "no answer of several tokens was asked")


def silencing_neurons_is_zeroing_their_value_slots(model: Model, sample: Sample) -> None:
    plain = _plain(model, sample.batch)
    for down in {layer.down: None for layer in model.layers}:
        mine = [layer for layer in model.layers if layer.down is down]  # several where the weights are shared
        half = torch.arange(0, model.widths[mine[0].index], 2, device=value_slots(down).device)

        def silence(x: Tensor, half: Tensor = half) -> Tensor:
            return x.index_fill(-1, half, 0)

        with hooks.rewriting(model.net, model.layers, {layer.index: silence for layer in mine}):
            silenced = _plain(model, sample.batch)
        with zeroed(value_slots(down), half):
            without = _plain(model, sample.batch)
        _near(silenced, without, mine[0].path)
        _must(not torch.allclose(without, plain), f"half of the slots of {mine[0].path} are zeroed and nothing changes")


def replaying_from_any_layer_is_the_full_pass(model: Model, sample: Sample) -> None:
    clean = record(model, sample.batch)
    starts = [Start(x.index, sample.rows, _other(clean.written[x.index])) for x in model.layers]
    together = torch.split(replay(model, clean, starts), len(sample.batch))
    for layer, start, among in zip(model.layers, starts, together, strict=True):

        def put(x: Tensor, layer: Layer = layer, start: Start = start) -> Tensor:
            return x.index_put((sample.rows, sample.batch.asked.at[layer.side]), start.written)

        with hooks.rewriting(model.net, model.layers, {layer.index: put}, place="ffn"):
            full = model.logits(sample.batch)
        _near(replay(model, clean, [start]), full, f"layer {layer.index}")
        _near(among, full, f"layer {layer.index}, among the others")
        _must(not torch.allclose(full, clean.logits), f"what the FFN of layer {layer.index} writes changes nothing")


def a_gradient_comes_back_to_every_layer(model: Model, sample: Sample) -> None:
    clean = record(model, sample.batch)
    slopes = []
    with torch.enable_grad():
        for layer in model.layers:
            leaf = clean.written[layer.index].clone().requires_grad_()
            said = replay(model, clean, [Start(layer.index, sample.rows, leaf)])
            _must(said.requires_grad, f"none leaves the logits for layer {layer.index}")
            (slope,) = torch.autograd.grad(said.log_softmax(-1)[:, 0].sum(), leaf, allow_unused=True)
            came = slope is not None and bool(slope.isfinite().all() and slope.abs().max() > 0)
            _must(came, f"none, or none but 0 and NaN, comes to layer {layer.index}")
            slopes.append(slope)
        taps = {x.index: torch.zeros_like(clean.written[x.index]).requires_grad_() for x in model.layers[1:]}
        first = clean.written[0].clone().requires_grad_()
        said = replay(model, clean, [Start(0, sample.rows, first)], taps).log_softmax(-1)[:, 0].sum()
        for i, at_once in enumerate(torch.autograd.grad(said, [first, *taps.values()])):
            _near(at_once, slopes[i], f"layer {i}, all layers at once")


def a_causal_model_does_not_look_ahead(model: Model, sample: Sample) -> None:
    if model.family.asks != "next":
        return
    plain = _plain(model, sample.batch)
    changes = {layer.index: _at_the_blank(layer.side, sample, _other) for layer in model.layers}
    with hooks.rewriting(model.net, model.layers, changes):
        changed = _plain(model, sample.batch)
    _near(changed[:, :-1], plain[:, :-1], "positions before the blank")
    _must(not torch.allclose(changed[:, -1], plain[:, -1]), "a change at the blank changes nothing at the blank")


def all_is_as_before_also_after_an_error(model: Model, sample: Sample) -> None:
    net, first = model.net, NeuronSet.of((layer.index, 0) for layer in model.layers)
    clean = record(model, sample.batch)
    try:
        net.train()
        for parameter in net.parameters():
            parameter.requires_grad_(True)
        before = state_of(model)
        for condition in (suppressed(first), suppressed(first, at="everywhere")):
            with _expecting(_Planned), holding(condition, model), hooks.quiet(net):
                model.logits(sample.batch)
                raise _Planned
        starts = [Start(x.index, sample.rows, clean.written[x.index]) for x in model.layers]
        with _expecting(_Planned), hooks.quiet(net), detours.instead({model.layers[-1].block: _fail}):
            replay(model, clean, starts)
        after = state_of(model)
    finally:
        net.eval()
        for parameter in net.parameters():
            parameter.requires_grad_(False)
    for what, value in before.items():
        same = torch.equal(value, after[what]) if isinstance(value, Tensor) else value == after[what]
        _must(same, f"{what} is not what it was")


CLAUSES: tuple[Callable[[Model, Sample], None], ...] = (
    there_are_as_many_layers_as_the_configuration_says,
    every_layer_is_met_at_every_position,
    neurons_times_value_slots_are_what_the_ffn_writes,
    reading_and_scaling_by_one_change_no_bit,
    the_head_says_at_one_position_what_it_says_there_among_all,
    rows_do_not_see_each_other,
    an_answer_of_several_tokens_is_the_sum_of_its_tokens,
    silencing_neurons_is_zeroing_their_value_slots,
    a_causal_model_does_not_look_ahead,
    replaying_from_any_layer_is_the_full_pass,
    a_gradient_comes_back_to_every_layer,
    all_is_as_before_also_after_an_error,
)


class _Planned(Exception):
    """Raised on purpose, to see what an error leaves behind."""


def _must(holds: bool, seen: str) -> None:
    if not holds:
        raise ContractBroken(seen)


def _near(a: Tensor, b: Tensor, what: str) -> None:
    far, scale = float((a - b).abs().max()), max(1.0, float(b.abs().max()))
    _must(far <= NEAR * scale, f"{what}: {far:.2g} apart, of values up to {scale:.2g}")


def _plain(model: Model, batch: Batch) -> Tensor:
    """What `transformers` says by itself, at every position."""
    logits: Tensor = model.net(**batch.inputs).logits
    return logits


def _sample(model: Model, prompts: Sequence[Prompt]) -> Sample:
    rows = [row for prompt in prompts for row in model.rows(prompt)]
    largest = max(by_shape([row.shape for row in rows]), key=len)
    return Sample(prompts, Batch.of([rows[i] for i in largest], model.device))


def _layers_said(model: Model, stack: Stack) -> int:
    keys = ("num_decoder_layers", "decoder_layers") if stack.side == "output" else ("num_hidden_layers",)
    said = next(int(n) for key in keys if (n := getattr(model.config, key, None)) is not None)
    return said * (int(getattr(model.config, "inner_group_num", 1)) if stack.per_block else 1)


def _at_the_blank(side: str, sample: Sample, change: Callable[[Tensor], Tensor]) -> hooks.Change:
    at = sample.batch.asked.at[side]  # type: ignore[index]

    def put(x: Tensor) -> Tensor:
        i, j = sample.rows.to(x.device), at.to(x.device)
        x[i, j] = change(x[i, j])
        return x

    return put


def _other(x: Tensor) -> Tensor:
    return 0.5 * x + 0.25


def _fail(*_args: Any, **_kwargs: Any) -> Tensor:
    raise _Planned


@contextmanager
def _expecting(error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except error:
        return
    raise ContractBroken("an error that was raised inside was swallowed")
