"""Merged checkpoints open in their frameworks, hold what was asked for, and depend on nothing but what was merged."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from git_theta.errors import ThetaError
from git_theta.manifest import parse, render
from git_theta.merge.merger import DifferentContainers, Merged, Merger, Versions
from git_theta.merge.plan import parse_policy
from git_theta.merge.task import BLOCK
from git_theta.tensors import DamagedValue, Reader, Writer
from tests.unit.filters.bench import Bench, workbench
from tests.unit.tensors.bench import Content

Arrays = Mapping[str, NDArray[Any]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path / "theta") as bench:
        yield bench


def merge(
    bench: Bench, *files: bytes | None, policy: str = "average", threads: int = 2, **how: Any
) -> tuple[bytes, Merged]:
    """The merged file. ``files`` are base, ours, theirs, and further ones."""
    base, *others = (parse(bench.cleaner.clean(Content(file)).manifest) if file is not None else None for file in files)
    versions = Versions(base, tuple(m for m in others if m), ("ours", "theirs", "third")[: len(others)], **how)
    reader = Reader(bench.store, threads)
    writer = Writer(bench.store, bench.catalogue, reader, threads)
    merged = Merger(bench.store, reader, writer, threads).merge(versions, parse_policy(policy))
    assert parse(render(merged.manifest)) == merged.manifest
    return b"".join(bytes(part) for part in reader.stream(merged.manifest)), merged


def noise(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def mean(*values: NDArray[Any]) -> NDArray[Any]:
    """In float64, rounded once to the dtype of the values."""
    found: NDArray[Any] = np.mean(np.array([value.astype(np.float64) for value in values]), axis=0)
    return found.astype(values[0].dtype)


# containers


def save_torch(arrays: Arrays, epoch: int, **options: Any) -> bytes:
    content = io.BytesIO()
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    torch.save({"model": tensors, "epoch": epoch, "lr": 0.1}, content, **options)
    return content.getvalue()


def load_torch(content: bytes) -> tuple[Arrays, int]:
    found = torch.load(io.BytesIO(content), weights_only=True)
    assert found["lr"] == 0.1
    return {name: value.numpy() for name, value in found["model"].items()}, found["epoch"]


def save_npz(arrays: Arrays, _epoch: int) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def load_npz(content: bytes) -> tuple[Arrays, int]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
    with np.load(io.BytesIO(content)) as found:
        return {name: found[name] for name in found}, -1


def save_gguf(arrays: Arrays, epoch: int) -> bytes:
    import tempfile

    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = GGUFWriter(f"{folder}/model.gguf", "llama")
        writer.add_uint32("epoch", epoch)
        for name, value in arrays.items():
            writer.add_tensor(name, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return Path(f"{folder}/model.gguf").read_bytes()


def load_gguf(content: bytes) -> tuple[Arrays, int]:
    import tempfile

    from gguf import GGUFReader

    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/model.gguf").write_bytes(content)
        found = GGUFReader(f"{folder}/model.gguf")
        epoch = int(found.fields["epoch"].parts[-1][0])
        return {tensor.name: np.array(tensor.data) for tensor in found.tensors}, epoch


CONTAINERS: dict[str, tuple[Callable[[Arrays, int], bytes], Callable[[bytes], tuple[Arrays, int]]]] = {
    "safetensors": (
        lambda arrays, epoch: save_safetensors(dict(arrays), {"epoch": str(epoch)}),
        lambda content: (load_safetensors(content), int(metadata(content)["epoch"])),
    ),
    "torch": (save_torch, load_torch),
    "torch, before 1.6": (
        lambda arrays, epoch: save_torch(arrays, epoch, _use_new_zipfile_serialization=False),
        load_torch,
    ),
    "npz": (save_npz, load_npz),
    "gguf": (save_gguf, load_gguf),
}


def metadata(content: bytes) -> dict[str, str]:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found: dict[str, str] = header["__metadata__"]
    return found


BASE = {"one": noise(1, 40, 3), "two": noise(2, 500), "three": noise(3, 7)}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_opens_after_a_merge(bench: Bench, container: str) -> None:
    """Ours changed one and two, theirs two, three and the epoch."""
    save, load = CONTAINERS[container]
    ours = {**BASE, "one": noise(4, 40, 3), "two": noise(5, 500)}
    theirs = {**BASE, "two": noise(6, 500), "three": noise(7, 7)}
    content, merged = merge(bench, save(BASE, 1), save(ours, 1), save(theirs, 2))
    assert merged.conflicts == []
    arrays, epoch = load(content)
    expected = {"one": ours["one"], "two": mean(ours["two"], theirs["two"]), "three": theirs["three"]}
    assert container == "safetensors" or list(arrays) == list(expected)  # its reader has an order of its own
    assert {name: value.tobytes() for name, value in arrays.items()} == {n: v.tobytes() for n, v in expected.items()}
    assert epoch in (2, -1)


@pytest.mark.parametrize("container", CONTAINERS)
def test_additions_of_both_sides_and_a_deletion(bench: Bench, container: str) -> None:
    save, load = CONTAINERS[container]
    ours = {**BASE, "mine": noise(4, 3, 2)}
    theirs = {"one": BASE["one"], "theirs": noise(5, 4), "three": BASE["three"]}
    try:
        content, merged = merge(bench, save(BASE, 1), save(ours, 1), save(theirs, 1))
    except ThetaError as error:
        pytest.fail(str(error))
    assert merged.conflicts == []
    arrays, _ = load(content)
    assert {*arrays} == {"one", "theirs", "three", "mine"}
    assert arrays["mine"].tobytes() == ours["mine"].tobytes()
    assert arrays["theirs"].tobytes() == theirs["theirs"].tobytes()


@pytest.mark.parametrize("container", ["safetensors", "torch", "gguf"])
def test_a_value_that_both_changed_is_a_conflict_and_ours_stands(bench: Bench, container: str) -> None:
    save, load = CONTAINERS[container]
    content, merged = merge(bench, save(BASE, 1), save({**BASE, "one": noise(4, 40, 3)}, 2), save(BASE, 3))
    assert [why for _, why in merged.conflicts] == ["both sides changed it"]
    assert load(content)[1] == 2
    (name, _), *_ = merged.conflicts
    content, merged = merge(bench, save(BASE, 1), save(BASE, 2), save(BASE, 3), policy=f"average;{name}=theirs")
    assert merged.conflicts == []
    assert load(content)[1] == 3


def test_tied_weights_stay_tied(bench: Bench) -> None:
    def model(embedding: NDArray[np.float32], bias: float) -> bytes:
        shared = torch.from_numpy(embedding)
        content = io.BytesIO()
        torch.save({"embed": shared, "head": shared, "bias": torch.full((3,), bias)}, content)
        return content.getvalue()

    ours, theirs = noise(2, 5, 4), noise(3, 5, 4)
    content, _ = merge(bench, model(noise(1, 5, 4), 0), model(ours, 1), model(theirs, 0))
    found = torch.load(io.BytesIO(content), weights_only=True)
    assert found["embed"].data_ptr() == found["head"].data_ptr()
    assert found["embed"].numpy().tobytes() == mean(ours, theirs).tobytes()


def test_a_side_that_changed_dtype_or_shape_alone_is_taken(bench: Bench) -> None:
    base = {"w": noise(1, 6), "v": noise(2, 6)}
    ours = {**base, "v": noise(3, 6)}
    theirs = {**base, "w": noise(4, 2, 3).astype(np.float16)}
    content, _ = merge(bench, save_safetensors(base), save_safetensors(ours), save_safetensors(theirs))
    assert content == save_safetensors({"w": theirs["w"], "v": ours["v"]})


def test_files_of_different_formats_are_refused(bench: Bench) -> None:
    with pytest.raises(DifferentContainers, match="ours is safetensors, theirs is npz"):
        merge(bench, None, save_safetensors(dict(BASE)), save_npz(BASE, 1))


def test_identical_models_come_back(bench: Bench) -> None:
    whole = save_safetensors(dict(BASE))
    content, merged = merge(bench, save_safetensors({"one": BASE["one"]}), whole, whole)
    assert content == whole
    assert merged.conflicts == []


@pytest.mark.parametrize(
    "policy", ["average", "ties:density=0.5", "dare:density=0.5", "task-arithmetic", "slerp:t=0.3"]
)
def test_threads_change_no_byte(bench: Bench, policy: str) -> None:
    size = 3 * BLOCK + 5
    files = [
        save_safetensors({name: noise(seed * 10 + at, size) for at, name in enumerate("abc")}) for seed in (1, 2, 3)
    ]
    assert merge(bench, *files, policy=policy, threads=1)[0] == merge(bench, *files, policy=policy, threads=5)[0]


def test_weights_are_of_the_versions(bench: Bench) -> None:
    files = [save_safetensors({"w": noise(seed, 9)}) for seed in (1, 2, 3, 4)]
    content, _ = merge(bench, *files, policy="linear", weights=(0.0, 1.0, 0.0))
    assert content == files[2]


def test_special_values_survive(bench: Bench) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    base, ours, theirs = ({"w": odd, "v": noise(seed, 3)} for seed in (1, 2, 3))
    content, _ = merge(bench, save_safetensors(base), save_safetensors(ours), save_safetensors(theirs))
    assert load_safetensors(content)["w"].tobytes() == odd.tobytes()


def test_a_value_that_cannot_be_read_is_said_and_nothing_is_left(bench: Bench) -> None:
    files = [save_safetensors({"w": noise(seed, 9000)}) for seed in (1, 2, 3)]
    manifests = [parse(bench.cleaner.clean(Content(file)).manifest) for file in files]
    where = manifests[2].entries[0].where
    assert isinstance(where, tuple)
    bench.store.path(where[0].oid).unlink()
    reader = Reader(bench.store, 2)
    merger = Merger(bench.store, reader, Writer(bench.store, bench.catalogue, reader, 2), 2)
    with pytest.raises(DamagedValue, match="'w'"):
        merger.merge(Versions(manifests[0], tuple(manifests[1:])), parse_policy("average"))
    assert list(bench.store.tmp.iterdir()) == []


def whole_torch(content: object, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("policy", ["average", "theirs"])
def test_values_of_one_name_are_never_mixed_up(bench: Bench, zipped: bool, policy: str) -> None:
    def file(nested: float, dotted: float, turned: bool = False) -> bytes:
        content = {"a": {"b": torch.full((3,), nested)}, "a.b": torch.full((3,), dotted)}
        return whole_torch(dict(reversed(content.items())) if turned else content, zipped)

    for theirs in (file(1, 20), file(1, 20, turned=True)):
        with pytest.raises(ThetaError, match=r"both called 'a\.b'"):
            merge(bench, file(1, 2), file(10, 2), theirs, policy=policy)
    with pytest.raises(ThetaError, match=r"both called 'a\.b'"):
        merge(bench, file(1, 2), *(whole_torch({"a": {"b": torch.full((3,), at)}}, zipped) for at in (3.0, 4.0)))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_other_values_of_one_name_are_never_mixed_up(bench: Bench, zipped: bool) -> None:
    def file(number: int, text: int) -> bytes:
        return whole_torch({"w": torch.ones(2), 1: number, "1": text}, zipped)

    with pytest.raises(ThetaError, match="both called '1'"):
        merge(bench, file(5, 6), file(50, 6), file(5, 60))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_tilde_in_a_name_is_no_obstacle(bench: Bench, zipped: bool) -> None:
    def file(first: float, second: float) -> bytes:
        return whole_torch({"w": torch.full((3,), first), "w~2": torch.full((3,), second)}, zipped)

    data, _ = merge(bench, file(1, 2), file(10, 2), file(1, 20))
    found = torch.load(io.BytesIO(data), weights_only=True)
    assert (found["w"].tolist(), found["w~2"].tolist()) == ([10] * 3, [20] * 3)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_number_that_became_a_tensor_against_a_changed_number_is_a_conflict(bench: Bench, zipped: bool) -> None:
    files = [whole_torch({"w": torch.ones(2), "k": k}, zipped) for k in (1, torch.tensor(2.0), 3)]
    data, merged = merge(bench, *files)
    assert [name for name, _ in merged.conflicts] == ["k"]
    assert torch.load(io.BytesIO(data), weights_only=True)["k"] == 2
    with pytest.raises(ThetaError, match="'k' is a tensor on one side and another value on the other"):
        merge(bench, files[0], files[2], files[1])
