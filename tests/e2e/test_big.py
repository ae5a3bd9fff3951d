"""One group of three gigabytes through real Git, while our own process stays small."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e.support import MODEL, is_manifest, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="measures memory as POSIX does")]

SIZE = 3 << 30
MEMORY = 250 << 20
BLOCK = 64 << 20
_MEASURE = Path(__file__).with_name("measure.py")


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """A repository that tracks checkpoints, with room for 3 GB and more."""
    free = shutil.disk_usage(repo.path).free
    if free < 2 * SIZE:
        pytest.skip(f"needs {2 * SIZE >> 30} GB of free disk, found {free >> 30}")
    return track_checkpoints(repo)


def blocks() -> Iterator[bytes]:
    """The group's bytes: zeros, but for some noise in every block, so that nothing is stored once for all."""
    random = np.random.default_rng(5)
    for _ in range(SIZE // BLOCK):
        yield random.bytes(4096) + bytes(BLOCK - 4096)


def header() -> bytes:
    text = json.dumps({"big": {"dtype": "F32", "shape": [SIZE // 4], "data_offsets": [0, SIZE]}}).encode()
    return struct.pack("<Q", len(text)) + text


def write_model(path: Path) -> None:
    """A safetensors file with one group; the zeros are holes and take no disk."""
    with open(path, "wb") as file:
        file.write(header())
        for block in blocks():
            file.write(block[:4096])
            file.seek(BLOCK - 4096, os.SEEK_CUR)
        file.truncate(len(header()) + SIZE)


def is_model(path: Path) -> bool:
    """Whether every byte is as written."""
    with open(path, "rb") as file:
        same = file.read(len(header())) == header() and all(file.read(BLOCK) == block for block in blocks())
        return same and not file.read(1)


def measured(repo: GitRepo, *command: str) -> list[str]:
    """``command`` under a process that writes down the most memory it had."""
    return [sys.executable, str(_MEASURE), str(repo.home / "memory"), *command]


def peak(repo: GitRepo) -> int:
    """The most memory that any measured process had since the last call, in bytes."""
    notes = repo.home / "memory"
    found = max(map(int, notes.read_text().split()))
    notes.unlink()
    return found


def test_a_group_of_three_gigabytes_is_added_and_checked_out_in_little_memory(repo: GitRepo) -> None:
    write_model(repo.path / MODEL)
    repo.git("config", "filter.theta.process", "exec " + shlex.join(measured(repo, "git-theta", "filter-process")))
    repo.commit("big")
    assert is_manifest(repo.run("git", "cat-file", "blob", f"HEAD:{MODEL}").stdout)
    assert peak(repo) < MEMORY

    (repo.path / MODEL).unlink()
    repo.git("config", "--unset", "filter.theta.process")
    repo.run("git", "checkout", "--", MODEL, env={"GIT_THETA_SKIP_SMUDGE": "1"})
    assert is_manifest(repo.read(MODEL))
    repo.run(*measured(repo, "git-theta", "checkout"))
    assert peak(repo) < MEMORY
    assert is_model(repo.path / MODEL)
    assert repo.git("status", "--porcelain") == ""
