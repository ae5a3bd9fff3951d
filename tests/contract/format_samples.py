"""Sample checkpoints for the format contract, each made by the real library and read back by it.

A builder is a function without arguments, marked ``@sample``, that returns a :class:`Sample`. To put a new format
under the contract, add builders here: the suite in ``test_formats.py`` runs over every one.
"""

from __future__ import annotations

import io
import json
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Value:
    """A tensor as its framework reads it: ``data`` are its elements in C order, in the file's byte order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class Sample:
    """A file, the format it must be recognised as, and what the framework finds in it."""

    format: str
    data: bytes
    values: Mapping[str, Value]


Builder = Callable[[], Sample]

BUILDERS: dict[str, Builder] = {}


def sample(builder: Builder) -> Builder:
    """Put a builder under the contract, by its own name."""
    BUILDERS[builder.__name__] = builder
    return builder


def value(array: NDArray[Any], dtype: str | None = None) -> Value:
    """An array as the model names it; big-endian dtypes get their suffix."""
    name = dtype or str(array.dtype.newbyteorder("="))
    big_endian = array.dtype.byteorder == ">"
    return Value(name + "_be" * big_endian, array.shape, array.tobytes())


def arrays() -> dict[str, NDArray[Any]]:
    """Arrays of every plain dtype, among them 0-d and empty ones."""
    random = np.random.default_rng(7)
    plain = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]
    made = {f"layers.{i}.{code}": random.integers(0, 2, (3, 5)).astype(code) for i, code in enumerate(plain)}
    return made | {
        "scalar": np.array(1.5, "<f4"),
        "nan": np.array([np.nan, -0.0, np.inf], "<f8"),
        "empty": np.zeros((0, 4), "<f4"),
        "empty.last": np.zeros((3, 0), "<i8"),
    }


# safetensors


def _safetensors(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What the library's own validator finds: dtype as in the header, shape, bytes."""
    import safetensors

    found = safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # the library is not annotated
    return {name: (info["dtype"], tuple(info["shape"]), bytes(info["data"])) for name, info in found}


@sample
def safetensors_numpy() -> Sample:
    from safetensors.numpy import load, save

    data = save(arrays(), metadata={"format": "np", "note": 'br{ac}es, "quotes" and \n'})
    return Sample("safetensors", data, {name: value(array) for name, array in load(data).items()})


@sample
def safetensors_without_tensors() -> Sample:
    from safetensors.numpy import save

    return Sample("safetensors", save({}), {})


@sample
def safetensors_torch() -> Sample:
    import torch
    from safetensors.torch import save

    generator = torch.Generator().manual_seed(7)
    names = {
        torch.bfloat16: "bfloat16",
        torch.float8_e4m3fn: "float8_e4m3fn",
        torch.float8_e5m2: "float8_e5m2",
        torch.float8_e4m3fnuz: "float8_e4m3fnuz",
        torch.float8_e5m2fnuz: "float8_e5m2fnuz",
        torch.float8_e8m0fnu: "float8_e8m0fnu",
        torch.uint64: "uint64",
        torch.complex64: "complex64",
    }
    tensors = {
        f"{i}.weight": torch.randint(0, 255, (2, 16), dtype=torch.uint8, generator=generator).view(dtype)
        for i, dtype in enumerate(names)
    }
    data = save(tensors)
    values = {
        name: Value(names[tensors[name].dtype], shape, content)
        for name, (_, shape, content) in _safetensors(data).items()
    }
    return Sample("safetensors", data, values)


@sample
def safetensors_below_one_byte() -> Sample:
    """Written by hand: the numpy and torch front ends do not cover these dtypes. The library reads them back."""
    header = {
        "f4": {"dtype": "F4", "shape": [4, 3], "data_offsets": [0, 6]},
        "f6": {"dtype": "F6_E2M3", "shape": [8], "data_offsets": [6, 12]},
        "f6b": {"dtype": "F6_E3M2", "shape": [2, 2], "data_offsets": [12, 15]},
    }
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(range(15))
    names = {"F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn"}
    values = {name: Value(names[t], shape, content) for name, (t, shape, content) in _safetensors(data).items()}
    return Sample("safetensors", data, values)


