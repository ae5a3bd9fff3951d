"""One side of a diff: a file name, a blob id or a revision enters, a summary and the way to its values leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from git_theta.cli.sighting import recall
from git_theta.cli.workspace import Workspace
from git_theta.diff import FileValues, StoredValues, Summary, Values, of_layout, of_manifest
from git_theta.manifest import looks_like_manifest, parse, undo_line_ends
from git_theta.model import Manifest

HEAD = 1 << 16
"""Bytes at the beginning of a file that tell a manifest from a checkpoint."""


@dataclass(frozen=True, slots=True)
class Side:
    """What is on one side. ``values`` is None where only the manifest can be had: without a repository."""

    summary: Summary | None = None
    values: Values | None = None
    close: Callable[[], None] = lambda: None


ABSENT = Side()
"""The side that does not have the file."""


def of_file(workspace: Workspace | None, file: str, blob: str | None = None) -> Side:
    """What ``file`` holds; :data:`ABSENT` for /dev/null.

    The manifest behind ``blob`` is preferred, then what the same git command found when it cleaned the file, then
    a manifest in the file itself; a checkpoint in full is hashed where it lies.
    """
    if file == os.devnull:
        return ABSENT
    if workspace and blob and blob.strip("0"):
        manifest = workspace.manifest(blob)
        if manifest:
            return stored(workspace, manifest)
    path = Path(file)
    if workspace and (seen := recall(workspace, path)):
        return stored(workspace, seen)
    _calm_blas()
    with open(path, "rb") as content:
        head = content.read(HEAD)
        if looks_like_manifest(head):
            return stored(workspace, parse(undo_line_ends(head + content.read())))
        from git_theta.filters.examine import examine

        found = examine(content)
    layout = found.scan.layout
    values = FileValues(path, layout)
    return Side(of_layout(layout, found.digests, found.skeleton), values, values.close)


def _calm_blas() -> None:
    """Keep NumPy to the threads we give it; to be called before it is imported.

    The threads of its linear algebra wait for each other by spinning: on a busy machine they turned 2 seconds of work
    into 15.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(name, "1")


def stored(workspace: Workspace | None, manifest: Manifest) -> Side:
    """A checkpoint in the store."""
    _calm_blas()
    values = StoredValues(lambda: workspace.reader, manifest) if workspace else None
    return Side(of_manifest(manifest), values)
