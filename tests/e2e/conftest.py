"""Real Git, far from the developer's own: every test gets a fresh home, a fresh configuration and a repository."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.lfs_server import giftless, host, without_git_lfs

__all__ = ["GitRepo", "giftless", "host", "make_repository", "repo", "user_environment", "without_git_lfs"]


@dataclass(frozen=True)
class GitRepo:
    """A repository on disk and the environment its commands run in."""

    path: Path
    env: dict[str, str]

    @property
    def home(self) -> Path:
        """The home directory of this test's user."""
        return Path(self.env["HOME"])

    def run(
        self,
        *argv: str | Path,
        code: int | None = 0,
        stdin: bytes = b"",
        cwd: Path | str = ".",
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command below the repository; fail unless it exits with ``code`` (None: whatever it likes)."""
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=self.path / cwd,
            env={**self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            check=False,
        )
        if code is not None and done.returncode != code:
            shown = (done.stdout + b"\n" + done.stderr).decode(errors="replace")
            pytest.fail(f"{' '.join(map(str, argv))} exited with {done.returncode}, expected {code}:\n{shown}")
        return done

    def git(self, *args: str | Path, code: int | None = 0, stdin: bytes = b"", cwd: Path | str = ".") -> str:
        """Run git and return what it printed, without the last newline."""
        return self.run("git", *args, code=code, stdin=stdin, cwd=cwd).stdout.decode().removesuffix("\n")

    def theta(self, *args: str | Path, code: int | None = 0, stdin: bytes = b"", cwd: Path | str = ".") -> str:
        """Run ``git theta`` through git, as a user does, and return what it printed, without the last newline."""
        return self.run("git", "theta", *args, code=code, stdin=stdin, cwd=cwd).stdout.decode().removesuffix("\n")

    def write(self, name: str | Path, content: bytes) -> Path:
        """Write a file below the repository, with its folders."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def read(self, name: str | Path) -> bytes:
        """The bytes of a file in the worktree."""
        return (self.path / name).read_bytes()

    def commit(self, message: str = "change", *paths: str | Path) -> str:
        """Add ``paths`` (everything when there are none), commit, and return the commit's id."""
        self.git("add", *(["--", *paths] if paths else ["--all"]))
        self.git("commit", "-m", message)
        return self.git("rev-parse", "HEAD")

    def at(self, path: Path, **env: str) -> GitRepo:
        """The same user in another folder, with more environment variables."""
        return replace(self, path=path, env={**self.env, **env})


def user_environment(home: Path) -> dict[str, str]:
    """This process's environment as a user with an empty home would have it; nothing of Git or theta leaks in."""
    dropped = ("GIT_", "XDG_", "LC_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {
        **kept,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
    }


def make_repository(folder: Path) -> GitRepo:
    """An empty repository on branch main in ``folder``, of a user with a name and nothing else configured."""
    home = folder / "home"
    home.mkdir()
    path = folder / "repo"
    path.mkdir()
    made = GitRepo(path, user_environment(home))
    made.git("config", "--global", "user.name", "Ada")
    made.git("config", "--global", "user.email", "ada@example.com")
    made.git("config", "--global", "init.defaultBranch", "main")
    made.git("init", "--quiet")
    return made


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """An empty repository on branch main, of a user with a name and nothing else configured."""
    return make_repository(tmp_path)