@sample
def safetensors_with_strange_names() -> Sample:
    from safetensors.numpy import load, save

    names = [
        "",
        "a\nb",
        "nul\0",
        "../../etc/passwd",
        "\U0001f600",
        "a~2",
        "__metadata__ ",
        "\u202eoverride",
        "x" * 3000,
    ]
    data = save({name: np.full(3, i, "u1") for i, name in enumerate(names)})
    return Sample("safetensors", data, {name: value(array) for name, array in load(data).items()})


# numpy


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npy_sample(array: NDArray[Any]) -> Sample:
    data = npy(array)
    return Sample("npy", data, {"array": value(np.load(io.BytesIO(data)))})


@sample
def npy_little_endian() -> Sample:
    return _npy_sample(np.arange(24, dtype="<f4").reshape(2, 3, 4))


@sample
def npy_big_endian() -> Sample:
    return _npy_sample(np.arange(24, dtype=">i8").reshape(4, 6))


@sample
def npy_fortran_order() -> Sample:
    return _npy_sample(np.asfortranarray(np.arange(120, dtype="<f8").reshape(4, 5, 6)))


@sample
def npy_fortran_order_big_endian() -> Sample:
    return _npy_sample(np.asfortranarray(np.arange(20, dtype=">c16").reshape(4, 5)))


@sample
def npy_scalar() -> Sample:
    return _npy_sample(np.array(3, "u1"))


@sample
def npy_empty() -> Sample:
    return _npy_sample(np.zeros((2, 0, 3), "<f2"))


@sample
def npy_versions_2_and_3_in_one_file() -> Sample:
    buffer = io.BytesIO()
    first, second = np.arange(3, dtype="<u2"), np.arange(4, dtype="<c8").reshape(2, 2)
    np.lib.format.write_array(buffer, first, version=(2, 0))
    np.lib.format.write_array(buffer, second, version=(3, 0))
    return Sample("npy", buffer.getvalue(), {"array": value(first), "array~2": value(second)})


