"""Frames that a merge writes, byte for byte: two people who merge the same versions get the same file."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from hashlib import sha256

from git_theta.formats.pickle_reader import Call, Global, Mapping, PersistentId
from git_theta.formats.pickle_writer import write_pickle
from tests.unit.formats.merging import merge


def test_safetensors() -> None:
    def file(name: str, note: str) -> bytes:
        header = {"__metadata__": {note: "é"}, name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
        text = json.dumps(header, ensure_ascii=False).encode()
        return struct.pack("<Q", len(text)) + text + name.encode() * 4

    data, _ = merge([file("w", "a"), file("v", "b")])
    header = (
        '{"__metadata__":{"a":"é","b":"é"},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        '"v":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
    ).encode()
    header += b" " * (-len(header) % 8)
    assert data == struct.pack("<Q", len(header)) + header + b"wwwwvvvv"


def test_npz() -> None:
    def file(name: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name + ".npy"), name * 3)
        return buffer.getvalue()

    data, _ = merge([file("w"), file("v")])
    assert sha256(data).hexdigest() == "cb9a139892f4a3ae330a688519dd3cc840720cb7421125f7e8f1c9bb88b2db39"


def test_pickle() -> None:
    storage = PersistentId(("storage", Global("torch", "FloatStorage"), "0", "cpu", 300))
    tensor = Call(Global("torch._utils", "_rebuild_tensor_v2"), (storage, 0, (300,), (1,), False, Mapping()))
    value = Call(Global("collections", "OrderedDict"), (), pairs=[("w", tensor), ("tied", tensor), ("lr", -0.5)])
    assert write_pickle(value) == (
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\x00\x00\x00wq\x02"
        b"ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\x05"
        b"X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07M,\x01tq\x08QK\x00M,\x01\x85q\tK\x01\x85q\n\x89}q\x0btq\x0cR"
        b"q\rX\x04\x00\x00\x00tiedq\x0eh\rX\x02\x00\x00\x00lrq\x0fG\xbf\xe0\x00\x00\x00\x00\x00\x00u."
    )
