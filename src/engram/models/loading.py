"""Name, path or live network → Model."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadSetting, BrokenCheckpoint, EngramError, OutOfMemory, UnknownName, UnsupportedModel
from .family import Asks, Family, family_of
from .family import read as read_families
from .model import GIB, Model
from .questions import Masks

SHIPPED = {"engram:masked": "masked", "engram:causal": "causal"}
DTYPES = ("float32", "bfloat16", "float16", "float64", "auto")
PATIENCE = 3.0  # seconds for the hub to answer at all; without an answer, what was downloaded before has to do


def load(
    source: Any = None,
    tokenizer: Any = None,
    *,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    device_map: Any = None,
    revision: str | None = None,
    attn_implementation: str | None = None,
    trust_remote_code: bool = False,
    safetensors_only: bool = True,
    local_files_only: bool = False,
    masks: Masks = "left_to_right",
    budget: int = GIB,
) -> Model:
    """A Model from a hub id, a local path, a live `(net, tokenizer)`, or nothing (the masked model shipped inside).

    `load()` and `load("engram:masked")` give the shipped masked model, `load("engram:causal")` the causal one.
    `dtype` is float32 unless said otherwise, for attributions are sums of small differences. Neither remote code nor
    pickled weights are touched unless asked for. A live network is taken as it is: it is neither moved nor cast, and
    every verb leaves it in the mode it was in. Raises UnknownName, UnsupportedModel, BrokenCheckpoint, BadSetting.

    >>> load("engram:causal").family.name
    'gpt2'
    """
    if isinstance(source, tuple) and len(source) == 2:
        source, tokenizer = source
    if isinstance(source, nn.Module):
        if tokenizer is None or device is not None or device_map is not None or revision is not None:
            raise BadSetting(
                "a live network comes with its tokenizer, load(net, tokenizer), and stays as and where it is"
            )
        return Model.wrap(source, tokenizer, masks=masks, budget=budget)
    if source is not None and not isinstance(source, (str, Path)):
        raise BadSetting(f"load takes a hub id, a path, (net, tokenizer) or nothing, not {type(source).__name__}")
    if device is not None and device_map is not None:
        raise BadSetting("say device or device_map, not both")
    name = str(source) if source is not None else "engram:masked"
    where, local = _place(name, revision)
    offline = local or local_files_only or not _hub_answers()
    common = {"revision": revision, "trust_remote_code": trust_remote_code, "local_files_only": offline}
    weights = {"dtype": dtype_of(dtype), "device_map": device_map, "attn_implementation": attn_implementation}
    weights["use_safetensors"] = True if safetensors_only else None
    target = None if device is None else device_of(device)
    with unreported(), _told(name, local, offline):
        family, net, words = _fetch(name, where, tokenizer, common, weights)
    if target is not None:
        net.to(target)
    net.eval().requires_grad_(False)
    return Model(net, words, family, name if revision is None else f"{name}@{revision}", masks, budget)


def auto_class(asks: Asks) -> str:
    """The class of `transformers` that makes a network with the head by which it is asked."""
    kinds = {"mask": "AutoModelForMaskedLM", "next": "AutoModelForCausalLM"}
    return kinds.get(asks, "AutoModelForSeq2SeqLM")


def _fetch(
    name: str, where: str, tokenizer: Any, common: dict[str, Any], weights: dict[str, Any]
) -> tuple[Family, nn.Module, Any]:
    """Configuration, tokenizer, weights: what is small comes first, and what is wrong with it is told first."""
    import transformers  # heavy: seconds

    read_families()  # first, for a plug-in may bring an architecture that transformers does not know
    config = transformers.AutoConfig.from_pretrained(where, **common)
    family = family_of(config)
    words = transformers.AutoTokenizer.from_pretrained(where, **common) if tokenizer is None else tokenizer
    if tokenizer is None and len(words) - len(set(words.all_special_ids)) <= 2:
        raise BrokenCheckpoint(f"{name} has no tokenizer files: its tokenizer would know nothing but special tokens")
    net, report = getattr(transformers, auto_class(family.asks)).from_pretrained(
        where, config=config, ignore_mismatched_sizes=True, output_loading_info=True, **weights, **common
    )
    _whole(name, report, family)
    return family, net, words


def _place(name: str, revision: str | None) -> tuple[str, bool]:
    """Where a model lies, and whether that is a folder here. Raises UnknownName for what is neither path nor hub id."""
    if name.startswith("engram:"):
        if name not in SHIPPED:
            raise UnknownName("shipped model", name, SHIPPED)
        return str(files("engram") / "models" / "shipped" / SHIPPED[name]), True
    path = Path(name).expanduser()
    if name and path.is_dir():
        if not (path / "config.json").is_file():
            raise BrokenCheckpoint(f"{name} is a folder without config.json, not a checkpoint")
        if revision is not None:
            raise BadSetting(f"revision is for models of the hub; {name} is a folder, as it is")
        return str(path), True
    if name and path.exists():
        raise BrokenCheckpoint(f"{name} is a file; a checkpoint is a folder with config.json and weights")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name, re.ASCII):
        raise UnknownName("model", name, SHIPPED, "It is no folder here, and cannot be an id of the hub.")
    return name, False


def _hub_answers() -> bool:
    """Can the hub be reached? Asked once and briefly: by itself, it would be tried for half a minute."""
    from huggingface_hub import constants  # comes with transformers

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        urllib.request.urlopen(request, timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # an answer, if one that urllib does not trust
    except OSError:
        return False
    return True


def device_of(device: str | torch.device) -> torch.device:
    """The device of this name, tried once. Raises BadSetting where this machine has none.

    >>> device_of("cpu").type
    'cpu'
    """
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadSetting(f"device {str(device)!r} is not one of this machine: {str(error).splitlines()[0]}") from error
    return target


def dtype_of(dtype: str | torch.dtype) -> str | torch.dtype:
    """The dtype of this name; "auto" stays. Raises UnknownName.

    >>> dtype_of("bfloat16"), dtype_of("auto")
    (torch.bfloat16, 'auto')
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UnknownName("dtype", dtype, DTYPES)
    return dtype if dtype == "auto" else getattr(torch, dtype)


