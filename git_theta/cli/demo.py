"""``git theta demo``: the main job on a real small model, in a temporary repository, with Git's commands shown."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import click

from git_theta.cli.text import human

_MODEL = "model.safetensors"


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the repository for a look around.")
def command(keep: bool) -> None:
    """Build a small model and show: track, add, commit, change one layer, diff, merge, checkout, push and clone.

    Works in a temporary repository of its own; needs neither torch nor git-lfs nor network.

    Example: git theta demo --keep
    """
    folder = Path(tempfile.mkdtemp(prefix="git-theta-demo-"))
    try:
        _Demo(folder).run()
    finally:
        if keep:
            click.echo(f"\nThe repository is yours to explore: cd {shlex.quote(str(folder / 'repo'))}")
        else:
            _remove(folder)


def _remove(folder: Path) -> None:
    import shutil

    def writable(_function: object, path: str, _error: object) -> None:
        os.chmod(path, 0o700)
        os.unlink(path)

    shutil.rmtree(folder, onerror=writable)


class _Demo:
    """The story, command by command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "repo"
        self._config = folder / "gitconfig"
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": str(self._config),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH": os.pathsep.join([str(Path(sys.argv[0]).resolve().parent), os.environ.get("PATH", os.defpath)]),
        }

    def run(self) -> None:
        """Tell the story; raises CalledProcessError where a command fails."""
        self._folder.mkdir()
        self._config.write_text(
            "[user]\n\tname = Demo\n\temail = demo@example.com\n[init]\n\tdefaultBranch = main\n"
            "[advice]\n\tdetachedHead = false\n[core]\n\tpager = cat\n"
        )
        self._say("A repository that knows git-theta, and a transformer of four layers:")
        self._git("init", "--quiet", ".")
        self._git("theta", "install")
        first = self._save(_model())

        self._say("Track it, then plain Git:")
        self._git("theta", "track", "*.safetensors")
        self._git("add", ".")
        self._git("commit", "--quiet", "-m", "first")
        before = self._stored()
        click.echo(f"  the model has {human(first[1])}, its objects take {human(before)}")

        self._say("Fine-tune one layer, and commit again:")
        second = self._save(_tuned(_model()))
        self._git("diff", "--", _MODEL)
        self._git("commit", "--quiet", "-a", "-m", "second: one layer tuned")
        click.echo(f"  the second version of {human(second[1])} cost {human(self._stored() - before)}")
        self._git("theta", "status")

        self._say("Somebody else tuned another layer on a branch; git merge brings both together:")
        self._git("checkout", "--quiet", "-b", "colleague", "HEAD~1")
        self._save(_tuned(_model(), layer=0))
        self._git("commit", "--quiet", "-a", "-m", "another layer tuned")
        self._git("checkout", "--quiet", "main")
        self._git("merge", "--quiet", "--no-edit", "colleague")
        self._git("theta", "diff", "--stat", "HEAD~1", "HEAD")
        third = self._sha256(), 0

        self._say("Every version comes back, byte for byte:")
        for revision, (digest, _) in (("HEAD~2", first), ("HEAD~1", second), ("HEAD", third)):
            self._git("checkout", "--quiet", revision, "--", _MODEL)
            self._compare(self._folder, digest)

        self._say("Objects travel with commits, here to a remote on a path and into a clone:")
        self._git("init", "--quiet", "--bare", "../remote.git")
        self._git("push", "--quiet", "../remote.git", "main")
        self._git("clone", "--quiet", "../remote.git", "../clone")
        self._compare(self._folder.with_name("clone"), self._sha256())

        self._say("Every object is sound:")
        self._git("theta", "fsck")

    def _compare(self, folder: Path, digest: str) -> None:
        """Show the sha256 of the model in ``folder``; raises ClickException unless it is ``digest``."""
        found = _sha256(folder)
        click.echo(f"  sha256 {found}  {'the same as saved' if found == digest else 'NOT what was saved'}")
        if found != digest:
            raise click.ClickException("the checkout is not what was added; please report this")

    def _say(self, text: str) -> None:
        click.secho(f"\n{text}", bold=True)

    def _git(self, *arguments: str) -> None:
        click.secho(f"  $ git {shlex.join(arguments)}", fg="cyan")
        done = subprocess.run(
            ["git", *arguments], cwd=self._folder, env=self._env, capture_output=True, text=True, check=False
        )
        for line in (done.stdout + done.stderr).splitlines():
            click.echo(f"    {line}")
        if done.returncode:
            raise click.ClickException(f"git {arguments[0]} exited with {done.returncode}")

    def _save(self, content: bytes) -> tuple[str, int]:
        (self._folder / _MODEL).write_bytes(content)
        return self._sha256(), len(content)

    def _sha256(self) -> str:
        return _sha256(self._folder)

    def _stored(self) -> int:
        objects = self._folder / ".git" / "theta" / "objects"
        return sum(file.stat().st_size for file in objects.rglob("*") if file.is_file())


def _sha256(folder: Path) -> str:
    return sha256((folder / _MODEL).read_bytes()).hexdigest()


def _model() -> bytes:
    """A transformer of 1.1 million parameters with the value distribution of trained weights."""
    import numpy as np
    from safetensors.numpy import save

    random = np.random.default_rng(7)
    width = 128
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word.weight": (2000, width)}
    for layer in range(4):
        name = f"encoder.layer.{layer}"
        shapes |= {f"{name}.attention.{part}.weight": (width, width) for part in ("query", "key", "value", "output")}
        shapes |= {f"{name}.mlp.up.weight": (4 * width, width), f"{name}.mlp.down.weight": (width, 4 * width)}
        shapes |= {f"{name}.norm.bias": (width,)}
    tensors = {name: random.normal(0, 0.04, shape).astype(np.float32) for name, shape in shapes.items()}
    return bytes(save(tensors, metadata={"made-by": "git theta demo"}))


def _tuned(content: bytes, layer: int = 2) -> bytes:
    """The model after a few optimizer steps on one layer."""
    import numpy as np
    from safetensors.numpy import load, save

    tensors = load(content)
    name = f"encoder.layer.{layer}.mlp.up.weight"
    step = np.random.default_rng(8 + layer).normal(0, 1e-4, tensors[name].shape).astype(np.float32)
    tuned = {**tensors, name: tensors[name] + step}
    return bytes(save(tuned, metadata={"made-by": "git theta demo"}))
