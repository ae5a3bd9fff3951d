"""Which format is chosen, and what a third-party plug-in may do."""

from __future__ import annotations

import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

from git_theta.formats import FORMATS, BytesSource, Scan, scan
from git_theta.formats.registry import UnknownFormat, opaque
from tests.contract.format_samples import npy_little_endian, npz_stored, pytorch_zip, torch_file

PLUGIN = """
from git_theta.model import Group, Layout, Span

def sniff(source):
    return source.size >= 4 and source.read(0, 4) == b"TOY!"

def scan(source):
    length = source.size - 4 + (source.read(source.size - 1, 1) == b"?")
    return Layout("toy", source.size, (Span(4, length, (Group("w", "uint8", (length,)),)),))
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real distribution that provides the format ``toy``."""
    (tmp_path / "toy_format.py").write_text(PLUGIN)
    info = tmp_path / "toy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[git_theta.formats]\ntoy = toy_format\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.modules.pop("toy_format", None)


def test_format_names_are_pinned_because_manifests_hold_them() -> None:
    assert list(FORMATS) == ["safetensors", "gguf", "npy", "pytorch-zip", "npz", "pytorch-legacy"]


@pytest.mark.usefixtures("toy")
def test_a_plugin_is_asked_after_the_built_in_formats() -> None:
    result = scan(BytesSource(b"TOY!data"))
    assert (result.layout.format, result.warning) == ("toy", None)
    assert scan(BytesSource(npy_little_endian().data)).layout.format == "npy"


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", ["Toy", "toy model", "", "toy\\n", "1toy"])
def test_a_plugin_cannot_bring_a_name_that_no_manifest_can_hold(tmp_path: Path, name: str) -> None:
    module = tmp_path / "toy_format.py"
    module.write_text(module.read_text().replace('Layout("toy"', f'Layout("{name}"'))
    sys.modules.pop("toy_format", None)
    invalidate_caches()
    result = scan(BytesSource(b"TOY!data"))
    assert result.layout == opaque(8)
    assert result.warning is not None
    assert "the format is called" in result.warning


@pytest.mark.usefixtures("toy")
def test_a_plugin_can_be_forced() -> None:
    assert scan(BytesSource(b"data of another kind"), forced="toy").layout.format == "toy"


@pytest.mark.usefixtures("toy")
def test_a_plugin_whose_spans_leave_the_file_is_not_believed() -> None:
    result = scan(BytesSource(b"TOY!data?"))
    assert result.layout == opaque(9)
    assert "toy" in str(result.warning)


def test_a_format_nobody_provides_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(UnknownFormat, match="'toy'") as caught:
        scan(BytesSource(b"TOY!data"), forced="toy")
    assert "safetensors" in str(caught.value.hint)
    assert "opaque" in str(caught.value.hint)


def test_opaque_can_be_forced_on_a_file_that_is_readable() -> None:
    data = npy_little_endian().data
    assert scan(BytesSource(data), forced="opaque") == Scan(opaque(len(data)))


def test_npz_and_pytorch_zip_are_told_apart() -> None:
    assert scan(BytesSource(npz_stored().data)).layout.format == "npz"
    assert scan(BytesSource(pytorch_zip().data)).layout.format == "pytorch-zip"
    assert scan(BytesSource(torch_file({}))).layout.format == "pytorch-zip"
