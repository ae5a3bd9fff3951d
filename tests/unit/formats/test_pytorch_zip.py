"""PyTorch's zip archives as other tools leave them: packed again, compressed, damaged, of another byte order."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from git_theta.formats import BytesSource, scan
from git_theta.formats.pytorch_zip import leaves, sniff
from git_theta.model import Group, Span
from tests.contract.format_samples import torch_file


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(contents: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive by Python's zipfile, without PyTorch's padding."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


STATE = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.arange(3)}
SAVED = torch_file(STATE)


def groups(data: bytes) -> list[Group]:
    """All groups of an archive, which must be recognised and understood."""
    result = scan(BytesSource(data))
    assert (result.layout.format, result.warning) == ("pytorch-zip", None)
    return [group for span in result.layout.spans for group in span.groups]


NAMED = [Group("w", "float32", (2, 3)), Group("b", "int64", (3,))]


def test_pytorch_s_padding_or_its_records_mark_an_archive() -> None:
    assert sniff(BytesSource(SAVED))
    assert sniff(BytesSource(pack(members(SAVED))))
    assert sniff(BytesSource(SAVED[:200])), "a torn download is still recognised, so that it is reported"
    for other in ({}, {"a.npy": b""}, {"config.json": b"{}"}, {"data.pkl": b""}, {"a/b/data.pkl": b""}):
        assert not sniff(BytesSource(pack(other)))


def test_an_archive_packed_again_is_understood() -> None:
    assert groups(pack(members(SAVED))) == NAMED


def test_the_name_of_the_folder_does_not_matter() -> None:
    renamed = {name.replace("archive/", "epoch 3/"): content for name, content in members(SAVED).items()}
    assert groups(pack(renamed)) == NAMED


def test_a_compressed_archive_is_opaque_member_by_member() -> None:
    data = pack(members(torch_file({"w": torch.zeros(1000)})), zipfile.ZIP_DEFLATED)
    found = {group.name: group for group in groups(data)}
    assert found["data/0"].dtype == found["data.pkl"].dtype == "opaque"
    assert found["data/0"].shape[0] < 4000


def test_a_single_compressed_record_is_opaque_under_its_tensor_s_name() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members(SAVED).items():
            method = zipfile.ZIP_DEFLATED if name.endswith("data/0") else zipfile.ZIP_STORED
            archive.writestr(name, content, compress_type=method)
        packed = archive.getinfo("archive/data/0").compress_size
    assert groups(buffer.getvalue()) == [Group("w", "opaque", (packed,)), NAMED[1]]


def test_big_endian_records_have_big_endian_dtypes() -> None:
    content = members(SAVED)
    content["archive/byteorder"] = b"big"
    content["archive/data/0"] = np.arange(6, dtype=">f4").tobytes()
    content["archive/data/1"] = np.arange(3, dtype=">i8").tobytes()
    data = pack(content)
    assert torch.equal(torch.load(io.BytesIO(data))["w"], STATE["w"])
    assert [group.dtype for group in groups(data)] == ["float32_be", "int64_be"]


def test_a_record_of_another_size_is_opaque() -> None:
    content = members(SAVED) | {"archive/data/0": b"short"}
    assert groups(pack(content)) == [Group("w", "opaque", (5,)), NAMED[1]]


def test_a_record_no_tensor_names_is_a_group_by_its_path() -> None:
    assert groups(pack(members(SAVED) | {"archive/data/left": b"over"})) == [*NAMED, Group("data/left", "opaque", (4,))]


@pytest.mark.parametrize("pickle", [b"", b"\x80\x02}", b"no pickle", b"\xff" * 100])
def test_without_a_readable_pickle_every_member_is_a_group(pickle: bytes) -> None:
    found = {group.name: group for group in groups(pack(members(SAVED) | {"archive/data.pkl": pickle}))}
    assert found["data/0"] == Group("data/0", "opaque", (24,))
    assert found["data/1"] == Group("data/1", "opaque", (24,))


def test_a_missing_record_leaves_every_member_a_group() -> None:
    content = members(SAVED)
    del content["archive/data/1"]
    assert Group("data/0", "opaque", (24,)) in groups(pack(content))


def test_an_empty_storage_keeps_its_group() -> None:
    result = scan(BytesSource(torch_file({"none": torch.zeros(0, 3), "w": torch.ones(1)})))
    empty, full = result.layout.spans
    assert (empty.length, empty.groups) == (0, (Group("none", "float32", (0, 3)),))
    assert (full.length, full.groups) == (4, (Group("w", "float32", (1,)),))


def test_tied_weights_are_one_span_with_several_names() -> None:
    weight = torch.rand(2, 3)
    (span,) = scan(BytesSource(torch_file({"embed": weight, "head": weight.detach()}))).layout.spans
    assert [group.name for group in span.groups] == ["embed", "head"]


def test_constants_of_torchscript_are_groups() -> None:
    content = members(SAVED)
    pickle = members(torch_file((torch.tensor([1.5]),)))["archive/data.pkl"]
    content |= {"archive/constants.pkl": pickle, "archive/constants/0": b"\0\0\xc0\x3f"}
    assert groups(pack(content)) == [*NAMED, Group("constants.0", "float32", (1,))]


def test_an_exported_program_without_a_pickle_is_stored_record_by_record() -> None:
    content = {"m/data/weights/weight_0": bytes(24), "m/models/model.json": b"{}", "m/version": b"3\n", "m/empty": b""}
    assert [group.name for group in groups(pack(content))] == [
        "data/weights/weight_0",
        "models/model.json",
        "version",
    ]


def test_an_archive_torn_off_is_stored_whole_with_a_warning() -> None:
    result = scan(BytesSource(SAVED[:-10]))
    assert result.warning is not None
    assert result.layout.spans == (Span(0, len(SAVED) - 10, (Group("file", "opaque", (len(SAVED) - 10,)),)),)


def test_what_is_no_tensor_can_be_read_by_path() -> None:
    data = torch_file({"epoch": 3, "w": torch.ones(1), "optimizer": {"lr": [0.1]}})
    assert leaves(BytesSource(data)) == {"epoch": 3, "optimizer.lr.0": 0.1}