def _whole(name: str, report: dict[str, Any], family: Family) -> None:
    """Weights that the file lacks would be drawn at random: such a model answers nonsense without a word."""
    unexpected = sorted(report.get("unexpected_keys", ()))
    if missing := sorted(report.get("missing_keys", ())):
        instead = f"; it has {', '.join(unexpected[:3])} instead" if unexpected else ""
        raise BrokenCheckpoint(
            f"{name} lacks {len(missing)} weights that answering needs, e.g. {', '.join(missing[:3])}{instead}: "
            "it was saved without its language-model head, or not whole"
        )
    if wrong := sorted(report.get("mismatched_keys", ())):
        key, has, needs = wrong[0]
        raise BrokenCheckpoint(
            f"{name} has {len(wrong)} weights of another shape than its config.json says, "
            f"e.g. {key}: {tuple(has)}, not {tuple(needs)}"
        )
    for stack in family.stacks:
        above = [k for k in unexpected if re.search(rf"(^|\.){re.escape(stack.blocks.rpartition('.')[2])}\.\d+\.", k)]
        if above:
            raise BrokenCheckpoint(
                f"{name} has {len(above)} weights of layers that its config.json does not know, e.g. {above[0]}"
            )


@contextmanager
def unreported() -> Iterator[None]:
    """Within the block, transformers shows neither its bar over the weights nor its report: the report is read here.

    Downloads keep their bars.
    """
    from transformers.utils import logging

    def none(_factory: Any, args: Any, kwargs: Any) -> Any:
        return logging.EmptyTqdm(*args, **kwargs)

    with ExitStack() as stack:
        stack.callback(logging.set_verbosity, logging.get_verbosity())
        stack.callback(logging.set_tqdm_hook, logging.set_tqdm_hook(none))
        logging.set_verbosity(logging.CRITICAL)
        yield


@contextmanager
def _told(name: str, local: bool, offline: bool) -> Iterator[None]:
    """What Hugging Face raises while loading, as one error that says what was given and what would do."""
    try:
        yield
    except EngramError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(f"{name} does not fit into memory: try a smaller dtype, or device_map='auto'") from error
    except ImportError as error:
        raise BadSetting(f"{name} cannot be loaded like this here: {error}") from error
    except Exception as error:
        # a broken or odd file makes its readers fail in more ways than can be listed; the cause is kept
        raise _said(error, name, local, offline) from error


def _said(error: Exception, name: str, local: bool, offline: bool) -> EngramError:
    whole, kind = " ".join(str(error).split()), type(error).__name__
    text = whole[:300]
    if "trust_remote_code" in whole:
        return UnsupportedModel(f"{name} wants to run its own code; pass trust_remote_code=True if you trust it")
    if "attn_implementation" in text or "attention implementation" in text:
        return BadSetting(f"{name} cannot be loaded like this: {text}")
    if "does not recognize this architecture" in text:
        return UnsupportedModel(f"{name}: {text}")
    if kind == "SafetensorError":
        return BrokenCheckpoint(f"{name}: its weights file is cut off or not safetensors ({text})")
    if "safetensors" in text and ("does not appear to have" in text or "no file named" in text.lower()):
        return BrokenCheckpoint(
            f"{name} has no safetensors weights. Pickled weights can run code; "
            "pass safetensors_only=False if it has such and you trust them"
        )
    if local or not isinstance(error, OSError):
        return BrokenCheckpoint(f"{name} cannot be loaded: {kind}: {text}")
    why = "the hub is not asked or does not answer, and nothing of that name was downloaded before" if offline else text
    return UnknownName("model", name, SHIPPED, f"It is no folder here, and as an id of the hub: {why}.")
