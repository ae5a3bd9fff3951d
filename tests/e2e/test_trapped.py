"""What once trapped Git, or wrote where it must not: damaged manifests, line ends, and a worktree elsewhere."""

from __future__ import annotations

import os

from tests.e2e.conftest import GitRepo

CONTENT = bytes(range(256)) * 20


def committed(repo: GitRepo) -> None:
    repo.theta("install")
    repo.theta("track", "*.bin")
    repo.write("m.bin", CONTENT)
    repo.commit("good")


def test_checkout_writes_to_the_worktree_git_names_and_never_into_git_s_own_folder(repo: GitRepo) -> None:
    repo.theta("install")
    repo.write(".gitattributes", b"* filter=theta\n.gitattributes -filter\n")
    repo.write("hooks/pre-commit", b"#!/bin/sh\necho run\n")
    repo.commit("a tracked folder called hooks")
    elsewhere, other = repo.path.parent / "elsewhere", repo.path.parent / "other"
    elsewhere.mkdir()
    other.mkdir()
    before = sorted(path.name for path in (repo.path / ".git" / "hooks").iterdir())
    there = repo.at(other)
    there.git(f"--git-dir={repo.path}/.git", f"--work-tree={elsewhere}", "theta", "checkout")
    assert sorted(path.name for path in (repo.path / ".git" / "hooks").iterdir()) == before
    assert (elsewhere / "hooks" / "pre-commit").read_bytes() == b"#!/bin/sh\necho run\n"


def test_inside_git_s_own_folder_nothing_is_written(repo: GitRepo) -> None:
    committed(repo)
    done = repo.run("git", "theta", "checkout", "--force", cwd=".git", code=None)
    assert done.returncode != 0
    assert not (repo.path / ".git" / "m.bin").exists()


def test_a_committed_damaged_manifest_does_not_stop_git(repo: GitRepo) -> None:
    committed(repo)
    damaged = repo.run("git", "cat-file", "blob", "HEAD:m.bin").stdout.replace(b"size 5120", b"size 5119")
    blob = repo.run("git", "hash-object", "-w", "--no-filters", "--stdin", stdin=damaged).stdout.decode().strip()
    repo.git("checkout", "-q", "-b", "bad")
    repo.git("update-index", "--cacheinfo", f"100644,{blob},m.bin")
    repo.git("commit", "-qm", "bad")
    repo.git("checkout", "-qf", "main")
    repo.git("checkout", "-q", "bad")
    os.utime(repo.path / "m.bin", (1, 1))
    assert repo.git("status", "--porcelain") == ""
    assert "(the manifest" in repo.git("log", "-p", "bad")
    assert "(the manifest" in repo.git("diff", "main", "bad")
    repo.git("checkout", "-q", "main")
    assert repo.read("m.bin") == CONTENT
    repo.write("m.bin", damaged)
    repo.run("git", "add", "m.bin", code=128)
    assert repo.git("ls-files", "-s", "m.bin").split()[1] != blob


def test_a_manifest_with_converted_line_ends_is_the_same_manifest(repo: GitRepo) -> None:
    committed(repo)
    repo.write("sub/.gitattributes", b"* text=auto eol=crlf\n")
    repo.write("sub/m.bin", CONTENT[::-1])
    repo.commit("converted")
    (repo.path / "sub/m.bin").unlink()
    repo.git("checkout", "--", "sub/m.bin")
    assert repo.read("sub/m.bin") == CONTENT[::-1]
    assert repo.git("status", "--porcelain") == ""
    skipped = repo.at(repo.path, GIT_THETA_SKIP_SMUDGE="1")
    (repo.path / "sub/m.bin").unlink()
    skipped.git("checkout", "--", "sub/m.bin")
    assert repo.read("sub/m.bin").startswith(b"git-theta manifest 1\r\n")
    assert repo.git("status", "--porcelain") == ""
    repo.theta("checkout")
    assert repo.read("sub/m.bin") == CONTENT[::-1]
