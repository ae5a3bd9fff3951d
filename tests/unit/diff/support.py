"""Checkpoints on disk compared without a repository: what the tests of findings and renderers share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from git_theta.diff import FileValues, Report, compare, of_layout, with_values
from git_theta.filters.examine import examine

Arrays = dict[str, np.ndarray[Any, Any]]


def save(path: Path, arrays: Arrays, metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file."""
    from safetensors.numpy import save_file

    save_file(arrays, path, metadata=metadata)
    return path


def report(*paths: Path, histogram: bool = False) -> Report:
    """What ``git theta diff --no-index`` on two files would have to say."""
    sides = []
    for path in paths:
        with open(path, "rb") as file:
            found = examine(file)
        layout = found.scan.layout
        sides.append((of_layout(layout, found.digests, found.skeleton), FileValues(path, layout)))
    (before, old_values), (after, new_values) = sides
    made = with_values(
        Report(paths[0].name, paths[1].name, compare(before, after)),
        old_values,
        new_values,
        threads=2,
        histogram=histogram,
    )
    old_values.close()
    new_values.close()
    return made


def of_arrays(folder: Path, old: Arrays, new: Arrays, histogram: bool = True) -> Report:
    """The report on two safetensors files."""
    return report(save(folder / "old.safetensors", old), save(folder / "new.safetensors", new), histogram=histogram)


def changed(folder: Path, array: np.ndarray[Any, Any], change: Callable[[np.ndarray[Any, Any]], Any]) -> Report:
    """The report on one group named ``w`` that ``change`` was applied to."""
    return of_arrays(folder, {"w": array}, {"w": np.ascontiguousarray(change(array.copy()))})