@sample
def npy_structured() -> Sample:
    array = np.zeros(3, [("weight", "<f4", (2,)), ("\u00fc", "<i8")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the name makes this version 3, which old readers do not know
        data = npy(array)
    return Sample("npy", data, {"array": Value("opaque", (48,), array.tobytes())})


@sample
def npy_bfloat16() -> Sample:
    """numpy writes what it does not know as raw bytes."""
    array = np.arange(6).astype(ml_dtypes.bfloat16)
    return Sample("npy", npy(array), {"array": Value("opaque", (12,), array.tobytes())})


@sample
def npz_stored() -> Sample:
    made = arrays() | {
        "big": np.arange(5, dtype=">f4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **made)
    with np.load(io.BytesIO(buffer.getvalue())) as found:
        return Sample("npz", buffer.getvalue(), {name: value(found[name]) for name in found.files})


@sample
def npz_compressed() -> Sample:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, weight=np.zeros(1000, "<f4"))
    data = buffer.getvalue()
    (info,) = zipfile.ZipFile(buffer).infolist()
    start = data.index(b"weight.npy") + len("weight.npy") + struct.unpack_from("<H", data, 28)[0]
    packed = data[start : start + info.compress_size]
    return Sample("npz", data, {"weight.npy": Value("opaque", (len(packed),), packed)})


# GGUF


def gguf(tensors: Mapping[str, NDArray[Any]], quantised: str | None = None, big_endian: bool = False) -> bytes:
    """A GGUF file as llama.cpp's own writer makes it, with a vocabulary; all ``quantised`` if a type is named."""
    from gguf import GGMLQuantizationType, GGUFEndian, GGUFWriter, quants

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        writer = GGUFWriter(path, "llama", endianess=GGUFEndian.BIG if big_endian else GGUFEndian.LITTLE)
        writer.add_uint32("answer", 42)
        writer.add_bool("yes", True)
        writer.add_float64("pi", 3.14)
        writer.add_token_list([f"token{i}" for i in range(5000)])
        writer.add_token_scores([float(i) for i in range(5000)])
        for name, array in tensors.items():
            if quantised:
                kind = GGMLQuantizationType[quantised]
                writer.add_tensor(name, quants.quantize(array, kind), raw_dtype=kind)
            else:
                writer.add_tensor(name, array.copy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _gguf_values(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What llama.cpp's reader finds: type name, shape slowest first, bytes."""
    from gguf import GGUFReader

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        path.write_bytes(data)
        return {
            tensor.name: (
                tensor.tensor_type.name.lower(),
                tuple(int(side) for side in reversed(tensor.shape)),
                tensor.data.tobytes(),
            )
            for tensor in GGUFReader(path).tensors
        }


GGUF_PLAIN = {"f32": "float32", "f16": "float16", "f64": "float64"} | {f"i{n}": f"int{n}" for n in (8, 16, 32, 64)}

GGUF_ARRAYS = {
    f"blk.{i}.{code[1:]}": np.arange(12 + i, dtype=code)
    for i, code in enumerate(["<f4", "<f2", "<f8", "<i1", "<i2", "<i4", "<i8"])
} | {"token_embd.weight": np.arange(64, dtype="<f4").reshape(2, 32)}


@sample
def gguf_plain() -> Sample:
    data = gguf(GGUF_ARRAYS)
    values = {name: Value(GGUF_PLAIN[t], shape, raw) for name, (t, shape, raw) in _gguf_values(data).items()}
    return Sample("gguf", data, values)


@sample
def gguf_big_endian() -> Sample:
    data = gguf(GGUF_ARRAYS, big_endian=True)
    values = {
        name: Value(GGUF_PLAIN[t] + ("_be" if t != "i8" else ""), shape, raw)
        for name, (t, shape, raw) in _gguf_values(data).items()
    }
    return Sample("gguf", data, values)


def _gguf_quantised(quantised: str) -> Sample:
    random = np.random.default_rng(7)
    data = gguf({f"{i}.weight": random.random((3, 256), np.float32) for i in range(3)}, quantised)
    values = {name: Value(f"gguf_{t}", shape, raw) for name, (t, shape, raw) in _gguf_values(data).items()}
    return Sample("gguf", data, values)


@sample
def gguf_q4_0() -> Sample:
    return _gguf_quantised("Q4_0")


@sample
def gguf_q8_0() -> Sample:
    return _gguf_quantised("Q8_0")


@sample
def gguf_tq2_0() -> Sample:
    return _gguf_quantised("TQ2_0")


@sample
def gguf_bfloat16() -> Sample:
    data = gguf({"w": np.arange(64, dtype=np.float32).reshape(2, 32)}, "BF16")
    values = {name: Value("bfloat16", shape, raw) for name, (_, shape, raw) in _gguf_values(data).items()}
    return Sample("gguf", data, values)


# PyTorch


def _torch_state() -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(7)
    return {
        "fc.weight": torch.rand(3, 5, generator=generator),
        "fc.bias": torch.rand(3, generator=generator).bfloat16(),
        "steps": torch.tensor(7),
    }


def torch_values(state: Mapping[str, Any]) -> dict[str, Value]:
    """What PyTorch holds, by name: C order, little-endian as it writes everywhere."""
    import torch

    return {
        name: Value(
            str(tensor.dtype).removeprefix("torch."),
            tuple(tensor.shape),
            tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes(),
        )
        for name, tensor in state.items()
    }


def torch_file(content: object, zipped: bool = True) -> bytes:
    """What ``torch.save`` writes, in the zip or in the legacy form."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def torch_tree(content: Any, path: str = "") -> dict[str, Any]:
    """The tensors in nested dicts, lists and tuples, by path."""
    import torch

    if isinstance(content, torch.Tensor):
        return {path: content}
    if not isinstance(content, dict | list | tuple):
        return {}
    parts = content.items() if isinstance(content, dict) else enumerate(content)
    return {
        name: tensor
        for key, part in parts
        for name, tensor in torch_tree(part, f"{path}.{key}".removeprefix(".")).items()
    }


def _torch_sample(content: object, zipped: bool = True) -> Sample:
    """A saved tree of tensors, and what PyTorch loads from it."""
    import torch

    data = torch_file(content, zipped)
    loaded = torch.load(io.BytesIO(data), weights_only=False)
    return Sample(f"pytorch-{'zip' if zipped else 'legacy'}", data, torch_values(torch_tree(loaded)))


def _torch_training() -> dict[object, Any]:
    """A checkpoint in the middle of a training: two steps of a real optimizer, and what belongs to neither."""
    import argparse
    import collections

    import torch

    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, amsgrad=True)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.rand(5, 4)).square().sum().backward()
        optimizer.step()
    return {
        "epoch": 2,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "rng": (torch.get_rng_state(), None),
        "hyper_parameters": argparse.Namespace(lr=0.1, layers=[3, 2], note="\u00fc"),
        "history": collections.defaultdict(list, loss=[0.5, float("nan")]),
        "callbacks": collections.Counter("abca"),
        7: [{}, {"ema": [torch.rand(2)]}],
    }


def _torch_views() -> dict[str, Any]:
    """Tensors that share storages: tied, sliced, transposed, strided, expanded, empty, 0-d."""
    import torch

    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return {
        "whole": base,
        "tied": base,
        "retyped": base.detach(),
        "transposed": base.t(),
        "row": base[2],
        "column": base[:, 3],
        "every.other": base[::2, 1::2],
        "element": base[3, 5],
        "none": base[4:],
        "expanded": torch.tensor([1.0, 2.0]).reshape(2, 1).expand(2, 5),
        "alone.transposed": torch.rand(3, 2).t(),
        "channels.last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "part": torch.arange(10)[3:5],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
    }


_TORCH_DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
_TORCH_DTYPES_WITHOUT_STORAGE = [
    "uint16",
    "uint32",
    "uint64",
    "complex32",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]


def _torch_dtypes(names: list[str]) -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(7)
    return {
        name: torch.randint(0, 2, (2, 32), dtype=torch.uint8, generator=generator).view(getattr(torch, name))
        for name in names
    }


@sample
def pytorch_zip_training() -> Sample:
    return _torch_sample(_torch_training())


@sample
def pytorch_legacy_training() -> Sample:
    return _torch_sample(_torch_training(), zipped=False)


@sample
def pytorch_zip_views() -> Sample:
    return _torch_sample(_torch_views())


@sample
def pytorch_legacy_views() -> Sample:
    return _torch_sample(_torch_views(), zipped=False)


@sample
def pytorch_zip_dtypes() -> Sample:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # complex32 is called experimental
        return _torch_sample(_torch_dtypes(_TORCH_DTYPES + _TORCH_DTYPES_WITHOUT_STORAGE))


@sample
def pytorch_legacy_dtypes() -> Sample:
    """PyTorch does not load the other dtypes back from this format."""
    return _torch_sample(_torch_dtypes(_TORCH_DTYPES), zipped=False)


@sample
def pytorch_zip_one_tensor() -> Sample:
    import torch

    data = torch_file(torch.nn.Parameter(torch.arange(6.0)))
    return Sample("pytorch-zip", data, torch_values({"tensor": torch.load(io.BytesIO(data)).detach()}))


@sample
def pytorch_zip_whole_module() -> Sample:
    """A module saved as it is: its groups are called as in its state dict."""
    import torch

    torch.manual_seed(7)
    layer = torch.nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
    module = torch.nn.Sequential(layer, torch.nn.BatchNorm1d(3))
    data = torch_file(module)
    return Sample("pytorch-zip", data, torch_values(torch.load(io.BytesIO(data), weights_only=False).state_dict()))


@sample
def torchscript() -> Sample:
    import torch

    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)))
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer)
        loaded = torch.jit.load(io.BytesIO(buffer.getvalue()))
    return Sample("pytorch-zip", buffer.getvalue(), torch_values(loaded.state_dict()))


@sample
def pytorch_zip() -> Sample:
    import torch

    data = torch_file(_torch_state())
    return Sample("pytorch-zip", data, torch_values(torch.load(io.BytesIO(data), weights_only=True)))


@sample
def pytorch_legacy() -> Sample:
    import torch

    data = torch_file(_torch_state(), zipped=False)
    return Sample("pytorch-legacy", data, torch_values(torch.load(io.BytesIO(data), weights_only=True)))
