"""Where is the path from silence to the clean activations hard to integrate along?

The state that the next normalisation gets is `r + α·u`, and its variance (of RMSNorm: its mean square) is a quadratic
in α with complex zeros at `centre ± i·width`. There the answer has its nearest singularity: where `width` is small and
`centre` in reach of [0, 1], the FFN's output is large beside the residual, and polynomials in α converge slowly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .detours import Forward
from .hooks import Layer
from .model import Model
from .recording import Recording
from .replay import Start, leaving, through_the_ffn

FAR = 1e3  # a pole so far away is none
NEAR = 1e-4


def poles(model: Model, clean: Recording, steps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """`centre` and `width`, each [row, layer], float64 on the CPU. `steps[layer]` [row, hidden] is what α scales.

    Layers that are run through the whole network have none that is looked for.
    """
    rows = torch.arange(len(clean.batch), device=clean.batch.ids.device)
    found = []
    with torch.no_grad():
        for layer in model.layers:
            if clean.ways[layer.index] == "network":
                far = torch.full((len(rows),), FAR, dtype=torch.float64)
                found.append((torch.full_like(far, 0.5), far))
                continue
            y = clean.written[layer.index]
            start = Start(layer.index, torch.cat([rows, rows]), torch.cat([y - steps[layer.index], y]))
            found.append(_pole(*_normalised(clean, layer, start).chunk(2)))
    centre, width = zip(*found, strict=True)
    return torch.stack(centre, -1).cpu(), torch.stack(width, -1).cpu()


def _pole(r: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    u = whole - r
    power = (u * u).mean(-1).clamp_min(torch.finfo(torch.float64).tiny)
    centre = -(r * u).mean(-1) / power
    width = ((r * r).mean(-1) / power - centre**2).clamp_min(0).sqrt()
    return centre.clamp(-FAR, FAR), width.clamp(NEAR, FAR)


def _normalised(clean: Recording, layer: Layer, start: Start) -> Tensor:
    """What the first normalisation behind the FFN gets at the asked position [row, hidden], as it measures it.

    It is one in the block, or else the next block's first: what leaves the block.
    """
    norms = [m for name, m in layer.block.named_modules() if "norm" in type(m).__name__.lower() and name]
    if layer.index in clean.additive:
        return _measured(leaving(clean, layer, start), norms)
    seen: list[Tensor] = []

    def looking(norm: nn.Module) -> Forward:
        own = norm.forward

        def forward(x: Tensor) -> Tensor:
            seen.append(x)
            out: Tensor = own(x)
            return out

        return forward

    def writing(x: Tensor) -> Tensor:
        seen.clear()  # the norms before the FFN are not looked for
        return start.write(x)

    left = through_the_ffn(clean, layer, start, {**{n: looking(n) for n in norms}, layer.down: writing})
    behind = [x for x in seen if x.shape[-1] == left.shape[-1]]
    return _measured(behind[0] if behind else left, norms)


def _measured(x: Tensor, norms: list[nn.Module]) -> Tensor:
    flat = x.reshape(-1, x.shape[-1])
    centred = _centres(norms, flat)
    flat = flat.double()
    return flat - flat.mean(-1, keepdim=True) if centred else flat


def _centres(norms: list[nn.Module], like: Tensor) -> bool:
    """Does it take the mean off? Then adding a constant changes nothing."""
    for norm in norms:
        x = torch.linspace(-1, 1, like.shape[-1], device=like.device, dtype=like.dtype)[None] ** 3
        try:
            return bool(torch.allclose(norm(x), norm(x + 1), atol=0.1))
        except RuntimeError:  # of another width: a norm of queries or keys
            continue
    return False
