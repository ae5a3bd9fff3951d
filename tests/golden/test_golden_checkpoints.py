"""A manifest and an object written once, which every later version must read: change the code, never these files."""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from pathlib import Path

import pytest

from git_theta.manifest import parse, render, root
from git_theta.model import EMPTY_DIGEST, Group, Inline, Slot, View
from git_theta.store import Store
from git_theta.tensors import Reader

HERE = Path(__file__).parent
OBJECT = "9aa053250a7d63d34c57b0fc9ddc46d50d56ec55a2268b5a9f1f1a5f7723456f"


def golden_file() -> bytes:
    """The checkpoint behind ``checkpoint-1``: two matrices, one of no rows, and a counter."""
    header = json.dumps(
        {
            "embed.weight": {"dtype": "F32", "shape": [16, 4], "data_offsets": [0, 256]},
            "empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [256, 256]},
            "bias": {"dtype": "BF16", "shape": [64], "data_offsets": [256, 384]},
            "step": {"dtype": "I64", "shape": [], "data_offsets": [384, 392]},
        }
    ).encode()
    floats = struct.pack("<64f", *((-1) ** i / (i + 3) for i in range(64)))
    halves = b"".join(struct.pack("<f", 1 + i / 37)[2:] for i in range(64))
    return struct.pack("<Q", len(header)) + header + floats + halves + struct.pack("<q", 1234)


def test_a_checkpoint_stored_by_the_first_version_comes_back(tmp_path: Path) -> None:
    manifest = parse((HERE / "checkpoint-1.manifest").read_bytes())
    payload = (HERE / "checkpoint-1.object").read_bytes()
    assert sha256(payload).hexdigest() == OBJECT
    path = Store(tmp_path).path(manifest.objects[0].oid)
    path.parent.mkdir(parents=True)
    path.write_bytes(payload)
    assert b"".join(bytes(part) for part in Reader(Store(tmp_path), 2).stream(manifest)) == golden_file()


def test_its_manifest_says_what_it_said() -> None:
    manifest = parse((HERE / "checkpoint-1.manifest").read_bytes())
    assert (manifest.format, manifest.size) == ("safetensors", len(golden_file()))
    embed, empty, bias, step = manifest.entries
    assert embed.groups == (
        Group("embed.weight", "float32", (16, 4)),
        Group("lm_head.weight", "float32", (16, 4)),
        Group("embed.row", "float32", (4,), View(8, (1,))),
    )
    assert (embed.where, bias.where) == ((Slot(manifest.objects[0].oid, 0),), (Slot(manifest.objects[0].oid, 1),))
    assert (empty.digest, empty.where) == (EMPTY_DIGEST, Inline(b""))
    assert (step.name, step.where) == ("step", Inline(struct.pack("<q", 1234)))
    assert manifest.skeleton.where == (Slot(manifest.objects[0].oid, 2),)


@pytest.mark.parametrize(
    ("name", "seal"),
    [
        ("manifest-1.txt", "a3cb4e58e27469d0f050c7550fc832efa2313a135845adba12a75961c6db6d97"),
        ("checkpoint-1.manifest", "8d7ee96b782542c8f239ac9d379f03cdf3f50fc7b1d7f58ac0ce29f45461fd0c"),
    ],
)
def test_manifests_are_read_and_written_as_ever(name: str, seal: str) -> None:
    text = (HERE / name).read_bytes()
    assert root(parse(text)) == seal
    assert render(parse(text)) == text
