"""One side of a diff as Git hands it over: a file name and perhaps a blob id enter, a summary leaves."""

from __future__ import annotations

import os
from pathlib import Path

from git_theta.cli.workspace import Workspace
from git_theta.diff import Summary, of_layout, of_manifest
from git_theta.filters.examine import examine
from git_theta.manifest import looks_like_manifest, parse


def side(workspace: Workspace | None, file: str, blob: str | None = None) -> Summary | None:
    """What ``file`` holds; None for /dev/null.

    The manifest behind ``blob`` is preferred, then one in the file itself; a checkpoint in full is hashed
    where it lies.
    """
    if file == os.devnull:
        return None
    if workspace and blob and blob.strip("0"):
        manifest = workspace.manifest(blob)
        if manifest:
            return of_manifest(manifest)
    path = Path(file)
    with open(path, "rb") as content:
        head = content.read(1 << 16)
        if looks_like_manifest(head):
            return of_manifest(parse(head + content.read()))
        found = examine(content)
        return of_layout(found.scan.layout, found.digests, found.skeleton)
