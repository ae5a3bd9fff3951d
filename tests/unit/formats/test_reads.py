"""A scan reads headers and never tensors: what it reads is compared with Git's stream later, and costs time."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from git_theta.formats import BytesSource, scan
from tests.contract.format_samples import gguf, npy, torch_file

ARRAY = np.ones((1 << 20,), "<f4")


@dataclass(frozen=True)
class Recorder:
    """A source that remembers what was read."""

    source: BytesSource
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.source.size

    def read(self, start: int, length: int) -> bytes:
        self.reads.append((start, length))
        return self.source.read(start, length)


def safetensors_file() -> bytes:
    from safetensors.numpy import save

    return bytes(save({"a": ARRAY, "b": ARRAY}))


def npz_file() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=ARRAY, b=ARRAY)
    return buffer.getvalue()


def torch_state(zipped: bool) -> bytes:
    import torch

    return torch_file({"a": torch.from_numpy(ARRAY), "b": torch.from_numpy(ARRAY)}, zipped)


FILES: dict[str, tuple[Callable[[], bytes], int]] = {
    "safetensors": (safetensors_file, 64),
    "npy": (lambda: npy(ARRAY), 64),
    "npz": (npz_file, 64),
    "gguf": (lambda: gguf({"a": ARRAY, "b": ARRAY}), 1 << 16),
    "pytorch-zip": (lambda: torch_state(True), 64),
    "pytorch-legacy": (lambda: torch_state(False), 1 << 20),
    "opaque": (lambda: bytes(1 << 22), 1 << 10),
}
"""A file of each format, and how many bytes of its tensors may be touched."""


@pytest.mark.parametrize("name", FILES)
def test_a_scan_leaves_tensors_unread(name: str) -> None:
    build, allowed = FILES[name]
    source = Recorder(BytesSource(build()))
    layout = scan(source).layout
    assert layout.format == name
    touched = sum(
        max(0, min(span.end, start + length) - max(span.start, start))
        for span in layout.spans
        for start, length in source.reads
    )
    assert touched <= allowed
