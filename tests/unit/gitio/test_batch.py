"""Blobs by name from one long-running git: right bytes, or None, and the next answer is always the next one's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_theta.gitio.batch import Blobs

CONTENTS = {
    "model": b"abc",
    "empty": b"",
    "a b 12": b"\n\n",
    "ünï": b"x" * 65_536,
    "long": b"0123456789abcdef" * 20_000,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    env = {**os.environ, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    root = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", root], env=env, check=True)
    for name, data in CONTENTS.items():
        (root / name).write_bytes(data)
    subprocess.run(["git", "add", "."], cwd=root, env=env, check=True)
    return root


@pytest.fixture
def blobs(root: Path) -> Iterator[Blobs]:
    blobs = Blobs(root)
    yield blobs
    blobs.close()


def test_blobs_come_by_name_in_any_order(blobs: Blobs) -> None:
    for name in [*CONTENTS, *reversed(CONTENTS)]:
        assert blobs.get(f":{name}") == CONTENTS[name]


@pytest.mark.parametrize(
    "name", ["", ":", ":absent", "HEAD:model", ":a\nb", "missing 12", "0" * 40, ":model 3", "blob 3"]
)
def test_what_is_not_there_is_none_and_nothing_is_lost(blobs: Blobs, name: str) -> None:
    assert blobs.get(name) is None
    assert not blobs.exists(name)
    assert blobs.get(":model") == b"abc"


def test_an_object_of_another_kind_is_none(blobs: Blobs, root: Path) -> None:
    tree = subprocess.run(["git", "write-tree"], cwd=root, capture_output=True, check=True).stdout.decode().strip()
    assert blobs.get(tree) is None
    assert blobs.exists(tree)
    assert blobs.get(":model") == b"abc"


def test_existence_is_told_without_losing_the_next_answer(blobs: Blobs) -> None:
    assert all(blobs.exists(f":{name}") for name in CONTENTS)
    assert blobs.get(":model") == b"abc"


@pytest.mark.parametrize("name", list(CONTENTS))
def test_a_blob_that_begins_otherwise_is_dropped(blobs: Blobs, name: str) -> None:
    heads: list[bytes] = []

    def begins(head: bytes) -> bool:
        heads.append(head)
        return False

    assert blobs.get(f":{name}", begins) is None
    assert heads == [CONTENTS[name][: 64 << 10]]
    assert blobs.get(f":{name}", lambda head: True) == CONTENTS[name]
