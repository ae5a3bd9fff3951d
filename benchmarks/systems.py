"""The systems side by side: git-theta of this checkout, git-lfs, and git-theta as published on PyPI.

A system is how to set it up in a fresh home; a :class:`Box` is one repository in such a home. What always holds:
nothing outside the box's folder is read as configuration or written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODEL = "model.safetensors"
PUBLISHED_VERSION = "0.2.0"
# It imports the middle two without asking for them.
_PUBLISHED_NEEDS = (f"git-theta=={PUBLISHED_VERSION}", "colorama", "prompt_toolkit", "safetensors")


class CommandFailed(Exception):
    """A measured command did not exit with 0; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class System:
    """One way to version a checkpoint. ``programs`` is the folder of its own programs, first on PATH."""

    name: str
    label: str
    setup: tuple[tuple[str, ...], ...]
    programs: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def theta() -> System:
    """This checkout, as installed beside the running Python."""
    commands = (("git-theta", "install"), ("git-theta", "track", "*.safetensors"))
    return System("theta", "git-theta", commands, Path(sys.executable).parent)


def git_lfs() -> System:
    """Plain git-lfs."""
    return System(
        "lfs", "git-lfs", (("git", "lfs", "install", "--skip-repo"), ("git", "lfs", "track", "*.safetensors"))
    )


def published(folder: Path) -> System:
    """git-theta from PyPI in a virtual environment of its own below ``folder``, made unless it is there."""
    home = folder / f"git-theta-{PUBLISHED_VERSION}"
    programs = home / "bin"
    if not (programs / "git-theta").exists():
        venv.create(home, with_pip=True)
        subprocess.run([programs / "python", "-m", "pip", "install", "-q", *_PUBLISHED_NEEDS], check=True)
    commands = (("git", "lfs", "install", "--skip-repo"), ("git-theta", "install"), ("git-theta", "track", MODEL))
    environment = {"GIT_THETA_CHECKPOINT_TYPE": "safetensors"}
    return System("published", f"git-theta {PUBLISHED_VERSION}", commands, programs, environment)


class Box:
    """A fresh repository with one system set up in it; ``notes`` carries what one case leaves for the next."""

    def __init__(self, system: System, folder: Path) -> None:
        self.system = system
        self.folder = folder
        self.repository = folder / "repository"
        self.model = self.repository / MODEL
        self.notes: dict[str, float] = {}
        self.repository.mkdir(parents=True)
        self._environment = _environment(system, folder)
        for command in (("git", "init", "-q"), *system.setup, ("git", "add", ".gitattributes")):
            self.run(*command)
        self.commit()

    def run(self, *command: str) -> float:
        """Seconds a command takes; raises :class:`CommandFailed`. What was written before has reached the disk."""
        os.sync()
        start = time.perf_counter()
        with self.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            _, said = process.communicate()
        seconds = time.perf_counter() - start
        if process.returncode:
            tail = " ".join(said.decode(errors="replace").split())[-200:]
            raise CommandFailed(f"{' '.join(command)} exited with {process.returncode}: {tail}")
        return seconds

    def start(self, command: Sequence[str], stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """Start a command in the repository, with a pipe to its stdin."""
        return subprocess.Popen(
            command, cwd=self.repository, env=self._environment, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr
        )

    def put(self, version: Path) -> None:
        """Make ``version`` the checkpoint in the worktree."""
        shutil.copyfile(version, self.model)

    def commit(self) -> None:
        """Commit what is staged."""
        self.run("git", "commit", "-qm", "benchmark")

    def store_bytes(self) -> int:
        """Everything below ``.git``."""
        return sum(file.lstat().st_size for file in (self.repository / ".git").rglob("*") if file.is_file())


def _environment(system: System, home: Path) -> dict[str, str]:
    """The caller's environment without settings of Git and Python, at home in ``home``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "PYTHON"))}
    path = kept.get("PATH", os.defpath)
    who = {f"GIT_{role}_{what}": "benchmark" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        **kept,
        **who,
        **system.environment,
        "HOME": str(home),
        "TMPDIR": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": f"{system.programs}{os.pathsep}{path}" if system.programs else path,
    }
