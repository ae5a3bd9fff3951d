"""A frame written anew: structure or values besides tensors of several versions, read back by the real libraries."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save

from git_theta.formats.building import CannotBuild
from tests.contract.format_samples import gguf, npy
from tests.unit.formats.merging import merge


def ones(*shape: int) -> Any:
    return np.ones(shape, "<f4")


def header_of(data: bytes) -> dict[str, Any]:
    """The header of a safetensors file, in its order."""
    return dict(json.loads(data[8 : 8 + struct.unpack_from("<Q", data)[0]]))


# safetensors


def test_safetensors_of_two_sides_keep_order_and_metadata() -> None:
    ours = save({"a": ones(2), "b": ones(3), "c": ones(1)}, {"format": "pt", "by": "ours"})
    theirs = save({"b": ones(3) * 2, "new": ones(4) * 3}, {"format": "pt", "note": 'é "quoted"\n'})
    data, built = merge([ours, theirs], take={"b": 1}, drop=["c"])
    assert {name: array.tolist() for name, array in load(data).items()} == {
        "a": [1, 1],
        "b": [2, 2, 2],
        "new": [3, 3, 3, 3],
    }
    header = header_of(data)
    assert list(header) == ["__metadata__", "a", "b", "new"]
    assert header["__metadata__"] == {"format": "pt", "by": "ours", "note": 'é "quoted"\n'}
    assert built.layout.spans[0].start % 8 == 0


@pytest.mark.parametrize("name", ["", "a\nb", 'quo"ted\\', "nul\0", "\U0001f600", "__metadata__ ", "x" * 3000])
def test_safetensors_hold_any_name(name: str) -> None:
    data, _ = merge([save({"w": ones(1)}), save({name: ones(2)})])
    assert {*load(data)} == {"w", name}


def test_safetensors_whose_tensors_would_lie_askew_are_put_in_the_order_of_the_reference(tmp_path: Path) -> None:
    ours = save({"flags": np.array([1, 2, 3], "u1")})
    data, _ = merge([ours, save({"w": ones(2), "h": np.ones(3, "<f2")})])
    assert list(header_of(data)) == ["w", "h", "flags"]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with safe_open(path, framework="pt") as opened:
        assert opened.get_tensor("w").tolist() == [1, 1]


def test_safetensors_without_any_tensor_left() -> None:
    data, _ = merge([save({"w": ones(1)}, {"a": "1"})], drop=["w"])
    assert load(data) == {}
    assert header_of(data) == {"__metadata__": {"a": "1"}}


def test_safetensors_describe_scalars_and_empty_tensors() -> None:
    data, _ = merge([save({"s": np.array(2.0)}), save({"e": np.zeros((0, 3), "<i8")})])
    assert {name: array.shape for name, array in load(data).items()} == {"s": (), "e": (0, 3)}


def test_a_dtype_we_do_not_know_keeps_the_name_its_file_gives_it() -> None:
    def of_the_future(name: str) -> bytes:
        text = json.dumps({name: {"dtype": "F2", "shape": [4], "data_offsets": [0, 1]}}).encode()
        return struct.pack("<Q", len(text)) + text + b"\x01"

    data, _ = merge([of_the_future("a"), of_the_future("b")])
    assert [value["dtype"] for value in header_of(data).values()] == ["F2", "F2"]


# NumPy


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def arrays_of(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
    with np.load(io.BytesIO(data)) as found:
        return {name: found[name] for name in found.files}


def test_an_npz_of_two_sides_has_arrays_of_both() -> None:
    ours = npz(a=ones(2), gone=ones(2), big=np.arange(3, dtype=">i4"), empty=ones(0, 2), scalar=np.array(5.0))
    theirs = npz(a=ones(2) * 2, new=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    data, _ = merge([ours, theirs], take={"a": 1}, drop=["gone"], make={"big": lambda raw: raw[::-1]})
    found = arrays_of(data)
    assert list(found) == ["a", "big", "empty", "scalar", "new"]
    assert found["a"].tolist() == [2, 2]
    assert found["big"].astype("<i4").tolist() == [n << 24 for n in (2, 1, 0)]
    assert (found["empty"].shape, found["scalar"].shape) == ((0, 2), ())
    assert found["new"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_compressed_members_are_copied_as_they_are() -> None:
    def packed(**arrays: Any) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    ours, theirs = packed(a=ones(100), b=ones(100)), packed(b=np.arange(100.0))
    found = arrays_of(merge([ours, theirs], take={"b.npy": 1})[0])
    assert (found["a"] == 1).all()
    assert (found["b"] == np.arange(100)).all()


def test_a_structured_array_comes_with_the_header_that_describes_it() -> None:
    one, other = np.zeros(2, [("x", "<f4")]), np.zeros(2, [("y", "<i4")])
    assert arrays_of(merge([npz(a=one), npz(a=other)], take={"a": 1})[0])["a"].dtype == other.dtype
    assert merge([npy(one), npy(other)], take={"array": 1})[0] == npy(other)


def test_an_npy_of_another_shape_is_the_file_of_that_side() -> None:
    assert merge([npy(ones(2)), npy(ones(3, 1))], take={"array": 1})[0] == npy(ones(3, 1))


# GGUF


def opened(data: bytes, folder: Path) -> Any:
    from gguf import GGUFReader

    path = folder / "merged.gguf"
    path.write_bytes(data)
    return GGUFReader(path)


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_gguf_of_two_sides_has_tensors_and_values_of_both(tmp_path: Path, big_endian: bool) -> None:
    ours = gguf({"a": ones(3), "b": ones(2, 32)}, big_endian=big_endian)
    theirs = gguf({"b": ones(2, 32) * 2, "new": np.ones(5, "<i1")}, big_endian=big_endian)
    data, _ = merge([ours, theirs], take={"b": 1, "pi": 1}, drop=["answer"])
    found = opened(data, tmp_path)
    assert {t.name: t.data.astype(float).ravel().tolist() for t in found.tensors} == {
        "a": [1] * 3,
        "b": [2] * 64,
        "new": [1] * 5,
    }
    assert "answer" not in found.fields
    assert found.fields["pi"].contents() == 3.14
    assert len(found.fields["tokenizer.ggml.tokens"].contents()) == 5000


def test_quantised_tensors_of_a_gguf_move_with_their_type(tmp_path: Path) -> None:
    ours, theirs = gguf({"a": ones(2, 32)}, "Q8_0"), gguf({"b": ones(3, 256)}, "Q4_0")
    found = opened(merge([ours, theirs])[0], tmp_path)
    assert [(t.name, t.tensor_type.name) for t in found.tensors] == [("a", "Q8_0"), ("b", "Q4_0")]


def test_a_gguf_is_aligned_as_its_values_say(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    def aligned(name: str, alignment: int) -> bytes:
        writer = GGUFWriter(tmp_path / "one.gguf", "llama")
        writer.add_custom_alignment(alignment)
        writer.add_tensor(name, ones(3))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return (tmp_path / "one.gguf").read_bytes()

    data, built = merge([aligned("a", 128), aligned("b", 64)])
    assert [tensor.name for tensor in opened(data, tmp_path).tensors] == ["a", "b"]
    assert all(span.start % 128 == 0 for span in built.layout.spans)


def test_gguf_files_of_different_byte_order_do_not_mix() -> None:
    with pytest.raises(CannotBuild, match="byte order"):
        merge([gguf({"a": ones(2)}), gguf({"b": ones(2)}, big_endian=True)])


# All of them


def test_files_of_different_formats_do_not_mix() -> None:
    with pytest.raises(CannotBuild, match="another format"):
        merge([save({"w": ones(1)}), npz(a=ones(1))])


def test_the_same_merge_gives_the_same_bytes() -> None:
    files = [npz(a=ones(2)), npz(b=ones(3))]
    assert merge(files)[0] == merge(files)[0]
