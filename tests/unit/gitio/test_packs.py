"""New objects by the pack: Git has every one, byte for byte, under the id it was said to have."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_theta.gitio import packs
from git_theta.gitio.objects import MissingGitObject, Objects, id_width
from git_theta.gitio.packs import Ids, Packer

CONTENTS = [b"", b"x", b"fifteen bytes..", b"sixteen bytes...", bytes(2047), bytes(2048), b"\0\xff" * 100_000]
"""Sizes around every step of the header's size field."""


@pytest.fixture(params=["sha1", "sha256"])
def root(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    root = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", f"--object-format={request.param}", str(root)], check=True)
    return root


@pytest.fixture
def packer(root: Path) -> Iterator[Packer]:
    packer = Packer(root, root / ".git" / "theta" / "tmp", id_width(root))
    yield packer
    packer.close()


def scratch_files(root: Path) -> list[Path]:
    return list((root / ".git" / "theta" / "tmp").iterdir())


def test_every_object_is_there_as_it_was_given(root: Path, packer: Packer) -> None:
    added = {packer.add(b"blob", content): content for content in CONTENTS}
    packer.flush()
    objects = Objects(root)
    assert {oid: objects.get(oid) for oid in added} == {oid: (b"blob", content) for oid, content in added.items()}
    objects.close()
    subprocess.run(["git", "fsck", "--strict"], cwd=root, check=True, capture_output=True)
    assert scratch_files(root) == []


def test_ids_are_gits_own(root: Path, packer: Packer) -> None:
    asked = subprocess.run(["git", "hash-object", "--stdin"], cwd=root, input=b"some", capture_output=True, check=True)
    oid = asked.stdout.decode().strip()
    assert (packer.add(b"blob", b"some"), Ids(id_width(root)).add(b"blob", b"some")) == (oid, oid)


def test_the_same_object_twice_is_stored_once(root: Path, packer: Packer) -> None:
    oid = packer.add(b"blob", b"twice")
    assert packer.add_blob(5, [b"tw", b"ice"]) == packer.add(b"blob", b"twice") == oid
    assert packer.add_blob(5, [b"other"]) != oid
    packer.flush()
    counted = subprocess.run(["git", "count-objects", "-v"], cwd=root, capture_output=True, check=True)
    assert b"in-pack: 2\n" in counted.stdout


def test_a_scratch_file_that_is_long_enough_becomes_a_pack(
    root: Path, packer: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_SIZE", 1000)
    oids = [packer.add(b"blob", bytes(str(number) * 300, "ascii")) for number in range(200)]
    packer.flush()
    assert len(list((root / ".git" / "objects" / "pack").glob("*.pack"))) > 1
    objects = Objects(root)
    assert {objects.size(oid) for oid in oids} == {300, 600, 900}
    objects.close()


def test_nothing_reaches_git_without_flush(root: Path, packer: Packer) -> None:
    oid = packer.add(b"blob", b"not yet")
    packer.close()
    packer.flush()
    objects = Objects(root)
    with pytest.raises(MissingGitObject):
        objects.get(oid)
    objects.close()


def test_a_large_blob_passes_in_and_out_without_being_held(root: Path, packer: Packer) -> None:
    block = bytes(range(256)) * 4096  # 1 MiB
    tracemalloc.start()
    oid = packer.add_blob(40 << 20, (block for _ in range(40)))
    packer.flush()
    objects = Objects(root)
    target = memoryview(bytearray(1 << 20))
    with objects.stream(oid) as content:
        read = 0
        while count := content.readinto(target):
            assert target[:count] == block[:count]
            read += count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    objects.close()
    assert read == 40 << 20
    assert peak < 8 << 20


def test_a_stream_left_early_disturbs_no_later_question(root: Path, packer: Packer) -> None:
    large, small = packer.add_blob(3 << 20, [bytes(3 << 20)]), packer.add(b"blob", b"small")
    packer.flush()
    objects = Objects(root)
    assert objects.head(large, 4) == bytes(4)
    with pytest.raises(KeyError), objects.stream(large):
        raise KeyError
    with objects.stream(small) as content:
        assert content.size == 5
    assert objects.get(small) == (b"blob", b"small")
    objects.close()
