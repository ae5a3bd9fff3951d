"""A frame that stays: only what the container derives from values changes, and the framework reads the result."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from git_theta.formats.building import CannotBuild
from git_theta.formats.zip_checksums import combine, remove
from tests.contract.format_samples import npy, torch_file
from tests.unit.formats.merging import merge


@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_the_checksum_of_two_parts_follows_from_theirs(first: bytes, second: bytes) -> None:
    whole = crc32(first + second)
    assert combine(crc32(first), crc32(second), len(second)) == whole
    assert remove(whole, crc32(first), len(second)) == crc32(second)


def negated(data: bytes) -> bytes:
    """What a strategy might make of a group of float32."""
    return (-np.frombuffer(data, "<f4")).tobytes()


def sound(data: bytes) -> bytes:
    """The archive itself, once Python's zipfile finds every checksum true."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
    return data


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def loaded(data: bytes) -> Any:
    return torch.load(io.BytesIO(sound(data)), weights_only=True)


def test_an_npz_with_values_of_both_sides_passes_its_checksums() -> None:
    ours = npz(a=np.zeros(4, "<f4"), b=np.ones((2, 3), "<f4"), c=np.arange(5), empty=np.zeros((0, 2), "<f4"))
    theirs = npz(a=np.ones(4, "<f4"), b=np.full((2, 3), 7, "<f4"), c=np.arange(5), empty=np.zeros((0, 2), "<f4"))
    data, _ = merge([ours, theirs], take={"a": 1}, make={"b": negated})
    with np.load(io.BytesIO(sound(data))) as found:
        assert (found["a"] == 1).all()
        assert (found["b"] == -1).all()
        assert (found["c"] == np.arange(5)).all()


def test_an_npz_takes_values_from_a_file_with_other_array_headers() -> None:
    padded = io.BytesIO()
    with zipfile.ZipFile(padded, "w") as archive:
        second = io.BytesIO()
        np.lib.format.write_array(second, np.arange(4.0), version=(2, 0))
        archive.writestr("a.npy", second.getvalue())
    data, built = merge([npz(a=np.zeros(4)), padded.getvalue()], take={"a": 1})
    assert len(built.skeleton) == len(npz(a=np.zeros(4))) - 32
    with np.load(io.BytesIO(sound(data))) as found:
        assert (found["a"] == np.arange(4.0)).all()


def test_an_archive_written_to_a_pipe_keeps_its_checksums_behind_the_members() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

        def seek(self, *_: object) -> int:
            raise OSError

    def piped(values: Any) -> bytes:
        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w") as archive:
            archive.writestr("a.npy", npy(values))
        return pipe.getvalue()

    ours, theirs = piped(np.zeros(3, "<f4")), piped(np.ones(3, "<f4"))
    assert merge([ours, theirs], take={"a": 1})[0] == theirs
    assert merge([theirs, ours], make={"a": lambda data: bytes(len(data))})[0] == ours


def test_a_torch_file_with_values_of_both_sides_loads_and_passes_its_checksums() -> None:
    ours = {"w": torch.ones(3), "b": torch.ones(2), "n": torch.tensor(3), "epoch": 2}
    theirs = {"w": torch.zeros(3), "b": torch.full((2,), 5.0), "n": torch.tensor(4), "epoch": 2}
    data, built = merge([torch_file(ours), torch_file(theirs)], take={"w": 1}, make={"b": negated})
    found = loaded(data)
    assert found["w"].tolist() == [0, 0, 0]
    assert found["b"].tolist() == [-1, -1]
    assert (found["n"].item(), found["epoch"]) == (3, 2)
    assert len(built.skeleton) == len(data) - 28


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript itself
def test_torchscript_takes_values_of_both_sides() -> None:
    def scripted(value: float) -> bytes:
        layer = torch.nn.Linear(2, 2)
        for parameter in layer.parameters():
            parameter.data.fill_(value)
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(layer), buffer)
        return buffer.getvalue()

    data, _ = merge([scripted(1), scripted(2)], take={"bias": 1})
    state = torch.jit.load(io.BytesIO(sound(data))).state_dict()
    assert (state["weight"].unique().tolist(), state["bias"].tolist()) == ([1], [2, 2])


def test_what_a_third_format_does_not_know_to_write_is_refused() -> None:
    with pytest.raises(CannotBuild, match="structure"):
        merge([b"some file", b"other file!"], take={"file": 0}, drop=["file"])
