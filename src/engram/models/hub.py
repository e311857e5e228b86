"""An edit on the Hugging Face hub: its adapter, what makes it an edit, and a card that says what it does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..edits import Edit, LowRank, said
from ..errors import BadData, BadSetting
from .adapters import CONFIG, save

CARD = "README.md"


def push(edit: Edit, repo_id: str, *, base_model: str | None = None, **how: Any) -> str:
    """Put an edit into a repository of the hub, which is made where there is none; see `Edit.push_to_hub`.

    Raises BadSetting for a name that no repository can have, BadData where the hub cannot be reached or says no.
    """
    import huggingface_hub  # comes with transformers
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    refused: Any = (OSError, *HfHubHTTPError.__bases__)  # with them whatever the installed version speaks HTTP by
    own = {name: how[name] for name in ("token", "private") if name in how}
    rest = {name: x for name, x in how.items() if name != "private"}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "edit"
        save(edit, folder)
        base = base_model or _public(edit)
        _name_base(folder / CONFIG, base, anew=base_model is not None)
        (folder / CARD).write_text(card(edit, repo_id, base), encoding="utf-8")
        try:
            huggingface_hub.create_repo(repo_id, exist_ok=True, **own)
            done = huggingface_hub.upload_folder(repo_id=repo_id, folder_path=str(folder), **rest)
        except HFValidationError as error:
            raise BadSetting(f"{repo_id!r} is no name of a repository: {error}") from error
        except refused as error:
            raise BadData(repo_id, None, f"cannot be pushed ({type(error).__name__}: {error})") from error
    return str(done)


def card(edit: Edit, repo_id: str, base: str | None) -> str:
    """What a reader of the hub is told: which model, what is changed in it, how it is loaded and switched off.

    >>> from engram.facts import Fact
    >>> edit = Edit("erasure", Fact("Hamlet", "author", "Shakespeare").becoming(None), ())
    >>> print(card(edit, "me/hamlet", "gpt2").split("---")[1].strip())
    library_name: peft
    base_model: "gpt2"
    tags:
    - engram
    - lora
    - model-editing
    """
    head = ["library_name: peft", *([f"base_model: {json.dumps(base)}"] if base else []), "tags:"]
    head += [f"- {tag}" for tag in ("engram", "lora", "model-editing")]
    front = "\n".join(head)
    title = said(edit.wish) if len(said(edit.wish)) <= 200 else f"{len(edit.wish)} wishes"  # type: ignore[arg-type]
    rank = sum(p.rank if isinstance(p, LowRank) else 1 for p in edit.patches)
    where = ", ".join(map(str, edit.layers))
    named = base or edit.model or "the model it was planned on"
    return f"""---
{front}
---

# {title}

An edit of {named}, planned with engram by {edit.method}: a LoRA adapter of rank {rank} in all, in the layers {where}
(counted from 0). Nothing else in the model changes, and switched off, the model is what it was.

```python
import peft

model = peft.PeftModel.from_pretrained(base, "{repo_id}")  # base: {named}
```

`edit.json` says how it was made, and from which weights; `engram.Edit.load` reads it. What an edit does to other facts
has to be measured: this card promises nothing of that.

| setting | |
| --- | --- |
{_rows(edit.settings)}
"""


def _rows(settings: Mapping[str, Any]) -> str:
    """One line for each; what is long is in edit.json."""
    texts = {name: json.dumps(x, ensure_ascii=False, default=str) for name, x in settings.items()}
    short = {name: x if len(x) <= 100 else "see edit.json" for name, x in texts.items()}
    return "\n".join(f"| {name} | {x.replace('|', chr(92) + '|')} |" for name, x in short.items())


def _public(edit: Edit) -> str | None:
    """Where others find the model; a path of this machine is nobody else's."""
    source = edit.network.source if edit.network else None
    return None if source is None or Path(source).expanduser().exists() or Path(source).is_absolute() else source


def _name_base(config: Path, base: str | None, *, anew: bool) -> None:
    written = json.loads(config.read_text(encoding="utf-8"))
    written["base_model_name_or_path"] = base
    if anew or base is None:
        written["revision"] = None
    config.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
