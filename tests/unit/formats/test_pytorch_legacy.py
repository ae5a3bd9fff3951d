"""PyTorch's old files: five pickles and the storages behind them."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence

import pytest
import torch

from git_theta.formats import BytesSource, MalformedCheckpoint, scan
from git_theta.formats.pytorch_legacy import leaves, sniff
from git_theta.formats.pytorch_legacy import scan as scan_legacy
from git_theta.model import Group, Span, View
from tests.contract.format_samples import torch_file

MAGIC = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor_pickle(elements: int = 2, view: bytes = b"N", storage_type: str = "FloatStorage") -> bytes:
    """The pickle of a tensor of two elements in storage "7", opcode by opcode as PyTorch writes it."""
    storage = b"(" + text("storage") + f"ctorch\n{storage_type}\n".encode() + text("7") + text("cpu")
    storage += b"J" + struct.pack("<i", elements) + view + b"tQ"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x02\x85K\x01\x85\x89NtR."


def legacy(
    root: bytes, keys: object = ("7",), storages: bytes = struct.pack("<q2f", 2, 1.5, 2.5), protocol: object = 1001
) -> bytes:
    head = [pickle.dumps(value, 2) for value in (MAGIC, protocol, {"little_endian": True})]
    return b"".join([*head, root, pickle.dumps(list(keys) if isinstance(keys, Sequence) else keys, 2), storages])


def spans(data: bytes) -> tuple[Span, ...]:
    result = scan(BytesSource(data))
    assert (result.layout.format, result.warning) == ("pytorch-legacy", None)
    return result.layout.spans


def test_a_file_made_by_hand_is_understood() -> None:
    data = legacy(tensor_pickle())
    assert spans(data) == (Span(len(data) - 8, 8, (Group("tensor", "float32", (2,)),)),)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_the_magic_number_is_known_in_every_pickle_protocol(protocol: int) -> None:
    assert sniff(BytesSource(pickle.dumps(MAGIC, protocol)))


@pytest.mark.parametrize("other", [MAGIC + 1, [MAGIC], {"w": 1}, None, b"x"])
def test_another_pickle_is_not_torch_s(other: object) -> None:
    data = pickle.dumps(other, 4)
    assert not sniff(BytesSource(data))
    assert scan(BytesSource(data)).warning is None


def test_a_view_of_a_storage_begins_where_it_says() -> None:
    view = b"(" + text("8") + b"K\x03K\x02t"
    (span,) = spans(legacy(tensor_pickle(5, view), storages=struct.pack("<q5f", 5, *range(5))))
    assert span.groups == (Group("tensor", "float32", (2,), View(3, (1,))),)


def test_a_head_larger_than_the_first_look_is_read_whole() -> None:
    data = torch_file({"notes": "x" * 3_000_000, "w": torch.arange(3.0)}, zipped=False)
    (span,) = spans(data)
    assert span.groups == (Group("w", "float32", (3,)),)
    assert data[span.start : span.end] == struct.pack("<3f", 0, 1, 2)


def test_bytes_after_the_last_storage_are_skeleton() -> None:
    data = legacy(tensor_pickle()) + b"trailing"
    assert spans(data)[0].end == len(data) - 8


def test_an_empty_storage_keeps_its_group() -> None:
    (span,) = spans(torch_file({"none": torch.zeros(0, 3)}, zipped=False))
    assert (span.length, span.groups) == (0, (Group("none", "float32", (0, 3)),))


@pytest.mark.parametrize(
    "data",
    [
        legacy(tensor_pickle(), protocol=1000),
        legacy(tensor_pickle(), keys=5),
        legacy(tensor_pickle(), keys=["8"]),
        legacy(tensor_pickle(), keys=["7", 7]),
        legacy(tensor_pickle(), keys=[]),
        legacy(tensor_pickle(), storages=b""),
        legacy(tensor_pickle(), storages=struct.pack("<q", 2)),
        legacy(tensor_pickle(), storages=struct.pack("<q2f", 3, 1, 2)),
        legacy(tensor_pickle(), storages=struct.pack("<q2f", -1, 1, 2)),
        legacy(tensor_pickle(elements=-2), storages=struct.pack("<q2f", -2, 1, 2)),
        legacy(tensor_pickle(storage_type="NoStorage")),
        legacy(tensor_pickle())[:60],
    ],
)
def test_storages_that_are_not_what_the_pickles_say_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        scan_legacy(BytesSource(data))
    result = scan(BytesSource(data))
    assert (result.layout.format, result.warning is None) == ("opaque", False)


def test_what_is_no_tensor_can_be_read_by_path() -> None:
    data = torch_file({"epoch": 3, "w": torch.ones(1), "optimizer": {"lr": [0.1]}}, zipped=False)
    assert leaves(BytesSource(data)) == {"epoch": 3, "optimizer.lr.0": 0.1}
