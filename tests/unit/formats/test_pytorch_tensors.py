"""How tensors are named and laid out, on pickles that PyTorch writes and on some it only wrote long ago."""

from __future__ import annotations

import argparse
import collections
import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from git_theta.collector import collector_paused
from git_theta.formats import MalformedCheckpoint
from git_theta.formats.pickle_reader import Value, read_pickle
from git_theta.formats.pytorch_tensors import (
    UNNAMED,
    Record,
    Storage,
    Tensor,
    lay_out,
    name_leaves,
    name_tensors,
    shared_name,
)
from git_theta.model import Group, Span, View


def root_of(content: object) -> Value:
    """The inert value of what PyTorch pickles for ``content``."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return read_pickle(archive.read("archive/data.pkl"))[0]


def names_of(content: object, prefix: str = "") -> list[str]:
    return [tensor.name for tensor in name_tensors(root_of(content), prefix)]


def record(length: int, plain: bool = True) -> Record:
    return Record("data/0", 100, length, plain)


def tensor(
    shape: Value = (2, 3),
    offset: Value = 0,
    strides: Value = (3, 1),
    elements: Value = 6,
    dtype: str | None = "float32",
) -> Tensor:
    return Tensor("w", Storage("0", "float32", elements), dtype, shape, offset, strides)


def group_of(described: Tensor, held: Record, big_endian: bool = False) -> Group:
    """The group a tensor becomes over its record."""
    (span,) = lay_out([described], {"0": held}, big_endian)
    assert (span.start, span.length) == (held.start, held.length)
    (group,) = span.groups
    return group


ONE = torch.zeros(1)


def test_keys_positions_and_attributes_make_the_path() -> None:
    content = {"a": [ONE, (ONE,)], 3: {None: ONE, 1.5: ONE, ("t",): ONE}, "n": argparse.Namespace(x={"y": ONE})}
    assert names_of(content) == ["a.0", "a.1.0", "3.None", "3.1.5", "3.2", "n.x.y"]
    assert names_of([ONE], "constants") == ["constants.0"]


def test_a_checkpoint_that_is_one_tensor_has_a_name() -> None:
    assert names_of(ONE) == [UNNAMED]


def test_dictionaries_of_every_class_count_as_dictionaries() -> None:
    ordered = collections.OrderedDict(w=ONE)
    ordered._metadata = {"version": 1}  # type: ignore[attr-defined]  # as PyTorch hangs it on a state dict
    assert names_of(ordered) == ["w"]
    assert names_of(collections.defaultdict(list, w=[ONE])) == ["w.0"]
    assert names_of({"d": collections.deque([ONE])}) == ["d.0"]


def test_no_value_hides_another_of_its_name() -> None:
    root = root_of({"a": {"b": 1}, "a.b": 2, "a.b~2": 3, 1: 4, "1": 5})
    assert name_leaves(root) == {"a.b": 1, "a.b~2": 2, "a.b~2~2": 3, "1": 4, "1~2": 5}
    assert shared_name(root) == "a.b"


def test_names_with_a_tilde_are_names_like_others() -> None:
    assert shared_name(root_of({"a": ONE, "a~2": ONE, "b": 1, "b~2": 2})) is None


def test_an_ordered_dict_of_python_2_is_read() -> None:
    root, _ = read_pickle(b"ccollections\nOrderedDict\n](](X\x01\0\0\0aK\x01ee\x85R.")
    assert name_leaves(root) == {"a": 1}


def test_a_module_has_the_names_of_its_state_dict() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    module.register_buffer("mask", ONE)
    assert sorted(names_of(module)) == sorted(module.state_dict())


def test_a_tensor_in_an_attribute_of_a_module_is_named_too() -> None:
    module = torch.nn.Linear(2, 2)
    module.cache = [ONE]
    assert sorted(names_of({"m": module})) == ["m.bias", "m.cache.0", "m.weight"]


def test_a_shared_container_is_named_in_every_place() -> None:
    shared = {"w": ONE, "l": [ONE]}
    assert names_of({"a": shared, "b": [shared]}) == ["a.w", "a.l.0", "b.0.w", "b.0.l.0"]


def test_a_container_inside_itself_is_walked_once() -> None:
    loop: dict[str, Any] = {"w": ONE}
    loop["self"] = loop
    loop["list"] = [loop, ONE]
    assert names_of(loop) == ["w", "list.1"]


@pytest.fixture
def _beta_features() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("_beta_features")
@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        ("sparse_coo", ["indices", "values"]),
        ("sparse_csr", ["crow_indices", "col_indices", "values"]),
        ("sparse_csc", ["ccol_indices", "row_indices", "values"]),
        ("sparse_bsr", ["crow_indices", "col_indices", "values"]),
        ("sparse_bsc", ["ccol_indices", "row_indices", "values"]),
    ],
)
def test_the_parts_of_a_sparse_tensor_are_groups(layout: str, parts: list[str]) -> None:
    blocks = (2, 2) if layout.startswith("sparse_bs") else None
    sparse = torch.eye(4).to_sparse(layout=getattr(torch, layout), blocksize=blocks)
    assert names_of({"w": sparse}) == [f"w.{part}" for part in parts]


@pytest.mark.usefixtures("_beta_features")
def test_quantised_tensors_have_their_own_dtypes_and_per_channel_scales() -> None:
    plain = torch.quantize_per_tensor(torch.rand(2, 3), 0.1, 0, torch.qint8)
    scales, zeros = torch.tensor([0.1, 0.2], dtype=torch.float64), torch.tensor([0, 1])
    channels = torch.quantize_per_channel(torch.rand(2, 3), scales, zeros, 0, torch.quint8)
    found = name_tensors(root_of({"p": plain, "c": channels}))
    assert [(t.name, t.dtype) for t in found] == [
        ("p", "qint8"),
        ("c", "quint8"),
        ("c.scale", "float64"),
        ("c.zero_point", "int64"),
    ]


@pytest.mark.usefixtures("_beta_features")
def test_a_nested_tensor_is_its_buffer_and_what_describes_it() -> None:
    nested = torch.nested.nested_tensor([torch.rand(2), torch.rand(3)])
    assert names_of({"n": nested}) == ["n.buffer", "n.sizes", "n.strides", "n.storage_offsets"]


def test_a_parameter_with_attributes_keeps_its_name() -> None:
    parameter = torch.nn.Parameter(torch.rand(2))
    parameter.extra = ONE
    assert names_of({"w": parameter}) == ["w", "w.extra"]


class Subclass(torch.Tensor):  # type: ignore[misc]  # mypy does not follow torch
    pass


def test_a_tensor_of_a_subclass_is_a_tensor_with_attributes() -> None:
    made = torch.rand(2, 3).as_subclass(Subclass)
    made.scale = ONE
    found = name_tensors(root_of({"w": made}))
    assert [(t.name, t.shape) for t in found] == [("w", (2, 3)), ("w.scale", (1,))]


def test_a_tensor_without_storage_is_not_a_group() -> None:
    assert names_of({"meta": torch.zeros(2, device="meta"), "w": ONE}) == ["w"]


def test_a_bare_storage_is_a_flat_group() -> None:
    found = name_tensors(root_of({"s": torch.zeros(3).untyped_storage()}))
    assert [(t.name, t.dtype, t.shape) for t in found] == [("s", "uint8", (12,))]


def test_dtypes_below_a_byte_are_opaque_but_keep_their_shape() -> None:
    packed = torch.zeros(2, 3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    (found,) = name_tensors(root_of({"w": packed}))
    assert group_of(found, record(6)) == Group("w", "opaque", (2, 3))


def test_what_is_no_tensor_is_a_leaf_at_its_path() -> None:
    content = {"epoch": 3, "w": ONE, "args": argparse.Namespace(lr=[0.1]), "empty": {}, "dtype": torch.float16}
    leaves = name_leaves(root_of(content))
    assert {name: repr(value) for name, value in leaves.items()} == {
        "epoch": "3",
        "args.lr.0": "0.1",
        "dtype": "Global(module='torch', name='float16')",
    }


def test_an_array_of_numpy_is_one_leaf() -> None:
    assert list(name_leaves(root_of({"a": np.arange(3), "b": [np.float64(1)]}))) == ["a", "b.0"]


def test_a_tensor_that_fills_its_record_has_no_view() -> None:
    assert group_of(tensor(), record(24)) == Group("w", "float32", (2, 3))
    assert group_of(tensor((1, 6), 0, (77, 1)), record(24)).view is None
    assert group_of(tensor((0, 3), 0, (3, 1), 0), record(0)).view is None


def test_any_other_tensor_is_a_view() -> None:
    assert group_of(tensor((3, 2), 0, (1, 3)), record(24)).view == View(0, (1, 3))
    assert group_of(tensor((2,), 4, (1,)), record(24)).view == View(4, (1,))
    assert group_of(tensor((2, 6), 0, (0, 1)), record(24)).view == View(0, (0, 1))
    assert group_of(tensor((0,), 6, (1,)), record(24)).view == View(6, (1,))


def test_a_storage_view_of_an_old_file_counts_from_its_own_start() -> None:
    described = Tensor("w", Storage("0", "float32", 6, first=2), "float32", (2,), 1, (1,))
    assert group_of(described, record(24)).view == View(3, (1,))


def test_another_byte_order_is_in_the_dtype() -> None:
    assert group_of(tensor(), record(24), big_endian=True).dtype == "float32_be"
    bytewise = Tensor("w", Storage("0", "uint8", 6), "uint8", (6,), 0, (1,))
    assert group_of(bytewise, record(6), big_endian=True).dtype == "uint8"


@pytest.mark.parametrize(
    "described",
    [
        tensor(elements=7),
        tensor(elements=-6),
        tensor(elements="6"),
        tensor(dtype=None),
        tensor(offset=1),
        tensor(offset=-1),
        tensor(offset="0"),
        tensor(shape=(2, 4), strides=(4, 1)),
        tensor(shape=(-1, -6), strides=(6, 1)),
        tensor(shape=(2, 1 << 63), strides=(0, 0)),
        tensor(shape=(2.0, 3)),
        tensor(shape=(True, 6), strides=(6, 1)),
        tensor(shape=[2, 3]),
        tensor(shape=(2,), strides=(-1,), offset=3),
        tensor(shape=(6,), strides=(1, 1)),
        tensor(shape=(1,) * 65, strides=(1,) * 65),
    ],
)
def test_numbers_that_do_not_fit_the_record_make_an_opaque_group(described: Tensor) -> None:
    assert group_of(described, record(24)) == Group("w", "opaque", (24,))


def test_a_compressed_record_is_opaque() -> None:
    assert group_of(tensor(), record(24, plain=False)) == Group("w", "opaque", (24,))


def test_a_name_utf_8_cannot_hold_is_escaped() -> None:
    (span,) = lay_out([tensor()._replace(name="a\ud800\u00fc")], {"0": record(24)})
    assert span.groups[0].name == "a\\ud800\u00fc"


def test_a_record_no_tensor_names_goes_by_its_own_name() -> None:
    spans = lay_out([], {"1": Record("data/1", 50, 0), "0": Record("data/0", 50, 9)})
    assert spans == (
        Span(50, 0, (Group("data/1", "opaque", (0,)),)),
        Span(50, 9, (Group("data/0", "opaque", (9,)),)),
    )


def test_a_tensor_whose_storage_is_missing_is_refused() -> None:
    with pytest.raises(MalformedCheckpoint, match="missing"):
        lay_out([tensor()], {})


def test_the_collector_works_again_after_a_scan() -> None:
    import gc

    assert gc.isenabled()
    with collector_paused():
        assert not gc.isenabled()
    with pytest.raises(MalformedCheckpoint), collector_paused():
        raise MalformedCheckpoint("while it pauses")
    assert gc.isenabled()
