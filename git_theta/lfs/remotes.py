"""Which end a remote is: a store on a path of this machine, or one that git-lfs talks to."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.config import read_settings
from git_theta.gitio.remotes import (
    borrowed_folders,
    default_remote,
    lfs_url,
    local_folder,
    push_urls,
    remote_names,
    remote_url,
    transfer_agent,
)
from git_theta.gitio.repository import Repository, find_repository
from git_theta.lfs.ends import End, LocalEnd
from git_theta.lfs.git_lfs import GitLfsEnd
from git_theta.store import Store
from git_theta.store.registry import register


class UnknownRemote(ThetaError):
    """A word that names no remote and cannot be an address."""

    exit_code = Exit.USAGE

    def __init__(self, name: str, names: list[str]) -> None:
        near = get_close_matches(name, names, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        known = f"remotes: {', '.join(names)}" if names else "there are none; git remote add NAME URL"
        super().__init__(f"there is no remote {name!r}", hint=guess + known)


class NoSuchFolder(ThetaError):
    """A remote's LFS objects are said to be in a folder that does not exist."""


_NAMELESS = "git-theta-address"
"""What a remote given as a bare address is called for git-lfs, which wants a name."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote by name or bare address, with the address Git would use."""

    name: str
    url: str
    named: bool


def find_remote(root: Path, remote: str, *, push: bool = False, url: str | None = None) -> Remote:
    """The remote of that name or address; ``url`` is the address when Git has told it (pre-push).

    Raises :class:`UnknownRemote` for a plain word that is neither a remote nor a folder.
    """
    names = remote_names(root)
    found = Remote(remote, url or remote_url(root, remote, push=push), remote in names)
    if not found.named and not re.search(r"[:/\\]", found.url) and local_folder(root, found.url) is None:
        raise UnknownRemote(remote, names)
    return found


def push_targets(root: Path, remote: str) -> list[Remote]:
    """The remote of that name or address, once for every address that Git pushes to. Raises as :func:`find_remote`."""
    first = find_remote(root, remote, push=True)
    return [replace(first, url=url) for url in push_urls(root, remote)] if first.named else [first]


def end_of(repository: Repository, remote: Remote, terminal: int | None = None) -> End:
    """How objects get to and from ``remote``.

    A folder has a store of its own, unless an LFS server or a transfer agent is named for it. A server that is a
    ``file://`` address is that repository's Git LFS folder, whose layout is ours.
    """
    server = lfs_url(repository.root, remote.name)
    if server is not None and server.startswith("file://"):
        lfs_folder = local_folder(repository.root, server)
        if lfs_folder is None:
            raise NoSuchFolder(f"{remote.name} keeps its LFS objects at {server}, which is not there")
        return LocalEnd(remote.name, Store(find_repository(lfs_folder, elsewhere=True).common_dir / "lfs"))
    folder = local_folder(repository.root, remote.url)
    if folder is not None and server is None and transfer_agent(repository.root) is None:
        return LocalEnd(remote.name, store_of(find_repository(folder, elsewhere=True)))
    # By its name, git-lfs knows one address of a remote.
    if remote.named and (server is not None or len(push_urls(repository.root, remote.name)) == 1):
        return GitLfsEnd(remote.name, repository.root, terminal=terminal)
    return GitLfsEnd(_NAMELESS, repository.root, url=remote.url, terminal=terminal)


def store_of(repository: Repository) -> Store:
    """Another repository's store, as its own configuration places it."""
    settings = read_settings({}, repository.root, elsewhere=True)
    store = Store(settings.store(repository.common_dir), hardened=settings.hardened, shared=settings.shared)
    if settings.shares_store:
        # No filter runs in a bare repository, which would register it. Who cannot write there cannot prune there.
        with contextlib.suppress(OSError):
            register(store, repository.common_dir)
    return store


def nearby_ends(repository: Repository) -> list[End]:
    """The stores of repositories this one borrows Git objects from."""
    ends: list[End] = []
    for folder in borrowed_folders(repository.common_dir):
        # Gone, or somebody else's: Git itself will speak of that.
        with contextlib.suppress(ThetaError, OSError):
            ends.append(LocalEnd(str(folder), store_of(find_repository(folder, elsewhere=True))))
    return ends


def preferred_remotes(root: Path) -> list[str]:
    """Every remote to ask for objects, the one plain fetch takes first."""
    first = default_remote(root)
    names = remote_names(root)
    return names if first is None else [first, *(name for name in names if name != first)]
