"""Files of every shape through real Git: no bytes, no groups, thousands of groups, many files, files of git-lfs."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.contract.format_samples import BUILDERS
from tests.e2e.support import (
    MODEL,
    checkpoint,
    is_manifest,
    noise,
    objects,
    restored,
    status,
    stored_bytes,
    track_checkpoints,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

GROUP = 4 * 64 * 64
"""Bytes of one group of :func:`checkpoint`."""


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """A repository that tracks checkpoints."""
    return track_checkpoints(repo)


def safetensors(groups: int) -> bytes:
    """A valid file of so many groups of three float32 each, written by hand: the library takes seconds."""
    header = {
        f"layer.{i}": {"dtype": "F32", "shape": [3], "data_offsets": [12 * i, 12 * i + 12]} for i in range(groups)
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + np.arange(3 * groups, dtype="<f4").tobytes()


def come_back(repo: GitRepo, files: dict[str, bytes]) -> None:
    """Commit all of ``files``, delete them, check them out, and compare."""
    for name, content in files.items():
        repo.write(name, content)
    repo.commit("all of them")
    assert status(repo) == ""
    for name in files:
        (repo.path / name).unlink()
    repo.git("checkout", "--", ".")
    wrong = [name for name, content in files.items() if repo.read(name) != content]
    assert wrong == []
    assert status(repo) == ""
    for name in files:
        assert is_manifest(repo.run("git", "cat-file", "blob", f"HEAD:{name}").stdout), name


def test_every_sample_of_every_format_comes_back(repo: GitRepo) -> None:
    come_back(repo, {f"{name}.ckpt": build().data for name, build in BUILDERS.items()})
    assert "all good" in repo.theta("fsck")


def test_tiny_files_come_back(repo: GitRepo) -> None:
    files = {"newline.pt": b"\n", "nul.pt": b"\0", "magic.pt": b"git-theta"}
    files |= {f"{size}.pt": bytes(range(size)) for size in (2, 7, 8, 9, 15, 16, 47, 48, 49)}
    come_back(repo, files)


def test_an_empty_file_becomes_a_checkpoint_and_empty_again(repo: GitRepo) -> None:
    for content in (b"", checkpoint(), b""):
        repo.write(MODEL, content)
        repo.commit("next")
        assert status(repo) == ""
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(MODEL) == checkpoint()
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read(MODEL) == b""


def test_an_empty_file_never_looks_modified(repo: GitRepo) -> None:
    repo.write(MODEL, b"")
    repo.commit("empty")
    repo.git("diff", "--exit-code")
    repo.git("diff-index", "--quiet", "HEAD")
    repo.git("checkout", "-q", "-b", "side")
    repo.write("b", b"b")
    repo.commit("b")
    repo.git("checkout", "-q", "main")
    repo.write("c", b"c")
    repo.commit("c")
    repo.git("merge", "-m", "both", "side")
    assert repo.read(MODEL) == b""


def test_a_checkpoint_without_groups_comes_back(repo: GitRepo) -> None:
    content = safetensors(0)
    repo.write(MODEL, content)
    repo.commit("no groups")
    assert restored(repo) == content


def test_twenty_thousand_groups_come_back(repo: GitRepo) -> None:
    content = safetensors(20_000)
    repo.write(MODEL, content)
    repo.commit("many groups")
    assert restored(repo) == content
    changed = bytearray(content)
    changed[-1] ^= 1
    repo.write(MODEL, bytes(changed))
    repo.commit("one changed")
    before, after = (repo.git("cat-file", "blob", f"{commit}:{MODEL}").splitlines() for commit in ("HEAD~1", "HEAD"))
    assert sorted(line.split()[0] for line in set(after) - set(before)) == ["group", "root"]
    assert restored(repo) == bytes(changed)
    assert "all good" in repo.theta("fsck")


def test_an_unknown_format_is_one_opaque_group(repo: GitRepo) -> None:
    content = np.random.default_rng(5).bytes(3_000_000)
    repo.write("weights.pt", content)
    done = repo.run("git", "add", "weights.pt")
    assert done.stderr.splitlines() == [
        b"git-theta: weights.pt: the content is of no known checkpoint format; stored whole as one group"
    ]
    repo.git("commit", "-m", "opaque")
    assert restored(repo, "weights.pt") == content


def test_a_file_that_breaks_its_format_is_stored_whole_with_one_line_of_warning(repo: GitRepo) -> None:
    content = checkpoint()[:-100]
    repo.write(MODEL, content)
    said = repo.run("git", "add", MODEL).stderr.decode().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"git-theta: {MODEL}: not a readable safetensors file")
    repo.git("commit", "-m", "cut off")
    assert restored(repo) == content


def test_a_sharded_checkpoint_comes_back_beside_its_plain_index(repo: GitRepo) -> None:
    shards = {
        f"model-{i:05}-of-00003.safetensors": checkpoint(layers) for i, layers in enumerate(("ab", "cd", "ef"), 1)
    }
    weight_map = {layer: name for name, layers in zip(shards, ("ab", "cd", "ef"), strict=True) for layer in layers}
    index = json.dumps({"metadata": {"total_size": 6 * GROUP}, "weight_map": weight_map}, indent=2).encode()
    repo.write("model.safetensors.index.json", index)
    come_back(repo, shards)
    assert repo.run("git", "cat-file", "blob", "HEAD:model.safetensors.index.json").stdout == index
    repo.write("model-00002-of-00003.safetensors", checkpoint("cd", d=1))
    assert status(repo) == " M model-00002-of-00003.safetensors"


def test_groups_that_two_checkpoints_share_are_stored_once(repo: GitRepo) -> None:
    repo.write("teacher.safetensors", checkpoint("abcdef"))
    repo.commit("teacher")
    before = stored_bytes(repo)
    repo.write("student.safetensors", checkpoint("abc"))
    repo.write("copy.safetensors", checkpoint("abcdef"))
    repo.commit("student and copy")
    assert stored_bytes(repo) - before < 1000
    repo.write("other.safetensors", checkpoint("abcx"))
    repo.commit("three groups and a new one")
    assert stored_bytes(repo) - before < GROUP + 1000
    assert restored(repo, "student.safetensors") == checkpoint("abc")
    assert restored(repo, "other.safetensors") == checkpoint("abcx")


def test_a_change_of_one_group_stores_that_group(repo: GitRepo) -> None:
    repo.write(MODEL, checkpoint())
    repo.commit("first")
    before = stored_bytes(repo)
    repo.write(MODEL, checkpoint(c=1))
    repo.commit("second")
    assert stored_bytes(repo) - before < GROUP + 1000


def test_the_same_values_in_another_container_are_stored_once(repo: GitRepo) -> None:
    repo.write(MODEL, checkpoint("abc"))
    repo.commit("safetensors")
    before = stored_bytes(repo)
    with open(repo.path / "model.npz", "wb") as file:
        np.savez(file, a=noise("a", 0), b=noise("b", 0), c=noise("c", 0))
    content = repo.read("model.npz")
    repo.commit("npz")
    assert stored_bytes(repo) - before < 2000
    assert restored(repo, "model.npz") == content


def test_tracking_files_that_are_committed_already_takes_effect_when_they_are_added_again(repo: GitRepo) -> None:
    repo.write("old.weights", checkpoint())
    repo.commit("plain")
    repo.git("rm", "--quiet", "--cached", "old.weights")
    repo.theta("track", "*.weights")
    repo.commit("tracked now")
    assert is_manifest(repo.run("git", "cat-file", "blob", "HEAD:old.weights").stdout)
    repo.git("checkout", "--quiet", "HEAD~1")
    assert repo.read("old.weights") == checkpoint()
    repo.git("checkout", "--quiet", "main")
    assert repo.read("old.weights") == checkpoint()
    assert status(repo) == ""


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
def test_files_of_git_lfs_live_beside_ours(repo: GitRepo) -> None:
    repo.git("lfs", "install", "--skip-repo")
    repo.git("lfs", "track", "*.bin")
    image = np.random.default_rng(3).bytes(100_000)
    repo.write("image.bin", image)
    repo.write(MODEL, checkpoint())
    repo.commit("both")
    before = objects(repo)
    repo.write("image.bin", image[::-1])
    repo.write(MODEL, checkpoint(b=1))
    repo.commit("both changed")
    assert repo.git("lfs", "ls-files", "--name-only") == "image.bin"
    assert len(objects(repo)) == len(before) + 1
    repo.git("checkout", "--quiet", "HEAD~1")
    assert (repo.read("image.bin"), repo.read(MODEL)) == (image, checkpoint())
    repo.git("lfs", "prune", "--force")
    assert restored(repo) == checkpoint()
    repo.git("checkout", "--quiet", "main")
    assert (repo.read("image.bin"), repo.read(MODEL)) == (image[::-1], checkpoint(b=1))
    assert "all good" in repo.theta("fsck")
