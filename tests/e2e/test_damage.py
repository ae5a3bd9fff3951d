"""Objects gone or wrong: Git's commands still finish, no wrong byte is written, the message says what to do."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import MODEL, noise, object_path, objects, restored, track_checkpoints


def model(seed: int) -> bytes:
    """A large group with an object of its own, and two small ones that share theirs with the skeleton."""
    from safetensors.numpy import save

    groups = {"big": noise("big", seed, 300_000), "s": noise("s", seed), "t": noise("t", seed)}
    content: bytes = save(groups, metadata={"seed": str(seed)})
    return content


WHOLE, BROKEN = model(0), model(1)


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def flipped(path: Path) -> None:
    """One bit, in the middle of the encoded values, where only a digest can tell."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flipped_silently(path: Path) -> None:
    """As a failing disk does it: the file's status tells nothing."""
    before = path.stat()
    flipped(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


Harm = Callable[[Path], None]
HARMS: list[Harm] = [missing, truncated, flipped, flipped_silently, emptied]
COMMANDS = {
    "checkout": ("checkout", "broken"),
    "switch detached": ("switch", "--detach", "broken"),
    "restore": ("restore", "--source=broken", "--", MODEL),
    "reset hard": ("reset", "--hard", "broken"),
    "stash pop": ("stash", "pop"),
    "merge": ("merge", "--no-edit", "broken"),
    "rebase": ("rebase", "main", "broken"),
    "cherry-pick": ("cherry-pick", "broken"),
    "revert": ("revert", "--no-edit", "undo"),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """On main with the whole checkpoint; branch ``broken``, a stash, and a revert of ``undo`` lead to the other one."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("pristine")))
    repo.write(MODEL, WHOLE)
    repo.commit("whole")
    repo.git("checkout", "--quiet", "-b", "broken")
    repo.write(MODEL, BROKEN)
    repo.commit("broken")
    repo.git("checkout", "--quiet", "-b", "undo")
    repo.write(MODEL, WHOLE)
    repo.commit("back to whole")
    repo.git("checkout", "--quiet", "main")
    repo.write(MODEL, BROKEN)
    repo.git("stash")
    repo.write("notes.txt", b"notes\n")
    repo.commit("main moves on")
    return repo


def objects_of(repo: GitRepo, revision: str) -> list[str]:
    """The oids that the model's manifest lists."""
    manifest = repo.git("cat-file", "blob", f"{revision}:{MODEL}")
    return [line.split()[1] for line in manifest.splitlines() if line.startswith("object ")]


def each_harmed(
    pristine: GitRepo, harm: Harm, folder: Path, revision: str = "broken", turn: int | None = None
) -> Iterator[tuple[GitRepo, str]]:
    """For each object of ``revision``, a copy of the repository with that object harmed, and its oid.

    Where two objects differ no more than in their turn, ``turn`` chooses one.
    """
    oids = objects_of(pristine, revision)
    assert len(oids) == 2
    for oid in oids if turn is None else [oids[turn % 2]]:
        copy = pristine.at(folder / oid[:12])
        shutil.copytree(pristine.path, copy.path, symlinks=True)
        path = object_path(copy, oid)
        path.chmod(0o644)
        harm(path)
        yield copy, oid


def placeholder(repo: GitRepo) -> bytes:
    """The manifest that stands for the broken checkpoint."""
    return repo.run("git", "cat-file", "blob", f"broken:{MODEL}").stdout


def repair(repo: GitRepo, pristine: GitRepo, oid: str) -> None:
    """Bring a good copy of the object, as a fetch does."""
    target = object_path(repo, oid)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copyfile(object_path(pristine, oid), target)


def check_message(said: str, oid: str) -> None:
    """One line names file, group and object, and what went wrong; a hint follows."""
    (line,) = {line for line in said.splitlines() if line.startswith("git-theta: ")}
    assert line.startswith(f"git-theta: {MODEL}: group ")
    assert any(f"group {group}" in line for group in ("'big'", "'s'", "'t'", "'(skeleton)'"))
    assert oid in line
    assert "\nhint: " in said


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_git_finishes_with_a_placeholder_says_why_and_the_remedy_works(
    pristine: GitRepo, tmp_path: Path, command: tuple[str, ...], harm: Harm
) -> None:
    """Checkout meets each object with each harm; the other commands take turns, so that each meets both objects."""
    at = list(COMMANDS.values()).index(command)
    for repo, oid in each_harmed(pristine, harm, tmp_path, turn=at + HARMS.index(harm) if at else None):
        if command[0] == "revert":
            repo.git("checkout", "--quiet", "undo")
        said = repo.run("git", *command).stderr.decode()
        assert repo.read(MODEL) == placeholder(repo)
        check_message(said, oid)
        repair(repo, pristine, oid)
        repo.theta("checkout")
        assert repo.read(MODEL) == BROKEN
        assert repo.git("status", "--porcelain") == (f" M {MODEL}" if command[0] in ("restore", "stash") else "")


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_clone_that_shares_the_store_finishes_with_a_placeholder(
    pristine: GitRepo, tmp_path: Path, harm: Harm
) -> None:
    for repo, oid in each_harmed(pristine, harm, tmp_path):
        storage = repo.path / ".git" / "theta"
        target = tmp_path / f"clone {oid[:12]}"
        command: list[str | Path] = [
            "clone",
            "--branch=broken",
            f"--config=theta.storage={storage}",
            repo.path.as_uri(),
            target,
        ]
        said = repo.run("git", *command).stderr.decode()
        clone = repo.at(target)
        assert clone.read(MODEL) == placeholder(repo)
        check_message(said, oid)
        assert clone.git("status", "--porcelain") == ""


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_fsck_finds_what_is_wrong_and_whom_it_concerns(pristine: GitRepo, tmp_path: Path, harm: Harm) -> None:
    for repo, oid in each_harmed(pristine, harm, tmp_path):
        report = repo.theta("fsck", code=5 if harm is missing else 4)
        assert oid in report
        assert MODEL in report
        if harm is not missing:
            assert not object_path(repo, oid).exists()
            assert (repo.path / ".git" / "theta" / "corrupt" / oid).exists()
        repair(repo, pristine, oid)
        assert "all good" in repo.theta("fsck")


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_work_goes_on_beside_a_placeholder(pristine: GitRepo, tmp_path: Path, harm: Harm) -> None:
    for repo, oid in each_harmed(pristine, harm, tmp_path):
        repo.git("checkout", "--quiet", "broken")
        repo.git("commit", "--allow-empty", "--all", "-m", "nothing changed")
        assert repo.run("git", "cat-file", "blob", f"HEAD:{MODEL}").stdout == placeholder(repo)
        repo.git("stash", "--include-untracked")
        repo.git("checkout", "--quiet", "main")
        assert repo.read(MODEL) == WHOLE
        assert oid not in repo.run("git", "add", "--renormalize", ".").stderr.decode()


@pytest.mark.parametrize("harm", [missing, truncated, flipped, emptied], ids=lambda harm: harm.__name__)
def test_adding_the_file_again_heals_the_store(pristine: GitRepo, tmp_path: Path, harm: Harm) -> None:
    """Silent damage is not in the list: only fsck, which reads every byte, can know of it."""
    for repo, _ in each_harmed(pristine, harm, tmp_path, "HEAD"):
        repo.git("add", "--renormalize", MODEL)
        repo.git("commit", "--allow-empty", "-m", "healed")
        assert restored(repo) == WHOLE
        assert "all good" in repo.theta("fsck") or harm is not missing


def test_adding_the_file_again_heals_silent_damage_that_fsck_found(pristine: GitRepo, tmp_path: Path) -> None:
    for repo, _ in each_harmed(pristine, flipped_silently, tmp_path, "HEAD"):
        repo.theta("fsck", code=4)
        repo.git("add", "--renormalize", MODEL)
        repo.git("commit", "--allow-empty", "-m", "healed")
        assert restored(repo) == WHOLE


def test_an_archive_of_a_damaged_checkpoint_holds_its_manifest(pristine: GitRepo, tmp_path: Path) -> None:
    for repo, oid in each_harmed(pristine, flipped, tmp_path):
        done = repo.run("git", "archive", "--format=tar", "broken", MODEL)
        check_message(done.stderr.decode(), oid)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            found = tar.extractfile(MODEL)
            assert found is not None
            assert found.read() == placeholder(repo)


def test_theta_missing_fail_makes_git_fail_and_names_the_object(pristine: GitRepo, tmp_path: Path) -> None:
    for repo, oid in each_harmed(pristine, missing, tmp_path):
        repo.git("config", "theta.missing", "fail")
        done = repo.run("git", "checkout", "broken", code=128)
        check_message(done.stderr.decode(), oid)
        repo.git("reset", "--quiet", "--hard")
        assert repo.read(MODEL) == WHOLE


def test_silent_damage_in_a_file_too_long_to_check_first_stops_git_once_and_then_leaves_a_placeholder(
    repo: GitRepo,
) -> None:
    """Above 64 MB smudge believes what was verified here and checks while Git reads; Git then throws the bytes away."""
    content = np.zeros((68 << 20) // 4, "<f4")
    content[:: 1 << 20] = noise("long", 0, 17)
    track_checkpoints(repo)
    with open(repo.path / "long.npz", "wb") as file:
        np.savez(file, long=content)
    before = repo.read("long.npz")
    repo.commit("long")
    largest = max(objects(repo), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    flipped_silently(largest)
    (repo.path / "long.npz").unlink()
    done = repo.run("git", "checkout", "--", "long.npz", code=128)
    assert b"git-theta: long.npz: group 'long' " in done.stderr
    assert not (repo.path / "long.npz").exists()
    said = repo.run("git", "checkout", "--", "long.npz").stderr.decode()
    assert "git-theta: long.npz: group 'long' " in said
    assert repo.read("long.npz") == repo.run("git", "cat-file", "blob", "HEAD:long.npz").stdout
    repo.write("long.npz", before)
    repo.git("add", "--renormalize", "long.npz")
    assert restored(repo, "long.npz") == before
