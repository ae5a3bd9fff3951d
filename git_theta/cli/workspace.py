"""What every command works with: the repository, the settings in force, the store, and a voice on stderr.

The environment enters here; below, everything is handed in. Opening a workspace costs two short Git processes
and imports nothing heavy; cleaner and smudger bring NumPy when they are first asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from git_theta.cli.output import warn
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.batch import Attributes, Blobs, is_outside
from git_theta.gitio.caller import calling_git_command
from git_theta.gitio.config import Settings, read_settings
from git_theta.gitio.process import ask_git
from git_theta.gitio.repository import Repository, find_repository
from git_theta.store import Catalogue, Store
from git_theta.store.registry import register

if TYPE_CHECKING:
    from git_theta.filters.clean import Cleaner
    from git_theta.filters.smudge import Smudger
    from git_theta.lfs import Supply
    from git_theta.model import Manifest
    from git_theta.tensors import Reader

FORMAT_ATTRIBUTE = "theta-format"
"""The attribute that names a container format instead of letting the content decide."""


class NoFolder(ThetaError):
    """Something else is where the object store should be."""

    exit_code = Exit.USAGE


@dataclass
class Workspace:
    """One repository as one command sees it. ``progress`` is told the bytes that pass.

    ``seen`` has, by path, what :mod:`git_theta.cli.sighting` knows of worktree files.
    """

    repository: Repository
    settings: Settings
    progress: Callable[[int], None] | None = None
    seen: dict[str, tuple[list[int] | None, bytes]] = field(default_factory=dict)
    _heads: tuple[str, ...] = field(default=(":0", "HEAD"))

    @cached_property
    def bare(self) -> bool:
        """Whether there are no files, and Git does not expect any: not so inside a ``.git`` folder."""
        if self.repository.worktree:
            return False
        return ask_git("rev-parse", "--is-bare-repository", cwd=self.repository.root).strip() == b"true"

    @cached_property
    def store(self) -> Store:
        """The objects."""
        settings = self.settings
        folder = settings.store(self.repository.common_dir)
        if folder.exists() and not folder.is_dir():
            raise NoFolder(
                f"{folder} is not a folder, so it cannot hold objects",
                hint="move it away, or name a folder: git config theta.storage FOLDER",
            )
        return Store(folder, hardened=settings.hardened, shared=settings.shared)

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is verified in the store."""
        return Catalogue(self.store)

    @cached_property
    def blobs(self) -> Blobs:
        """Git's blobs by name."""
        return Blobs(self.repository.root)

    @cached_property
    def formats(self) -> Attributes:
        """The format a path's attributes ask for."""
        return Attributes(self.repository.root, FORMAT_ATTRIBUTE)

    @cached_property
    def diff_drivers(self) -> Attributes:
        """The diff driver a path's attributes name."""
        return Attributes(self.repository.root, "diff")

    @cached_property
    def caller(self) -> str | None:
        """The Git command that started us, where that can be told."""
        return calling_git_command()

    @cached_property
    def external_diff(self) -> bool:
        """Whether the environment names a diff program of the user's, as git difftool does."""
        return any(name in os.environ for name in ("GIT_EXTERNAL_DIFF", "GIT_DIFFTOOL_EXTCMD", "GIT_DIFF_TOOL"))

    @cached_property
    def reader(self) -> Reader:
        """Reads values of any manifest."""
        from git_theta.tensors import Reader

        return Reader(self.store, self.settings.threads)

    @cached_property
    def cleaner(self) -> Cleaner:
        """Turns content into manifests."""
        from git_theta.filters.clean import Cleaner

        return Cleaner(self.store, self.catalogue, self.settings.threads, self.progress)

    @cached_property
    def smudger(self) -> Smudger:
        """Turns manifests into content, for Git to write."""
        from git_theta.filters.smudge import Smudger

        settings = self.settings
        return Smudger(
            self.store, self.catalogue, settings.threads, settings.smudge_limit, self.progress, self.supply.bring
        )

    @cached_property
    def supply(self) -> Supply:
        """Brings missing objects from the remotes, the one that plain git fetch would take first."""
        from git_theta.lfs import Supply

        terminal = sys.stderr.fileno() if sys.stderr.isatty() else None
        return Supply(self.repository, self.store, terminal=terminal)

    def register(self) -> None:
        """Where others may share the store, note there that we use it: prune asks us then before it removes."""
        if self.settings.shares_store:
            try:
                register(self.store, self.repository.common_dir)
            except OSError as error:
                warn(f"{self.store.root}: {error.strerror}; a prune there will not know of this repository")

    def priors(self, path: str) -> Sequence[Manifest]:
        """The manifests of ``path`` in the index and in HEAD, where they are valid."""
        return [manifest for manifest in map(_parsed, dict.fromkeys(self.committed(path))) if manifest]

    def committed(self, path: str) -> list[bytes | None]:
        """What Git has at ``path`` in the index and in HEAD, where that looks like a manifest."""
        from git_theta.manifest import looks_like_manifest

        if os.path.isabs(path) or is_outside(path, self.repository.root):
            return []  # git diff --no-index and the like: no version of it is in Git
        return [self.blobs.get(f"{place}:{path}", looks_like_manifest) for place in self._heads]

    def manifest(self, blob: str) -> Manifest | None:
        """The manifest in a blob named as Git names it; None when there is none or it is not one."""
        from git_theta.manifest import looks_like_manifest

        return _parsed(self.blobs.get(blob, looks_like_manifest))

    def close(self) -> None:
        """End helper processes and let go of files. Only what was used was ever opened."""
        for name in ("blobs", "formats", "diff_drivers", "catalogue"):
            if name in self.__dict__:
                self.__dict__[name].close()


def _parsed(text: bytes | None) -> Manifest | None:
    from git_theta.manifest import parse

    try:
        return None if text is None else parse(text)
    except ThetaError:
        return None


def open_workspace(start: Path | None = None) -> Workspace:
    """The workspace of the current folder; raises :class:`NotARepository`, :class:`BadSetting`."""
    # Git before 2.40 sets this for what it runs inside a submodule, and then refuses its own rev-parse with it.
    os.environ.pop("GIT_INTERNAL_SUPER_PREFIX", None)
    repository = find_repository(start)
    return Workspace(repository, read_settings(os.environ, repository.root))
