"""What the tests of push and clone share: a team's first repository, remotes of every kind, clones.

What always holds: git-lfs tries twice at most and never waits long between, so a fault costs a test no time; a
clone here is made by the same user in a folder beside the repository.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.e2e.conftest import GitRepo, user_environment
from tests.e2e.support import MODEL, PATTERNS, checkpoint, is_manifest, object_path, objects, status

SKIP = {"GIT_THETA_SKIP_SMUDGE": "1"}
OBJECTS_REF = "refs/theta/objects"


def start(repo: GitRepo, content: bytes | None = None) -> GitRepo:
    """``repo``, whatever is configured in it, with one commit of one checkpoint on main."""
    if (repo.path / MODEL).exists():
        return repo if content is None else _start_over(repo, content)
    repo.git("config", "--global", "lfs.transfer.maxretries", "2")
    repo.git("config", "--global", "lfs.transfer.maxretrydelay", "1")
    repo.theta("install", "--global")
    repo.theta("track", *PATTERNS)
    repo.commit("track checkpoints")
    repo.write(MODEL, content or checkpoint())
    repo.commit("first")
    return repo


def _start_over(repo: GitRepo, content: bytes) -> GitRepo:
    """Another first checkpoint in a repository of :func:`duplicate`, as if there had never been one."""
    repo.git("reset", "--quiet", "--soft", "HEAD~1")
    shutil.rmtree(repo.path / ".git" / "theta")
    repo.write(MODEL, content)
    repo.commit("first")
    return repo


def duplicate(repo: GitRepo, folder: Path) -> GitRepo:
    """The same repository and the same user in another folder: faster than to start anew."""
    shutil.copytree(repo.home, folder / "home")
    shutil.copytree(repo.path, folder / "repo", symlinks=True)
    return GitRepo(folder / "repo", user_environment(folder / "home"))


def change(repo: GitRepo, seed: int = 1) -> bytes:
    """Commit the checkpoint with other values in its first group; returns its bytes."""
    content = checkpoint(a=seed)
    repo.write(MODEL, content)
    repo.commit(f"change {seed}")
    return content


def bare(repo: GitRepo, name: str = "origin") -> GitRepo:
    """An empty bare repository on a path beside ``repo``, which becomes a remote of that name."""
    there = repo.at(repo.path.parent / f"{name}.git")
    there.path.mkdir()
    there.git("init", "--quiet", "--bare")
    repo.git("remote", "add", name, there.path)
    return there


def attempt(repo: GitRepo, *command: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run git, whatever becomes of it."""
    return repo.run("git", *command, code=None, env=env)


def clone(repo: GitRepo, address: str | Path, name: str, *options: str, **env: str) -> GitRepo:
    """A clone beside ``repo``; fails unless git is content."""
    repo.run("git", "clone", "--quiet", *options, str(address), name, cwd="..", env=env)
    return repo.at(repo.path.parent / name)


def oids(repo: GitRepo) -> set[str]:
    """The names of all objects in the repository's store."""
    return {path.name for path in objects(repo)}


def there(bare: GitRepo) -> list[Path]:
    """Every object in a bare repository's store."""
    return sorted(path for path in (bare.path / "theta" / "objects").rglob("*") if path.is_file())


def pointers(repo: GitRepo, address: str) -> dict[str, int]:
    """What the remote's ref of pointers names: oid to size."""
    repo.git("fetch", "--quiet", address, f"+{OBJECTS_REF}:refs/test/objects")
    names = repo.git("ls-tree", "-r", "--name-only", "refs/test/objects").splitlines()
    found = {}
    for name in names:
        text = repo.git("cat-file", "blob", f"refs/test/objects:{name}")
        version, oid, size = text.splitlines()
        assert version == "version https://git-lfs.github.com/spec/v1"
        assert oid == f"oid sha256:{name.rpartition('/')[2]}"
        found[oid.removeprefix("oid sha256:")] = int(size.removeprefix("size "))
    repo.git("update-ref", "-d", "refs/test/objects")
    return found


def lose(repo: GitRepo, oid: str) -> None:
    """Take an object away from the repository's store."""
    object_path(repo, oid).unlink()


def check_whole(repo: GitRepo, content: bytes, name: str = MODEL) -> None:
    """The worktree has this checkpoint and Git sees no change."""
    assert repo.read(name) == content
    assert status(repo) == ""


def check_placeholder(repo: GitRepo, name: str = MODEL) -> None:
    """The worktree has the manifest for now, and Git sees no change."""
    assert is_manifest(repo.read(name))
    assert status(repo) == ""
