"""Train a small network and commit a checkpoint after each epoch; then bring the best one back.

    python examples/training_loop.py FOLDER

FOLDER becomes a Git repository. The network has a frozen part, as fine-tuning has, so a commit costs its head only.
Nothing here is special to this example: save the file as ever, `git add`, `git commit`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

CHECKPOINT = "model.safetensors"
EPOCHS = 4

Floats = NDArray[np.float32]


def git(folder: Path, *arguments: str) -> str:
    """Run git in the repository and return what it says."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def set_up(folder: Path) -> None:
    """A repository that tracks checkpoints. `git theta track` also tells Git about the filter."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    git(folder, "theta", "track", "*.safetensors")
    git(folder, "add", ".gitattributes")


def commit(folder: Path, model: dict[str, Floats], message: str) -> str:
    """Save the model, commit it, and return the commit."""
    save_file(model, folder / CHECKPOINT)
    git(folder, "add", CHECKPOINT)
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "--short", "HEAD")


def train(folder: Path) -> None:
    """Fit the head of a two-layer network by gradient descent, one commit per epoch."""
    random = np.random.default_rng(0)
    x = random.standard_normal((512, 64), dtype=np.float32)
    y = np.sin(x[:, :1]) + x[:, 1:2] ** 2
    model: dict[str, Floats] = {
        "body.weight": np.float32(0.125) * random.standard_normal((64, 1024), dtype=np.float32),
        "head.weight": np.zeros((1024, 1), np.float32),
        "head.bias": np.zeros(1, np.float32),
    }
    features = np.maximum(x @ model["body.weight"], 0)
    best = ("", np.inf)
    for epoch in range(1, EPOCHS + 1):
        for _ in range(20):
            error = features @ model["head.weight"] + model["head.bias"] - y
            model["head.weight"] -= np.float32(2e-3) * features.T @ error / len(x)
            model["head.bias"] -= np.float32(2e-3) * error.mean(axis=0)
        loss = float((error**2).mean())
        revision = commit(folder, model, f"epoch {epoch}: loss {loss:.4f}")
        best = min(best, (revision, loss), key=lambda one: one[1])
        print(f"epoch {epoch}: loss {loss:.4f}, commit {revision}")
    print(git(folder, "diff", "HEAD~1"))
    git(folder, "checkout", best[0], "--", CHECKPOINT)
    print(f"the best, {best[0]}, is back: {', '.join(load_file(folder / CHECKPOINT))}")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    set_up(target)
    train(target)
