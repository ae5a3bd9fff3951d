"""PyTorch files of a structure no version has: pickles merged, storages numbered anew, and PyTorch loads the result."""

from __future__ import annotations

import argparse
import collections
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from git_theta.formats.building import CannotBuild, Side, build
from tests.contract.format_samples import BUILDERS, torch_file
from tests.unit.formats.merging import glue, merge, pieces_of, side

ZIP_AND_LEGACY = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def load(data: bytes, weights_only: bool = True) -> Any:
    """What PyTorch reads, once every checksum of an archive is found true."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None
    return torch.load(io.BytesIO(data), weights_only=weights_only)


def full(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, float(value))


@ZIP_AND_LEGACY
def test_tensors_of_both_sides_come_together_in_the_order_of_ours(zipped: bool) -> None:
    ours = collections.OrderedDict(a=full(1, 2), gone=full(1, 3), b=full(1, 2, 2))
    theirs = collections.OrderedDict(a=full(2, 2), new=full(2, 4), b=full(2, 2, 2))
    data, _ = merge([torch_file(ours, zipped), torch_file(theirs, zipped)], take={"b": 1}, drop=["gone"])
    found = load(data)
    assert type(found) is collections.OrderedDict
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "a": [1, 1],
        "new": [2, 2, 2, 2],
        "b": [[2, 2], [2, 2]],
    }
    assert list(found) == ["a", "new", "b"]


@ZIP_AND_LEGACY
def test_a_whole_training_merges_value_by_value(zipped: bool) -> None:
    def training(steps: int, lr: float) -> dict[str, Any]:
        torch.manual_seed(steps)
        model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.rand(5, 4)).square().sum().backward()
            optimizer.step()
        return {"epoch": steps, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "note": None}

    ours, theirs = training(2, 0.1), training(3, 0.5)
    theirs["scheduler"] = {"last_epoch": 3, "bases": [0.5, (1, "x")]}
    taken = {"optimizer.param_groups.0.lr": 1, "model.0.weight": 1, "epoch": 1}
    data, _ = merge([torch_file(ours, zipped), torch_file(theirs, zipped)], take=taken)
    found = load(data)
    assert (found["epoch"], found["note"], found["scheduler"]) == (3, None, theirs["scheduler"])
    assert found["optimizer"]["param_groups"] == [ours["optimizer"]["param_groups"][0] | {"lr": 0.5}]
    assert torch.equal(found["model"]["0.weight"], theirs["model"]["0.weight"])
    assert torch.equal(found["optimizer"]["state"][0]["exp_avg"], ours["optimizer"]["state"][0]["exp_avg"])
    assert found["model"]._metadata == ours["model"]._metadata
    torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).load_state_dict(found["model"])


def test_tied_weights_and_views_stay_tied() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    ours = {"encoder": weight, "decoder": weight, "row": weight[1], "transposed": weight.t(), "lr": 1}
    data, built = merge([torch_file(ours), torch_file({"new": full(1, 2)})])
    found = load(data)
    assert found["encoder"] is found["decoder"]
    assert found["row"].tolist() == [3, 4, 5]
    pointers = {found[name].untyped_storage().data_ptr() for name in ("encoder", "row", "transposed")}
    assert len(pointers) == 1
    assert len(built.layout.spans) == 2


def test_parameters_stay_parameters() -> None:
    ours = {"w": torch.nn.Parameter(full(1, 2)), "frozen": torch.nn.Parameter(full(1, 1), requires_grad=False)}
    found = load(merge([torch_file(ours), torch_file({"n": full(1, 1)})])[0])
    assert isinstance(found["w"], torch.nn.Parameter)
    assert (found["w"].requires_grad, found["frozen"].requires_grad) == (True, False)


# Not those that have no dict to put another tensor into.
@pytest.mark.parametrize(
    "builder", [name for name in BUILDERS if name.startswith("pytorch_") and not name.endswith(("tensor", "module"))]
)
def test_every_torch_checkpoint_takes_a_tensor_of_another(builder: str) -> None:
    sample = BUILDERS[builder]()
    other = torch_file({"added": full(3, 2)}, sample.format == "pytorch-zip")
    data, built = merge([sample.data, other])
    found = load(data, weights_only=False)
    assert found["added"].tolist() == [3, 3]
    names = {group.name for span in built.layout.spans for group in span.groups}
    assert names == {*sample.values, "added"}


def test_a_whole_module_takes_a_number_of_another_side() -> None:
    def module(rate: float) -> bytes:
        torch.manual_seed(7)
        return torch_file(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(rate)))

    found = load(merge([module(0.1), module(0.5)], take={"1.p": 1})[0], weights_only=False)
    assert found[1].p == 0.5
    assert found(torch.ones(1, 2)).shape == (1, 2)


def test_objects_merge_attribute_by_attribute() -> None:
    ours = {"args": argparse.Namespace(lr=0.1, layers=[3, 2]), "loss": collections.defaultdict(list, train=[1.0])}
    theirs = {
        "args": argparse.Namespace(lr=0.2, seed=5),
        "loss": collections.defaultdict(list, train=[1.0], test=[2.0]),
    }
    found = load(merge([torch_file(ours), torch_file(theirs)], take={"args.lr": 1})[0], weights_only=False)
    assert found["args"] == argparse.Namespace(lr=0.2, layers=[3, 2], seed=5)
    assert found["loss"] == {"train": [1.0], "test": [2.0]}
    assert found["loss"].default_factory is list


@pytest.mark.parametrize("key", ["", "a.b\nc", "\U0001f600", 'quo"te', 7, -1, 1 << 80, 2.5, True, None])
def test_keys_of_any_kind_survive(key: Any) -> None:
    found = load(
        merge([torch_file({"w": full(1, 1), key: full(2, 1)}), torch_file({"x": {key: 3, "y": [1 << 70]}})])[0]
    )
    assert found[key].tolist() == [2]
    assert found["x"] == {key: 3, "y": [1 << 70]}


def test_scalars_empty_tensors_and_every_dtype_move() -> None:
    ours = {"s": torch.tensor(1.5), "e": torch.zeros(0, 3), "b": torch.tensor([True]), "h": full(1, 2).bfloat16()}
    theirs = {"q": torch.zeros(2, dtype=torch.float8_e4m3fn), "c": torch.zeros(2, dtype=torch.complex64)}
    found = load(merge([torch_file(ours), torch_file(theirs)])[0])
    expected = ours | theirs
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {
        name: (t.dtype, t.shape) for name, t in expected.items()
    }


def test_empty_containers_stay_unless_a_side_deleted_them() -> None:
    old = {"w": full(1, 1), "kept": {}, "gone": {}, "emptied": {"x": 1}, "left": {"x": 1}}
    ours, base = side(torch_file(old | {"n": [], "epoch": 2})), side(torch_file(old))
    theirs = side(torch_file({"w": full(1, 1), "kept": {}, "emptied": {}, "lr": 1, "also": {}}))
    sides = [ours, theirs, Side(base.frame, base.layout, is_base=True)]
    built = build("pytorch-zip", sides, pieces_of(0, ours.layout), {"epoch": 0, "lr": 1})
    found = load(glue(built, {"w": full(1, 1).numpy().tobytes()}))
    found.pop("w")
    assert found == {"kept": {}, "emptied": {}, "n": [], "epoch": 2, "lr": 1, "also": {}}


def test_an_object_as_a_key_is_refused_where_its_place_changes() -> None:
    ours = torch_file({(1, 2): full(2, 1), "w": full(1, 1)})
    assert load(merge([ours, torch_file({"w": full(1, 1), "x": 1})])[0])[1, 2].tolist() == [2]
    with pytest.raises(CannotBuild, match="cannot hold group '0'"):
        merge([ours, torch_file({"x": 1})])


def test_objects_as_keys_that_changed_places_are_refused() -> None:
    ours, theirs = {"w": full(1, 1), "k": {(1, 2): 4, (3, 4): 4}}, {"n": 1, "k": {(3, 4): 4}}
    with pytest.raises(CannotBuild, match="keys of 'k'"):
        merge([torch_file(ours), torch_file(theirs)])


def test_nothing_but_values_besides_tensors() -> None:
    assert load(merge([torch_file({"a": 1}), torch_file({"b": [True, None]})])[0]) == {"a": 1, "b": [True, None]}


def test_the_archive_keeps_its_folder_its_records_and_the_alignment(tmp_path: Path) -> None:
    path = tmp_path / "modèle.pt"
    torch.save({"w": full(1, 5)}, path)
    data, built = merge([path.read_bytes(), torch_file({"n": full(1, 7), "m": full(1, 1)})])
    before, after = zipfile.ZipFile(path), zipfile.ZipFile(io.BytesIO(data))
    assert [name for name in after.namelist() if "/data/" not in name] == [
        name for name in before.namelist() if "/data/" not in name
    ]
    assert all(span.start % 64 == 0 for span in built.layout.spans)
    path.write_bytes(data)
    assert {*torch.load(path, weights_only=True, mmap=True)} == {"w", "n", "m"}


def test_the_same_merge_gives_the_same_bytes() -> None:
    files = [torch_file({"w": full(1, 1)}), torch_file({"v": full(1, 1)})]
    assert merge(files)[0] == merge(files)[0]


def test_an_element_out_of_the_middle_of_a_list_is_refused() -> None:
    with pytest.raises(CannotBuild, match="hole"):
        merge([torch_file([full(1, 1), full(2, 1), full(3, 1)])], drop=["1"])


def test_the_last_element_of_a_list_may_go() -> None:
    assert len(load(merge([torch_file([full(1, 1), full(2, 1)])], drop=["1"])[0])) == 1


@ZIP_AND_LEGACY
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.b", {"a": {"b": full(1, 1)}, "a.b": full(2, 1)}),
        ("a.b", {"w": full(1, 1), "a": {"b": 1}, "a.b": 2}),
        ("a.b", {"a": {"b": 1}, "a.b": full(2, 1)}),
        ("1", {"w": full(1, 1), 1: 5, "1": 6}),
        ("1.5", {"w": full(1, 1), 1.5: 5, "1.5": 6}),
        ("None", {"w": full(1, 1), None: 5, "None": 6}),
    ],
    ids=["tensors", "values", "a tensor and a value", "integer", "float", "none"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_values_that_their_names_do_not_tell_apart_are_refused(
    name: str, content: dict[Any, Any], place: int, zipped: bool
) -> None:
    files = [torch_file({"n": full(1, 1)}, zipped)]
    files.insert(place, torch_file(content, zipped))
    with pytest.raises(CannotBuild, match=f"both called '{name}', so they cannot be told apart"):
        merge(files)


@ZIP_AND_LEGACY
def test_names_that_look_as_if_made_unique_merge_like_others(zipped: bool) -> None:
    ours = {"w": full(1, 1), "w~2": full(2, 1), "lr": 1, "lr~2": 2}
    found = load(merge([torch_file(ours, zipped), torch_file({"n": full(3, 1)}, zipped)])[0])
    assert {name: float(value) for name, value in found.items()} == {"w": 1, "w~2": 2, "lr": 1, "lr~2": 2, "n": 3}


@ZIP_AND_LEGACY
def test_a_dict_against_a_list_is_refused_in_words(zipped: bool) -> None:
    ours, theirs = {"w": full(1, 1), "k": [1, 2]}, {"w": full(1, 1), "k": {"a": 1, "b": 2}}
    with pytest.raises(CannotBuild, match="'k' is a list on one side and a dict on another"):
        merge([torch_file(ours, zipped), torch_file(theirs, zipped)])
    with pytest.raises(CannotBuild, match="'k' is one value on one side and a dict on another"):
        merge([torch_file(ours | {"k": 1}, zipped), torch_file(theirs, zipped)])
    with pytest.raises(CannotBuild, match="the whole checkpoint is a list on one side and a dict on another"):
        merge([torch_file([full(1, 1)], zipped), torch_file(theirs, zipped)])


@ZIP_AND_LEGACY
def test_keys_and_containers_keep_their_types(zipped: bool) -> None:
    point = collections.OrderedDict([(7, 1), (2.5, 2), (b"raw", 3), ((1, 2), 4), (None, 5), (True, 6)])
    ours = {"w": full(1, 1), "o": point, "tags": {"a"}, "counts": collections.Counter(x=2)}
    found = load(merge([torch_file(ours, zipped), torch_file({"n": 1}, zipped)])[0], weights_only=False)
    assert type(found["o"]) is collections.OrderedDict
    assert [(type(key), key) for key in found["o"]] == [(type(key), key) for key in point]
    assert (found["o"], found["tags"], found["counts"], found["n"]) == (point, {"a"}, ours["counts"], 1)


def test_sets_which_the_reader_does_not_tell_from_lists_are_refused() -> None:
    buffer = io.BytesIO()
    torch.save({"w": full(1, 1), "tags": {"a"}}, buffer, pickle_protocol=4)
    with pytest.raises(CannotBuild, match="a set"):
        merge([buffer.getvalue(), torch_file({"n": full(1, 1)})])
    assert load(merge([torch_file({"w": full(1, 1), "tags": {"a"}}), torch_file({"n": 1})])[0], False)["tags"] == {"a"}


def test_torchscript_of_another_structure_is_refused() -> None:
    with pytest.raises(CannotBuild, match="TorchScript"):
        merge([BUILDERS["torchscript"]().data, torch_file({"n": full(1, 1)})])


def test_a_checkpoint_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"w": full(1, 1)}
    loop["self"] = loop
    with pytest.raises(CannotBuild, match="itself"):
        merge([torch_file(loop), torch_file({"n": full(1, 1)})])


def test_lists_shared_a_million_times_are_refused_at_once() -> None:
    bomb: list[Any] = [1]
    for _ in range(30):
        bomb = [bomb, bomb]
    with pytest.raises(CannotBuild, match="shares too much"):
        merge([torch_file({"bomb": bomb}), torch_file({"n": full(1, 1)})])


def test_a_nest_of_lists_is_refused() -> None:
    nest: list[Any] = [1]
    for _ in range(150):
        nest = [nest]
    with pytest.raises(CannotBuild, match="nests deeper"):
        merge([torch_file({"nest": nest}), torch_file({"n": full(1, 1)})])


def test_one_name_of_a_tied_tensor_may_go() -> None:
    weight = full(1, 3)
    ours = side(torch_file({"encoder": weight, "decoder": weight}))
    (piece,) = pieces_of(0, ours.layout)
    built = build("pytorch-zip", [ours], [replace(piece, groups=piece.groups[:1])], {})
    assert [[group.name for group in span.groups] for span in built.layout.spans] == [["encoder"]]


def test_the_parts_of_a_sparse_tensor_come_from_one_side() -> None:
    def sparse(values: list[float], rows: list[int]) -> bytes:
        return torch_file({"s": torch.sparse_coo_tensor([rows], values, (5,), check_invariants=True), "n": len(values)})

    ours, theirs = sparse([1.0], [2]), sparse([3.0, 4.0], [0, 1])
    found = load(merge([ours, theirs], take={"s.values": 1, "s.indices": 1})[0])
    assert found["s"].to_dense().tolist() == [3, 4, 0, 0, 0]
    with pytest.raises(CannotBuild, match="different versions"):
        merge([ours, theirs], take={"s.values": 1})


@pytest.mark.filterwarnings("ignore::UserWarning")  # quantised tensors are called deprecated
def test_a_quantised_tensor_takes_what_changed_of_it() -> None:
    def quantised(scale: float, value: float) -> torch.Tensor:
        return torch.quantize_per_tensor(full(value, 2), scale, 0, torch.qint8)

    ours, theirs = {"q": quantised(0.5, 1), "lr": 2, "n": 1}, {"q": quantised(0.25, 3), "lr": 3, "n": 2}
    taken = {"q": 1, "q.scale": 1, "n": 1}  # the zero point did not change
    found = load(merge([torch_file(ours), torch_file(theirs)], take=taken)[0])
    assert (found["q"].dequantize().tolist(), found["lr"], found["n"]) == ([3, 3], 2, 2)
    with pytest.raises(CannotBuild):
        merge([torch_file(ours), torch_file({"q": full(1, 2), "n": 3})], take={"q": 1, "n": 1})


def test_a_tensor_becomes_a_number_and_a_dict_becomes_a_list() -> None:
    ours = side(torch_file({"x": full(1, 1), "y": {"a": 1}, "z": 1, "lr": 1}))
    theirs = side(torch_file({"x": 2.5, "y": [full(3, 1), {}], "z": {}}))
    built = build("pytorch-zip", [ours, theirs], pieces_of(1, theirs.layout), {"lr": 0, "x": 1})
    found = load(glue(built, {"y.0": full(3, 1).numpy().tobytes()}))
    assert found == {"x": 2.5, "y": [full(3, 1), {}], "z": {}, "lr": 1}
