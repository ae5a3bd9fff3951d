"""``git theta clean``: one checkpoint on stdin, its manifest on stdout; the one-shot form of the clean filter."""

from __future__ import annotations

import sys
from io import FileIO

import click

from git_theta.cli.filtering import clean
from git_theta.cli.workspace import open_workspace


class _Stdin:
    """Standard input as content."""

    def __init__(self) -> None:
        self._file = FileIO(0, "rb", closefd=False)

    def readinto(self, target: memoryview) -> int:
        filled = 0
        while filled < len(target) and (count := self._file.readinto(target[filled:])):
            filled += count
        return filled


@click.command("clean")
@click.argument("path", required=False, default="")
def command(path: str) -> None:
    """Store the checkpoint on stdin and print its manifest.

    Git runs this where it cannot run filter-process. PATH is where Git says the content belongs; the
    content itself is always what comes on stdin.

    Example: git theta clean model.pt < model.pt
    """
    workspace = open_workspace()
    try:
        workspace.register()
        manifest = clean(workspace, path, _Stdin())
    finally:
        workspace.close()
    sys.stdout.buffer.write(manifest)
