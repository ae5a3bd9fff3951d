"""The parts of the benchmark harness that measure nothing: scaled weights and the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from benchmarks.cases import Unit
from benchmarks.report import BEGIN, END, Row, insert, record, show, table
from benchmarks.weights import change, equal_groups, one_group, scale

LABELS = {"theta": "git-theta", "lfs": "git-lfs"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small stand-in for the downloaded weights: floats, and integers that noise would spoil."""
    path = tmp_path / "model.safetensors"
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((40, 10), dtype=np.float32)
    save_file({"weight": weight, "positions": np.arange(20, dtype=np.int64)}, path)
    return path


def test_scaled_weights_have_the_size_asked_for_and_copies_that_differ(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "scaled.safetensors"
    copies = scale(model, target, 5000)
    original, scaled = load_file(model), load_file(target)
    assert copies == 3
    assert target.stat().st_size >= 5000
    assert np.array_equal(scaled["copy0.weight"], original["weight"])
    assert not np.array_equal(scaled["copy1.weight"], scaled["copy2.weight"])
    assert np.allclose(scaled["copy2.weight"], original["weight"], rtol=1e-2)
    assert np.array_equal(scaled["copy2.positions"], original["positions"])


def test_scaling_twice_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    scale(model, first, 9000)
    scale(model, second, 9000)
    assert first.read_bytes() == second.read_bytes()


def test_a_change_touches_one_group_only(model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    scale(model, first, 5000)
    assert change(first, second, "copy1.weight") == 1600
    before, after = load_file(first), load_file(second)
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["copy1.weight"]


def test_one_group_fills_its_size_exactly(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "one.safetensors"
    one_group(model, target, 4004)
    assert [values.nbytes for values in load_file(target).values()] == [4004]


def test_equal_groups_are_equal_in_size_only(model: Path, tmp_path: Path) -> None:
    target, other = tmp_path / "equal.safetensors", tmp_path / "other.safetensors"
    equal_groups(model, target, 8000, 4)
    equal_groups(model, other, 8000, 4, seed=1)
    groups = load_file(target)
    assert [values.nbytes for values in groups.values()] == [2000] * 4
    assert len({values.tobytes() for values in [*groups.values(), *load_file(other).values()]}) == 8


def test_a_ratio_is_the_median_of_ratios_within_runs() -> None:
    row = Row("add", Unit.SECONDS, ratio=0.6, values={"theta": [1.0, 3.0, 1.0], "lfs": [2.0, 4.0, 10.0]})
    assert row.relative() == 0.5
    assert row.met() is True


def test_a_missed_target_is_said_in_the_table() -> None:
    rows = [
        Row("add", Unit.SECONDS, ratio=0.6, values={"theta": [1.9], "lfs": [2.0]}),
        Row("growth", Unit.BYTES, limit=2e6, values={"theta": [1.5e6], "lfs": [500e6]}),
    ]
    lines = table(rows, LABELS).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "add", "1.90 s", "2.00 s", "0.95", "<= 0.60", "**missed**",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        "growth", "1.50 MB", "500 MB", "0.00", "<= 2.00 MB", "met",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1


def test_a_system_that_failed_says_why_below_the_table() -> None:
    row = Row("checkout", Unit.SECONDS, ratio=1.0, values={"theta": [1.0]}, failures={"lfs": "no space"})
    text = table([row], LABELS)
    assert "failed" in text.splitlines()[2]
    assert text.endswith("git-lfs, checkout: no space")
    assert row.met() is None


def test_numbers_are_shown_with_three_digits() -> None:
    shown = [show(n, Unit.BYTES) for n in (12, 1536, 93_500_000, 132_800_000, 3e9)]
    assert shown == ["12 bytes", "1.54 kB", "93.5 MB", "133 MB", "3.00 GB"]
    assert [show(n, Unit.SECONDS) for n in (0.1234, 41.04)] == ["0.12 s", "41.0 s"]
    assert show(1.4142, Unit.TIMES) == "1.41"
    assert show(1200.0, Unit.COUNT) == "1,200"
    assert [show(n, Unit.YES_NO) for n in (1.0, 0.0)] == ["yes", "no"]


def test_a_new_section_replaces_the_one_between_the_markers() -> None:
    document = f"# Benchmarks\n\n{BEGIN}\nold\n{END}\n\nAfterwards.\n"
    assert insert(document, "new\n") == f"# Benchmarks\n\n{BEGIN}\nnew\n{END}\n\nAfterwards.\n"
    assert insert("# Benchmarks\n\n", "new\n") == f"# Benchmarks\n\n{BEGIN}\nnew\n{END}\n"


def test_the_record_keeps_every_raw_number_and_the_verdict() -> None:
    row = Row("add", Unit.SECONDS, ratio=0.6, values={"theta": [1.0, 1.2], "lfs": [2.0, 2.0]})
    kept = record([row], {"cpu": "any"}, "two runs")["rows"][0]
    assert kept["values"] == {"theta": [1.0, 1.2], "lfs": [2.0, 2.0]}
    assert (kept["ratio"], kept["target"], kept["met"]) == (0.55, 0.6, True)
