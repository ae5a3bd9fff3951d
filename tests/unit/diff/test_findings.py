"""What the values of a changed group tell: casts, resizing, transposition, views, NaN, and what besides tensors."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from git_theta.diff import Kind, Report, Style, findings, render
from git_theta.diff.finding import Finding, Nature, NoNumbers, Statistics
from git_theta.diff.leaves import BELOW, LeafChange
from git_theta.diff.statistics import measure
from git_theta.model import DTYPES
from git_theta.tensors.elements import elements
from git_theta.tensors.feed import Feed
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
    assert finding(made) == Finding(Nature.INCOMPARABLE, reason="the dtype and the shape changed")


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


def of_dtypes(old: np.ndarray, new: np.ndarray, dtypes: tuple[str, str] | None = None) -> Statistics:
    """The statistics of two arrays, without a file."""
    names = dtypes or (old.dtype.name, new.dtype.name)
    before, after = (Feed(iter([memoryview(side.tobytes())])) for side in (old, new))
    return measure(before, after, names, old.size, columns=old.shape[-1] if old.ndim == 2 else None, histogram=True)


@pytest.mark.parametrize("name", [name for name in DTYPES if elements(name).floating and elements(name).parts == 1])
def test_matrices_of_every_floating_dtype_are_measured(name: str) -> None:
    native = elements(name).native
    old = MATRIX.__abs__().astype(native)
    new = (MATRIX.__abs__() + np.outer(np.ones(40), np.arange(30))).astype(native)
    before, after = (side.view(f"u{native.itemsize}").astype(elements(name).stored) for side in (old, new))
    found = of_dtypes(before, after, (name, name))
    assert found.finite == found.changed > 0
    assert found.relative is not None
    assert found.relative > 0


INF = float("inf")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_what_is_no_number_is_counted_as_it_comes_and_goes(dtype: type) -> None:
    old: np.ndarray = np.array([np.nan, 1, INF, INF, INF, np.nan, 1, -0.0], dtype)
    new: np.ndarray = np.array([1, np.nan, 1, -INF, np.nan, np.nan, INF, 0.0], dtype)
    found = of_dtypes(old, new)
    assert found.not_finite == (2, 1, 1, 2, 1)
    assert (found.changed, found.finite, found.bits_only) == (7, 1, False)
    assert of_dtypes(old[:4], new[:4]).measured is False


def test_payloads_of_nan_are_bits_only_and_no_ulp() -> None:
    words = np.array([0x7FC00000, 0x7F800000, 0x7F7FFFFF, 0x3F800000], "u4")
    found = of_dtypes(words[:1].view("f4"), (words + 1)[:1].view("f4"))
    assert (found.bits_only, found.one_ulp, found.measured) == (True, 0, False)
    found = of_dtypes(words.view("f4"), (words + 1).view("f4"))
    assert (found.bits_only, found.one_ulp, found.changed) == (False, 1, 4)


def test_scales_without_a_sign_have_neighbours_and_nan_is_none() -> None:
    old, new = (np.array(words, "u1").view(ml_dtypes.float8_e8m0fnu) for words in ([127, 254, 0], [128, 255, 255]))
    assert of_dtypes(old, new).one_ulp == 1


def test_a_complex_number_with_one_part_that_is_not_finite_is_not_finite_as_a_whole() -> None:
    found = of_dtypes(np.array([complex(np.nan, 1), 1], "c8"), np.array([5 + 9j, 1 + 1j], "c8"))
    assert (found.nan_out, found.old_norm, found.delta_norm, found.largest) == (1, 1.0, 1.0, 1.0)


I64, U64 = np.int64, np.uint64


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        (np.arange(64) + 2**60, (np.arange(64) + 2**60).astype("f4"), 63),
        (np.array([2**53 + 1, 2**53 + 3, -(2**63), 5]), np.array([2**53 + 1, 2**53 + 3, -(2**63), 5]).astype("f8"), 2),
        (np.array([2**62 + 1, 5]), np.array([2**62, 5], U64), 1),
        (np.array([2**63 - 1, -1]), np.array([2.0**63, -1 - 2.0**-52]), 2),
        (np.array([2**64 - 1, 7], U64), np.array([-1, 7], I64), 1),
        (np.array([2**32 + 1, 5]), np.array([1, 5], np.int32), 1),
        (np.array([-1e-300, -3.0, np.nan, INF]), np.array([0, -3, 0, 5], I64), 3),
    ],
)
def test_casts_of_64_bit_integers_are_compared_exactly(old: np.ndarray, new: np.ndarray, changed: int) -> None:
    found = of_dtypes(old, new)
    assert found.changed == changed
    assert found.converted >= len(old) - changed
    assert np.isfinite(found.largest)


@pytest.mark.parametrize("cut", [np.trunc, np.rint])
@pytest.mark.parametrize("dtype", ["i4", "i8", "i1"])
def test_floats_cut_or_rounded_to_integers_are_a_cast(cut: np.ufunc, dtype: str) -> None:
    old = 10 * MATRIX
    assert of_dtypes(old, cut(old).astype(dtype)).converted == old.size
    assert of_dtypes(old, (cut(old) + 2).astype(dtype)).converted == 0


def test_an_integer_that_wrapped_is_no_cast_and_swapped_bytes_are() -> None:
    assert of_dtypes(np.array([2**32 + 1, 5]), np.array([1, 5], np.int32)).converted == 1


def test_bytes_that_are_swapped_count_what_changed_besides(tmp_path: Path) -> None:
    old, new = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(old, MATRIX.astype(">f4"))
    np.save(new, MATRIX + (MATRIX[0, 0] == MATRIX))
    (found,) = (one.statistics for one in report(old, new).findings.values())
    assert found
    assert (found.changed, found.elements - found.converted) == (1, 1)


def test_changes_that_float64_cannot_hold_keep_their_ratio() -> None:
    found = of_dtypes(np.full(4, 1.7e308), np.full(4, -1.7e308))
    assert found.relative == pytest.approx(2)
    assert (found.cosine, found.largest) == (-1, INF)


@pytest.mark.parametrize("limits", [{}, {"IN_MEMORY": 1 << 10}])
@pytest.mark.parametrize("parts", [(slice(40), slice(20)), (slice(35), slice(20)), (slice(40), slice(25))])
def test_columns_are_compared_row_by_row_whatever_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], parts: tuple[slice, slice]
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(findings, name, limit)
    part = MATRIX[parts].copy()
    part[3, 7] += 1
    for old, new in ((MATRIX, part), (part, MATRIX)):
        made = of_arrays(tmp_path, {"w": old}, {"w": new})
        assert finding(made).nature is Nature.RESIZED
        assert (statistics(made).elements, statistics(made).changed) == (part.size, 1)
    broken = MATRIX.copy()
    broken[0, 29] = broken[39, 0] = np.nan
    lost = int(parts[0].stop < 40 or parts[1].stop < 30) + int(parts[0].stop < 40)
    assert finding(of_arrays(tmp_path, {"w": part}, {"w": broken})).came == NoNumbers(nan=lost)


def test_a_middle_axis_that_grew_is_compared_around_it(tmp_path: Path) -> None:
    old = MATRIX.reshape(4, 10, 30)
    made = of_arrays(tmp_path, {"w": old}, {"w": np.concatenate([old, old[:, :3]], axis=1)})
    assert (statistics(made).elements, statistics(made).changed) == (1200, 0)


def test_a_large_matrix_is_recognised_transposed_with_one_side_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "IN_MEMORY", 1)
    for array in (np.arange(200_000.0).reshape(500, 400), np.arange(90_000.0).reshape(300, 300)):
        assert finding(changed(tmp_path, array, lambda w: w.T)).nature is Nature.TRANSPOSED
    monkeypatch.setattr(findings, "HELD_ALONE", 1)
    made = changed(tmp_path, np.arange(1_200_000, dtype="f4").reshape(3, -1), lambda w: w.T)
    assert finding(made).nature is Nature.INCOMPARABLE
    assert finding(made).reason == "it may be transposed, and 5 MB are more than the 0 MB compared so"


def test_a_layout_that_changed_is_told_from_a_storage_that_did(tmp_path: Path) -> None:
    old, new = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(old, np.asfortranarray(MATRIX))
    np.save(new, MATRIX)
    assert "    its elements are equal, their layout in the file changed" in list(render(report(old, new), Style()))


def test_a_value_in_whose_place_others_came_is_not_called_absent(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path, value in zip(paths, (1, {"a": 1}), strict=True):
        torch.save({"w": torch.ones(20), "c": value}, path)
    assert set(report(*paths).leaves or ()) == {LeafChange("c", "1", BELOW), LeafChange("c.a", None, "1")}


def test_a_frame_that_differs_without_a_value_to_tell_says_what_that_can_be(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pairs: list[tuple[object, object]] = [({1: 5}, {"1": 5}), ([], {})]
    for before, after in pairs:
        paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
        for path, value in zip(paths, (before, after), strict=True):
            torch.save({"w": torch.ones(20), "c": value}, path)
        shown = list(render(report(*paths), Style(width=200)))
        assert (
            shown[-1].strip().startswith("no value that is told differs: flags of tensors, types of keys, empty lists")
        )
