"""What the values of a changed group tell: casts, resizing, transposition, views, NaN, and what besides tensors."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from git_theta.diff import Kind, Report, Style, render
from git_theta.diff.finding import Finding, Nature, NoNumbers, Statistics
from git_theta.diff.leaves import LeafChange
from tests.unit.diff.support import changed, of_arrays, report, save

MATRIX = np.random.default_rng(0).standard_normal((40, 30)).astype("f4")


def finding(made: Report, name: str = "w") -> Finding:
    found = made.findings[name]
    assert found.problem is None
    return found


def statistics(made: Report, name: str = "w") -> Statistics:
    found = finding(made, name).statistics
    assert found is not None
    return found


def test_a_value_changed_by_one_bit_counts_one_element(tmp_path: Path) -> None:
    def flip(array: np.ndarray) -> np.ndarray:
        array.view("u4")[3, 3] ^= 1
        return array

    found = statistics(changed(tmp_path, MATRIX, flip))
    assert (found.elements, found.changed, found.one_ulp) == (1200, 1, 1)


def test_appended_rows_are_told_from_what_stayed(tmp_path: Path) -> None:
    made = changed(tmp_path, MATRIX, lambda w: np.concatenate([w, w[:5]]))
    assert finding(made).nature is Nature.RESIZED
    assert (statistics(made).elements, statistics(made).changed) == (1200, 0)


def test_removed_columns_are_told_from_what_changed(tmp_path: Path) -> None:
    made = changed(tmp_path, MATRIX, lambda w: w[:, :20] + (np.arange(20) == 7))
    assert finding(made).nature is Nature.RESIZED
    assert (statistics(made).elements, statistics(made).changed) == (800, 40)


BROKEN = np.array([np.nan, 1, np.inf, -np.inf, np.nan, 2])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_groups_that_were_added_say_what_in_them_is_no_number(tmp_path: Path, dtype: type) -> None:
    made = of_arrays(tmp_path, {"w": MATRIX}, {"w": MATRIX, "new": BROKEN.astype(dtype), "sound": MATRIX + 1})
    assert finding(made, "new").came == NoNumbers(2, 2)
    assert not finding(made, "sound").came
    said = "\n".join(render(made, Style()))
    assert "2 elements are NaN" in said
    assert "2 elements are infinite" in said


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_and_columns_that_were_added_say_what_in_them_is_no_number(tmp_path: Path, axis: int) -> None:
    more = np.full((5, 30) if axis == 0 else (40, 5), np.nan, np.float32)
    made = changed(tmp_path, MATRIX, lambda w: np.concatenate([w, more], axis))
    assert finding(made).came == NoNumbers(nan=more.size)
    assert statistics(made).nan_in == 0


def test_what_cannot_be_compared_says_what_in_it_is_no_number(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, {"w": np.arange(6)}, {"w": BROKEN.astype("f2").reshape(2, 3)})
    assert finding(made).nature is Nature.INCOMPARABLE
    assert finding(made).came == NoNumbers(2, 2)


@pytest.mark.parametrize("shape", [(40, 30), (30, 30)])
def test_a_transposed_matrix_is_recognised_square_or_not(tmp_path: Path, shape: tuple[int, int]) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype("f4")
    made = changed(tmp_path, array, lambda w: w.T)
    assert finding(made).nature is Nature.TRANSPOSED


def test_the_same_bytes_in_another_shape_are_reshaped(tmp_path: Path) -> None:
    (change,) = changed(tmp_path, MATRIX, lambda w: w.reshape(30, 40)).comparison.changes
    assert change.kind is Kind.RESHAPED


def test_a_cast_is_told_with_how_many_values_are_no_rounded_old_ones(tmp_path: Path) -> None:
    made = changed(tmp_path, MATRIX, lambda w: w.astype(ml_dtypes.bfloat16))
    assert finding(made).nature is Nature.CAST
    assert statistics(made).converted == 1200
    made = changed(tmp_path, MATRIX, lambda w: (w + (np.arange(30) == 1)).astype(ml_dtypes.bfloat16))
    assert statistics(made).converted == 1160


def test_another_dtype_and_shape_at_once_cannot_be_compared(tmp_path: Path) -> None:
    made = changed(tmp_path, MATRIX, lambda w: w[:10].astype("f8"))
    assert finding(made) == Finding(Nature.INCOMPARABLE)


def test_scalars_and_empty_groups_are_measured(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, {"s": np.array(1.0, "f4")}, {"s": np.array(2.0, "f4")})
    assert statistics(made, "s").relative == 1.0
    made = changed(tmp_path, np.zeros((0, 3), "f4"), lambda w: np.ones((2, 3), "f4"))
    assert statistics(made).elements == 0


def test_groups_of_many_sizes_are_compared_across_chunks(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    old = {f"h.{i}": random.standard_normal(n).astype("f8") for i, n in enumerate((1, 5000, 300_001, 1_100_003))}
    new = {name: array + 1e-3 for name, array in old.items()}
    made = of_arrays(tmp_path, old, new)
    for name, array in old.items():
        found = statistics(made, name)
        assert found.relative == pytest.approx(np.linalg.norm(new[name] - array) / np.linalg.norm(array), rel=1e-9)


def test_metadata_that_changed_are_told_old_and_new(tmp_path: Path) -> None:
    old = save(tmp_path / "a.safetensors", {"w": MATRIX}, {"epoch": "3", "lr": "0.1", "gone": "x"})
    new = save(tmp_path / "b.safetensors", {"w": MATRIX}, {"epoch": "4", "lr": "0.1", "new": "\x1b[31m"})
    assert sorted(report(old, new).leaves or (), key=lambda leaf: leaf.path) == [
        LeafChange("__metadata__.epoch", "'3'", "'4'"),
        LeafChange("__metadata__.gone", "'x'", None),
        LeafChange("__metadata__.new", None, r"'\x1b[31m'"),
    ]


def test_key_values_of_gguf_are_told_old_and_new(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    paths = []
    for epoch in (3, 4):
        paths.append(tmp_path / f"{epoch}.gguf")
        writer = gguf.GGUFWriter(paths[-1], "llama")
        writer.add_uint32("epoch", epoch)
        writer.add_array("words", ["a", "b"])
        writer.add_string("name", "n" if epoch == 3 else "m")
        writer.add_tensor("w", MATRIX)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    assert report(*paths).leaves == (LeafChange("epoch", "3", "4"), LeafChange("name", "'n'", "'m'"))


@pytest.mark.parametrize("legacy", [False, True])
def test_what_a_torch_checkpoint_says_besides_tensors_is_told(tmp_path: Path, legacy: bool) -> None:
    torch = pytest.importorskip("torch")
    paths = []
    for epoch in (3, 4):
        paths.append(tmp_path / f"{epoch}.pt")
        content = {
            "model": {"w": torch.ones(20)},
            "epoch": epoch,
            "loss": np.float64(epoch / 2),
            "config": {"lr": 0.1 * epoch, "name": "same"},
        }
        torch.save(content, paths[-1], _use_new_zipfile_serialization=not legacy)
    told = {leaf.path: (leaf.old, leaf.new) for leaf in report(*paths).leaves or ()}
    assert told["epoch"] == ("3", "4")
    assert told["loss"] == ("1.5", "2.0")
    assert told["config.lr"] == (repr(0.1 * 3), repr(0.1 * 4))
    assert "config.name" not in told


def test_views_of_one_storage_are_compared_each_by_its_own_elements(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    paths = []
    for step in (0, 1):
        paths.append(tmp_path / f"{step}.pt")
        base = torch.arange(12.0).reshape(3, 4)
        base[2] += step
        torch.save(
            {"whole": base, "head": base[:2], "tail": base[2], "column": base[:, 1], "turned": base.T}, paths[-1]
        )
    made = report(*paths)
    counts = {name: (f.statistics.elements, f.statistics.changed) for name, f in made.findings.items() if f.statistics}
    assert counts == {"whole": (12, 4), "head": (8, 0), "tail": (4, 4), "column": (3, 1), "turned": (12, 4)}


def test_bytes_that_several_added_groups_share_are_looked_at_once(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    paths = [tmp_path / "old.pt", tmp_path / "new.pt"]
    base = torch.tensor([[1.0, 2.0], [float("nan"), 4.0]])
    torch.save({"other": torch.ones(3)}, paths[0])
    torch.save({"other": torch.ones(3), "a": base[0], "b": base[1], "c": base}, paths[1])
    made = report(*paths)
    assert [(name, finding(made, name).came) for name in "abc"] == [
        ("a", NoNumbers(nan=1)),
        ("b", NoNumbers()),
        ("c", NoNumbers()),
    ]
