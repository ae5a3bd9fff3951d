"""Where a checkpoint can be: worktrees, submodules, archives, clones, odd paths, links. The same bytes everywhere."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, is_manifest, objects, restored, status, track_checkpoints

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import GitRepo

FIRST, SECOND = checkpoint(), checkpoint(b=1)

needs_symlinks = pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """A repository with one commit of the first checkpoint."""
    track_checkpoints(repo)
    repo.write(MODEL, FIRST)
    repo.commit("first")
    return repo


def bring_objects(source: GitRepo, target: GitRepo) -> None:
    """Copy the store by hand: what a user can always do."""
    place = target.path / target.git("rev-parse", "--git-common-dir")
    shutil.copytree(source.path / ".git" / "theta" / "objects", place / "theta" / "objects", dirs_exist_ok=True)


def clone_without_objects(repo: GitRepo, *options: str) -> tuple[GitRepo, str]:
    """A clone made while the store of ``repo`` was out of reach, and what Git said."""
    store = repo.path / ".git" / "theta"
    store.rename(repo.path / ".git" / "theta-away")
    done = repo.run("git", "clone", *options, repo.path.as_uri(), "../clone")
    (repo.path / ".git" / "theta-away").rename(store)
    return repo.at(repo.path.parent / "clone"), done.stderr.decode()


def test_a_linked_worktree_shares_the_store(repo: GitRepo) -> None:
    repo.git("worktree", "add", "--quiet", "-b", "topic", "../linked")
    linked = repo.at(repo.path.parent / "linked")
    assert linked.read(MODEL) == FIRST
    linked.write(MODEL, SECOND)
    linked.commit("second")
    assert len(objects(repo)) == len(objects(linked)) == 2
    repo.git("worktree", "remove", "../linked")
    repo.git("checkout", "--quiet", "topic")
    assert repo.read(MODEL) == SECOND


def test_a_submodule_keeps_its_own_checkpoints(repo: GitRepo) -> None:
    outer = repo.at(repo.path.parent / "outer")
    repo.git("init", "--quiet", outer.path)
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", repo.path.as_uri(), "models")
    outer.git("commit", "-m", "add models")
    inner = repo.at(outer.path / "models")
    assert inner.read(MODEL) == FIRST
    inner.write(MODEL, SECOND)
    inner.commit("second")
    outer.git("commit", "--all", "-m", "newer models")
    outer.git("checkout", "--quiet", "--recurse-submodules", "HEAD~1")
    assert inner.read(MODEL) == FIRST
    outer.git("checkout", "--quiet", "--recurse-submodules", "main")
    assert inner.read(MODEL) == SECOND
    assert outer.git("status", "--porcelain") == ""
    assert not objects(outer)


def test_git_archive_holds_the_checkpoint(repo: GitRepo) -> None:
    repo.write(MODEL, SECOND)
    archive = repo.run("git", "archive", "--format=tar", "HEAD").stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = tar.extractfile(MODEL)
        assert found is not None
        assert found.read() == FIRST


def test_sparse_checkout_removes_and_brings_back(repo: GitRepo) -> None:
    repo.write(f"big/{MODEL}", SECOND)
    repo.write("small/notes.txt", b"notes\n")
    repo.commit("two folders")
    repo.git("sparse-checkout", "set", "small")
    assert not (repo.path / "big").exists()
    assert status(repo) == ""
    repo.git("sparse-checkout", "add", "big")
    assert repo.read(f"big/{MODEL}") == SECOND
    repo.git("sparse-checkout", "disable")
    assert repo.read(MODEL) == FIRST
    assert status(repo) == ""


@pytest.mark.parametrize(
    "name",
    [
        "a b/with  spaces.safetensors",
        "größe/模型-🤖.safetensors",
        'it\'s "quoted" $HOME;`x`.safetensors',
        "-dash=equals.safetensors",
        "1:colon %f.safetensors",
        "#hash[1]*.safetensors",
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows allows few of these names")
def test_any_path_works(repo: GitRepo, name: str) -> None:
    repo.write(name, FIRST)
    repo.commit("first of the name", f":(literal){name}")
    before = objects(repo)
    repo.write(name, SECOND)
    repo.commit("second of the name", f":(literal){name}")
    assert len(objects(repo)) == len(before) + 1
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(name) == FIRST
    repo.git("checkout", "--quiet", "main")
    assert repo.read(name) == SECOND
    assert status(repo) == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows does not allow the name")
def test_a_newline_in_a_path_works(repo: GitRepo) -> None:
    name = "two\nlines.safetensors"
    repo.write(name, SECOND)
    repo.commit("a newline")
    assert restored(repo, name) == SECOND


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows demand Unicode names")
def test_a_path_that_is_not_unicode_works(repo: GitRepo) -> None:
    path = os.fsencode(repo.path) + b"/caf\xe9.safetensors"
    with open(path, "wb") as file:
        file.write(SECOND)
    repo.commit("latin-1")
    os.unlink(path)
    repo.git("checkout", "--", ".")
    with open(path, "rb") as file:
        assert file.read() == SECOND
    assert status(repo) == ""


def test_git_works_from_within_a_subdirectory(repo: GitRepo) -> None:
    name = "deep/down/model.safetensors"
    repo.write(name, FIRST)
    repo.git("add", "model.safetensors", cwd="deep/down")
    repo.git("commit", "-m", "deep", cwd="deep/down")
    repo.write(name, SECOND)
    repo.git("commit", "-a", "-m", "deeper", cwd="deep")
    repo.git("checkout", "HEAD~1", "--", "down/model.safetensors", cwd="deep")
    assert repo.read(name) == FIRST
    repo.git("restore", "--staged", "--worktree", ".", cwd="deep/down")
    assert repo.read(name) == SECOND
    assert status(repo) == ""


def test_git_works_from_outside_with_its_directories_named(repo: GitRepo, tmp_path: Path) -> None:
    repo.write(MODEL, SECOND)
    named = [f"--git-dir={repo.path / '.git'}", f"--work-tree={repo.path}"]
    repo.git(*named, "add", MODEL, cwd=repo.home)
    repo.git(*named, "commit", "-m", "second", cwd=repo.home)
    assert restored(repo) == SECOND


def test_a_read_only_checkpoint_is_added_and_replaced(repo: GitRepo) -> None:
    (repo.path / MODEL).unlink()
    repo.write(MODEL, SECOND).chmod(0o444)
    repo.commit("second")
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(MODEL) == FIRST
    repo.git("checkout", "--quiet", "main")
    assert repo.read(MODEL) == SECOND


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_the_executable_bit_is_kept(repo: GitRepo) -> None:
    (repo.path / MODEL).chmod(0o755)
    repo.commit("executable")
    assert restored(repo) == FIRST
    assert (repo.path / MODEL).stat().st_mode & 0o111


@needs_symlinks
def test_a_symbolic_link_to_a_checkpoint_stays_a_link(repo: GitRepo) -> None:
    link = repo.path / "latest.safetensors"
    link.symlink_to(MODEL)
    before = objects(repo)
    repo.commit("a link")
    assert repo.git("cat-file", "blob", "HEAD:latest.safetensors") == MODEL
    assert objects(repo) == before
    link.unlink()
    repo.git("checkout", "--", "latest.safetensors")
    assert link.is_symlink()
    assert link.read_bytes() == FIRST


@needs_symlinks
def test_a_checkpoint_replaced_by_a_link_and_back(repo: GitRepo) -> None:
    (repo.path / MODEL).unlink()
    (repo.path / MODEL).symlink_to(".gitattributes")
    repo.commit("now a link")
    repo.git("checkout", "--quiet", "HEAD~1")
    assert not (repo.path / MODEL).is_symlink()
    assert repo.read(MODEL) == FIRST


@needs_symlinks
def test_a_repository_reached_through_a_link_works(repo: GitRepo) -> None:
    link = repo.path.parent / "link"
    link.symlink_to(repo.path, target_is_directory=True)
    through = repo.at(link)
    through.write(MODEL, SECOND)
    through.commit("second")
    assert restored(through) == SECOND


def test_a_clone_without_objects_finishes_with_placeholders_and_says_so(repo: GitRepo) -> None:
    clone, said = clone_without_objects(repo)
    assert clone.run("git", "cat-file", "blob", f"HEAD:{MODEL}").stdout == clone.read(MODEL)
    assert status(clone) == ""
    (oid,) = [path.name for path in objects(repo)]
    assert MODEL in said
    assert "group '" in said
    assert oid in said
    assert "hint:" in said


def test_a_clone_without_objects_works_on_and_completes_once_they_come(repo: GitRepo) -> None:
    clone, _ = clone_without_objects(repo)
    clone.git("checkout", "--quiet", "-b", "topic")
    clone.write("notes.txt", b"notes\n")
    clone.commit("placeholders do not stop work")
    assert clone.git("diff", "--name-only", "main", "topic") == "notes.txt"
    bring_objects(repo, clone)
    assert restored(clone) == FIRST
    assert status(clone) == ""


def test_a_bare_clone_archives_checkpoints_once_it_has_the_objects(repo: GitRepo) -> None:
    repo.git("clone", "--quiet", "--bare", repo.path.as_uri(), "../bare.git")
    bare = repo.at(repo.path.parent / "bare.git")
    bring_objects(repo, bare)
    archive = bare.run("git", "archive", "--format=tar", "HEAD", MODEL).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = tar.extractfile(MODEL)
        assert found is not None
        assert found.read() == FIRST


@pytest.mark.parametrize("option", ["--depth=1", "--filter=blob:none"])
def test_shallow_and_partial_clones_need_objects_and_no_history(repo: GitRepo, option: str) -> None:
    repo.write(MODEL, SECOND)
    repo.commit("second")
    repo.git("config", "uploadpack.allowFilter", "true")
    clone, _ = clone_without_objects(repo, option)
    bring_objects(repo, clone)
    assert restored(clone) == SECOND
    assert status(clone) == ""


@pytest.mark.parametrize(
    ("setting", "value"), [("core.splitIndex", "true"), ("index.version", "4"), ("index.skipHash", "true")]
)
def test_theta_checkout_completes_placeholders_with_any_kind_of_index(repo: GitRepo, setting: str, value: str) -> None:
    repo.git("config", setting, value)
    repo.write(f"more/{MODEL}", SECOND).chmod(0o755)
    repo.commit("second")
    repo.run("git", "checkout", "--quiet", "HEAD~1", env={"GIT_THETA_SKIP_SMUDGE": "1"})
    repo.run("git", "checkout", "--quiet", "main", env={"GIT_THETA_SKIP_SMUDGE": "1"})
    assert is_manifest(repo.read(f"more/{MODEL}"))
    repo.theta("checkout")
    assert repo.read(f"more/{MODEL}") == SECOND
    assert repo.git("status", "--porcelain") == ""
    assert repo.git("fsck", "--no-progress") == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows counts whole paths")
def test_theta_checkout_writes_a_file_with_the_longest_name(repo: GitRepo) -> None:
    name = "模" * 81 + ".safetensors"
    repo.write(name, SECOND)
    repo.commit("a long name")
    (repo.path / name).unlink()
    repo.theta("checkout")
    assert repo.read(name) == SECOND
    assert status(repo) == ""
